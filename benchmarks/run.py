"""The runner of all benchmarks.

    python -m benchmarks.run --list
    python -m benchmarks.run --suite NAME [--smoke] [--compare] [--output FOLDER] [options]
    python -m benchmarks.run --suite NAME --help
    python -m benchmarks.run --compare NEW.json [COMMITTED.json]
    python -m benchmarks.run --fill [--check]

A suite writes ``benchmarks/results/NAME.json``. Long suites keep finished parts in the folder
``--cache`` and go on where they were interrupted. ``--smoke`` runs the smallest size, and keeps its
result only with ``--output``. With ``--compare`` the committed result stays, and the new one is set
beside it. ``--fill`` makes the tables of all documents anew; with ``--check`` it changes nothing
and fails if one is out of date.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENMM_CPU_THREADS", "1")

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks import results
from benchmarks.compare import compare, report
from benchmarks.documents import fill
from benchmarks.suite import SUITES, Suite, add_options, options_from

__all__ = ["main"]


def run_suite(suite: Suite, given: Sequence[str]) -> int:
    """Run one suite with its own options and keep or compare its result."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.run --suite {suite.name}", description=suite.measures
    )
    parser.add_argument("--smoke", action="store_true", help="the smallest size, for tests")
    parser.add_argument("--compare", action="store_true", help="with the committed result")
    parser.add_argument("--result", default=suite.name, help="name of the result")
    parser.add_argument("--output", type=Path, help="folder of the result")
    add_options(parser, suite.options)
    arguments = parser.parse_args(given)
    options = options_from(arguments, suite.options)
    if arguments.smoke:
        smoke = getattr(suite.options, "smoke", None)
        if smoke is None:
            parser.error(f"{suite.name} has no small size; its options set how long it takes")
        options = smoke(options.cache)
    torch.set_num_threads(1)
    result = {"what": suite.measures, **suite.run(options)}
    kept = arguments.output is not None or not (arguments.smoke or arguments.compare)
    if kept:
        print("wrote", results.write(arguments.result, result, arguments.output or results.RESULTS))
    if arguments.compare:
        print(report(compare(results.load(arguments.result), result)))
    return 0


def main(given: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, add_help=False
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", action="store_true", help="names of all suites")
    what.add_argument("--suite", choices=list(SUITES), metavar="NAME", help="run one")
    what.add_argument("--fill", action="store_true", help="tables of the documents")
    what.add_argument("--compare", nargs="+", type=Path, metavar="FILE", help="two results")
    given = list(sys.argv[1:] if given is None else given)
    if "--suite" in given:
        place = given.index("--suite")
        suite = parser.parse_args(given[place : place + 2]).suite
        return run_suite(SUITES[suite], given[:place] + given[place + 2 :])
    parser.add_argument("-h", "--help", action="help", help="this text")
    parser.add_argument("--check", action="store_true", help="with --fill: change nothing")
    arguments = parser.parse_args(given)
    if arguments.check and not arguments.fill:
        parser.error("--check belongs to --fill")
    if arguments.list:
        for suite in SUITES.values():
            print(f"{suite.name:18} {suite.measures}")
        return 0
    if arguments.fill:
        stale = fill(check=arguments.check)
        print("out of date:" if arguments.check else "filled:", ", ".join(stale) or "none")
        return int(arguments.check and bool(stale))
    if len(arguments.compare) > 2:
        parser.error(f"--compare takes one or two files, got {len(arguments.compare)}")
    new, *old = arguments.compare
    committed = old[0] if old else results.RESULTS / new.name
    print(report(compare(results.read(committed), results.read(new))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
