"""What a demonstration says: its table, its break-even and its JSON file.

Nothing here runs dynamics. The picture is in :mod:`kstep_integrators.cli.demo.picture`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from kstep_integrators.cli.demo.break_even import BreakEven
from kstep_integrators.cli.demo.records import RunRecord
from kstep_integrators.units import MEV

__all__ = ["DFT_SECONDS", "print_report", "write_json"]

DFT_SECONDS: Final[float] = 5.0
"""A DFT energy and gradient along a trajectory: ethanol, B3LYP/def2-SVP, PySCF, one CPU core."""


def print_report(
    console: Console,
    title: str,
    records: Sequence[RunRecord],
    balance: BreakEven,
    warm_up_seconds: float,
) -> None:
    """Print the table and, below it, what jumps cost and gain.

    Parameters
    ----------
    console : rich.console.Console
        Where to print.
    title : str
        Heading of the table.
    records : sequence of RunRecord
        The runs; the first is the reference of `balance`.
    balance : BreakEven
        Of the k-step run against the reference.
    warm_up_seconds : float
        Time spent compiling and warming up before anything was timed.
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
    for record in records:
        table.add_row(
            record.name,
            f"{record.stride_fs:g}",
            f"{record.n_evaluations}",
            f"{record.drift.drift:+.3f}",
            f"{record.drift.fluctuation:.3f}",
            "-" if record.residual_rms is None else f"{record.residual_rms / MEV:.0f}",
            f"{record.seconds:.1f}",
        )
    console.print(table)

    reference = records[0]
    physics = reference.evaluation_seconds
    lines = [
        f"One GFN2 evaluation takes {_time(physics)} here; a jump with everything around it "
        f"{_time(balance.overhead_jumps)}. Compiling and warming up took {warm_up_seconds:.1f} s "
        "before the clock started.",
    ]
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
    fallbacks = sum(record.fallbacks for record in records)
    if fallbacks:
        lines.append(f"{fallbacks} strides fell back to velocity Verlet; they are counted above.")
    for line in lines:
        console.print(line, highlight=False)


def write_json(
    path: Path,
    records: Sequence[RunRecord],
    balance: BreakEven,
    details: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the summary of a demonstration and return it.

    Parameters
    ----------
    path : Path
        File to write.
    records : sequence of RunRecord
        The runs; the first is the reference of `balance`.
    balance : BreakEven
        Of the k-step run against the reference.
    details : mapping
        What else to keep: settings, molecule, versions, warm-up time.

    Returns
    -------
    dict
        What the file holds.
    """
    physics = records[0].evaluation_seconds
    report = {
        **details,
        "runs": [record.summary() for record in records],
        "break_even": {
            "against": records[0].name,
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


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.2g} ms" if seconds < 0.1 else f"{seconds:.2g} s"
