"""Measure the structure of checkouts: rooms, import ranks, lines, exports, widths, side by side.

    python -m benchmarks.structure BEFORE AFTER --output benchmarks/results/structure.json

Source files are parsed, never imported, so that a checkout of any age can be measured.
"""

from __future__ import annotations

import argparse
import ast
import configparser
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.checkout import LIBRARY, PARTS, Checkout, Module

__all__ = ["measure", "table"]

WIDE = 160
"""Characters beyond which a line of Markdown is long."""
OPTION = "extra_chances"


def contract_ranks(checkout: Checkout) -> int | None:
    """Layers of the library's import contract in setup.cfg, or None without one."""
    parser = configparser.ConfigParser()
    parser.read(checkout.root / "setup.cfg")
    section = "importlinter:contract:library-layers"
    if not parser.has_section(section):
        return None
    return len(parser.get(section, "layers").split("\n")) - 1


def room_imports(checkout: Checkout) -> dict[str, set[str]]:
    """Each folder or flat file of the library, with those that it imports."""
    graph: dict[str, set[str]] = {}
    for module in checkout.part("library"):
        pieces = module.name.split(".")
        if len(pieces) == 1:
            continue
        room = graph.setdefault(pieces[1], set())
        for source, name in module.imported:
            target = source if name is None else checkout.origin(source, name)
            to = (target or "").split(".")
            if to[0] == LIBRARY and len(to) > 1 and to[1] != pieces[1]:
                room.add(to[1])
    return graph


def longest_chain(graph: dict[str, set[str]]) -> int:
    """Nodes on the longest path of a graph, a cycle counted as all of its nodes."""
    reach = {node: {node} for node in graph}
    for _ in graph:
        reach = {n: r.union(*(reach.get(m, {m}) for m in graph[n])) for n, r in reach.items()}
    groups = {node: frozenset(m for m in graph if m in reach[node] and node in reach[m])
              for node in graph}  # fmt: skip
    depth: dict[frozenset[str], int] = {}
    for node in sorted(graph, key=lambda node: len(reach[node])):
        below = {groups[m] for m in reach[node]} - {groups[node]}
        depth[groups[node]] = len(groups[node]) + max((depth[g] for g in below), default=0)
    return max(depth.values(), default=0)


def widths(modules: list[Module]) -> list[tuple[int, str]]:
    """Parameters of every function, ``self`` and ``cls`` apart, most first."""
    counts = []
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                given = node.args
                names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
                names += [a.arg for a in (given.vararg, given.kwarg) if a is not None]
                wide = len(names) - (names[:1] in (["self"], ["cls"]))
                counts.append((wide, f"{module.name}.{node.name}"))
    return sorted(counts, key=lambda pair: (-pair[0], pair[1]))


def measure(checkout: Checkout, option: str = OPTION) -> dict[str, Any]:
    """Return all figures of one checkout, as JSON takes them.

    The option is one of a run: files whose code names it are those that one like it touches.
    """
    code = checkout.part("library", "training")
    parts = {}
    for part in PARTS:
        modules = checkout.part(part)
        sizes = [module.line_count for module in modules] or [0]
        counts = [module.lines() for module in modules]
        longest = max(modules, key=lambda module: module.line_count, default=None)
        parts[part] = {
            "modules": len(modules),
            "lines": sum(sizes),
            **{k: sum(c[k] for c in counts) for k in ("code", "docstrings", "comments", "blank")},
            "mean": round(sum(sizes) / len(sizes), 1),
            "longest": max(sizes),
            "longest_file": longest and str(longest.path.relative_to(checkout.root)),
        }
    root = checkout.root
    unused = {  # whether it is a type that signatures of its module mention, by name
        f"{home}.{name}": name in checkout.by_name[home].annotated
        for home, name in checkout.unused_exports()
    }
    long = [line for path in checkout.markdown() for line in path.read_text().splitlines()
            if len(line) > WIDE]  # fmt: skip
    return {
        "checkout": checkout.label(),
        "flat_files": len(list((root / LIBRARY).glob("*.py"))),
        "contract_ranks": contract_ranks(checkout),
        "measured_ranks": longest_chain(room_imports(checkout)),
        "openmm_files": len(list((root / LIBRARY / "openmm").rglob("*.py"))),
        "evaluate_files": len(list((root / PARTS["training"] / "evaluate").rglob("*.py"))),
        "parts": parts,
        "exports": len({(checkout.origin(m.name, n), n) for m in code for n in m.exports}),
        "unused_exports": [name for name, annotated in unused.items() if not annotated],
        "unused_types": [name for name, annotated in unused.items() if annotated],
        "widest_functions": [{"function": n, "parameters": w} for w, n in widths(code)[:10]],
        "option": option,
        "option_files": [str(m.path.relative_to(root)) for m in code if option in m.identifiers],
        "long_markdown_lines": sum(not line.lstrip().startswith("|") for line in long),
        "long_markdown_table_lines": sum(line.lstrip().startswith("|") for line in long),
    }


def table(records: list[dict[str, Any]]) -> str:
    """Render the figures of checkouts as a Markdown table, one column each."""
    rows: dict[str, list[Any]] = {
        "flat files in `kstep_integrators/`": [r["flat_files"] for r in records],
        "import ranks, contract": [r["contract_ranks"] for r in records],
        "import ranks, measured": [r["measured_ranks"] for r in records],
        "files in `openmm/`": [r["openmm_files"] for r in records],
        "files in `evaluate/`": [r["evaluate_files"] for r in records],
    }
    for part in PARTS:
        figures = [r["parts"][part] for r in records]
        rows[f"{part}: modules"] = [f["modules"] for f in figures]
        rows[f"{part}: lines (code, docstrings, comments, blank)"] = [
            f"{f['lines']} ({f['code']}, {f['docstrings']}, {f['comments']}, {f['blank']})"
            for f in figures
        ]
        rows[f"{part}: lines per module, mean / longest"] = [
            f"{f['mean']:.0f} / {f['longest']}" for f in figures
        ]
    rows["exported names"] = [r["exports"] for r in records]
    rows["exported names without a user / and types that only signatures beside them mention"] = [
        f"{len(r['unused_exports'])} / {len(r['unused_types'])}" for r in records
    ]
    rows["parameters of the ten widest functions"] = [
        ", ".join(str(f["parameters"]) for f in r["widest_functions"]) for r in records
    ]
    for option in dict.fromkeys(r["option"] for r in records):
        rows[f"files whose code names `{option}`"] = [len(r["option_files"]) for r in records]
    rows[f"lines of Markdown over {WIDE} characters, outside tables"] = [
        r["long_markdown_lines"] for r in records
    ]
    head = [["measure", *(r["checkout"] for r in records)]]
    body = [[name, *map(str, values)] for name, values in rows.items()]
    lines = [f"| {' | '.join(cells)} |" for cells in head + body]
    return "\n".join([lines[0], "|---" * (len(records) + 1) + "|", *lines[1:]])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("trees", nargs="*", type=Path, default=[Path(__file__).parents[1]])
    parser.add_argument("--option", default=OPTION, help=f"option to look for (default {OPTION})")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    records = [measure(Checkout(tree), arguments.option) for tree in arguments.trees]
    print(table(records))
    if arguments.output is not None:
        results.write(arguments.output.stem, {"checkouts": records}, arguments.output.parent)


if __name__ == "__main__":
    main()
