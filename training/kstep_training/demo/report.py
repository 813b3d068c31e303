"""The report of a demonstration: its table, its break-even and its JSON file."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from kstep_integrators.units import MEV
from kstep_training.demo.averaging import AveragingCost
from kstep_training.demo.runs import DemoRun

__all__ = ["DFT_SECONDS", "BreakEven", "break_even", "print_report", "write_json"]

DFT_SECONDS: Final[float] = 5.0
"""A DFT energy and gradient along a trajectory: ethanol, B3LYP/def2-SVP, PySCF, one CPU core."""


@dataclass(frozen=True)
class BreakEven:
    """Wall-clock gain of jumps as a function of the cost t of a physics evaluation.

    For the same simulated time, a run costs evaluations * (t + overhead), so that the gain is

        n_reference (t + o_reference) / (n_jumps (t + o_jumps)).

    Attributes
    ----------
    evaluations_reference, evaluations_jumps : int
        Physics evaluations counted in each run.
    overhead_reference, overhead_jumps : float
        Seconds outside the physics for each evaluation; for jumps, this is mostly the jump.

    Examples
    --------
    >>> balance = BreakEven(400, 100, overhead_reference=1.0, overhead_jumps=7.0)
    >>> balance.seconds, balance.gain(1.0)
    (1.0, 1.0)
    """

    evaluations_reference: int
    evaluations_jumps: int
    overhead_reference: float
    overhead_jumps: float

    def gain(self, evaluation_seconds: float) -> float:
        """Wall-clock speed-up for physics of the given cost in seconds."""
        reference = self.evaluations_reference * (evaluation_seconds + self.overhead_reference)
        return reference / (self.evaluations_jumps * (evaluation_seconds + self.overhead_jumps))

    @property
    def seconds(self) -> float | None:
        """Cost of an evaluation above which jumps save time; None if they save no evaluations."""
        saved = self.evaluations_reference - self.evaluations_jumps
        if saved <= 0:
            return None
        outside = (
            self.evaluations_jumps * self.overhead_jumps
            - self.evaluations_reference * self.overhead_reference
        )
        return max(outside / saved, 0.0)


def break_even(reference: DemoRun, jumps: DemoRun) -> BreakEven:
    """Break-even between two runs of the same simulated time."""
    return BreakEven(
        evaluations_reference=reference.n_evaluations,
        evaluations_jumps=jumps.n_evaluations,
        overhead_reference=reference.overhead_seconds,
        overhead_jumps=jumps.overhead_seconds,
    )


def print_report(
    console: Console,
    title: str,
    runs: Sequence[DemoRun],
    balance: BreakEven,
    warm_up_seconds: float,
    averaging: AveragingCost | None = None,
) -> None:
    """Print the table and, below it, what jumps cost and gain.

    Parameters
    ----------
    console : rich.console.Console
        Where to print.
    title : str
        Heading of the table.
    runs : sequence of DemoRun
        The runs; the first is the reference of `balance`.
    balance : BreakEven
        Of the k-step run against the reference.
    warm_up_seconds : float
        Time spent compiling and warming up before anything was timed.
    averaging : AveragingCost, optional
        Of mollified kicks with the same model; direct jumps have none.
    """
    table = Table(title=title)
    table.add_column("run", no_wrap=True)
    for heading in (
        "stride\nfs",
        "evalua-\ntions",
        "drift\nmeV/atom\nper ps",
        "fluctu-\nation\nmeV/atom",
        "residual\nmeV/A",
        "time\ns",
    ):
        table.add_column(heading, justify="right")
    for run in runs:
        table.add_row(
            run.name,
            f"{run.method.stride_fs:g}",
            f"{run.n_evaluations}",
            f"{run.drift.drift:+.3f}",
            f"{run.drift.fluctuation:.3f}",
            "-" if run.residual_rms is None else f"{run.residual_rms / MEV:.0f}",
            f"{run.seconds:.1f}",
        )
    console.print(table)

    reference = runs[0]
    physics = reference.evaluation_seconds
    lines = [
        f"One GFN2 evaluation takes {_time(physics)} here; a jump with everything around it "
        f"{_time(balance.overhead_jumps)}.",
    ]
    if warm_up_seconds >= 1.0:
        lines.append(f"Warming up took {warm_up_seconds:.1f} s before the clock started.")
    threshold = balance.seconds
    if threshold is None:
        lines.append(
            f"These jumps save no evaluations against {reference.name}; use a longer stride."
        )
    else:
        lines.append(
            f"Break-even against {reference.name}: jumps save wall-clock time once a force "
            f"evaluation costs more than {_time(threshold)}."
        )
    lines += [
        f"  GFN2-xTB at {_time(physics)}: {balance.gain(physics):.1f} times as fast.",
        f"  DFT gradient at {DFT_SECONDS:g} s (ethanol, B3LYP/def2-SVP, one core): at most "
        f"{balance.gain(DFT_SECONDS):.1f} times as fast. Longer strides take more SCF cycles for "
        "each gradient; 2 fs against 0.5 fs was measured 3.3 times as fast.",
    ]
    if averaging is not None:
        lines.append(averaging.line(physics))
    fallbacks = sum(run.fallbacks for run in runs)
    if fallbacks:
        lines.append(f"{fallbacks} strides fell back to velocity Verlet; they are counted above.")
    for line in lines:
        console.print(line, highlight=False)


def write_json(
    path: Path,
    runs: Sequence[DemoRun],
    balance: BreakEven,
    details: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the summary of a demonstration and return it.

    Parameters
    ----------
    path : Path
        File to write.
    runs : sequence of DemoRun
        The runs; the first is the reference of `balance`.
    balance : BreakEven
        Of the k-step run against the reference.
    details : mapping
        More to keep: settings, molecule, warm-up time.

    Returns
    -------
    dict
        The content of the file.
    """
    physics = runs[0].evaluation_seconds
    report = {
        **details,
        "versions": _versions(),
        "runs": [run.summary() for run in runs],
        "break_even": {
            "against": runs[0].name,
            "force_seconds": balance.seconds,
            "overhead_seconds_jumps": balance.overhead_jumps,
            "overhead_seconds_reference": balance.overhead_reference,
            "gain": {
                "GFN2-xTB": {"force_seconds": physics, "gain": balance.gain(physics)},
                "B3LYP/def2-SVP (assumed cost)": {
                    "force_seconds": DFT_SECONDS,
                    "gain": balance.gain(DFT_SECONDS),
                },
            },
        },
    }
    path.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
    return report


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("kstep-integrators", "ase", "openmm", "tblite", "torch", "numpy"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.2g} ms" if seconds < 0.1 else f"{seconds:.2g} s"
