"""Tables of observables: fits by variant and by number of labels, and averages along runs."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.documents import markdown
from benchmarks.results import load

__all__ = [
    "coupling_curve", "coupling_fits", "coupling_references", "observed_cost", "observed_coupling",
    "observed_spectrum", "spectrum_curve", "spectrum_fits",
]  # fmt: skip

NAMES = {
    "no-field-node": "without the field node",
    "no-orbital-pairs": "without terms of orbitals",
    "magnitude": "without them, magnitudes alone",
    "no-attention": "the absorber's features alone, no attention",
    "no-norms": "without norms in the readout",
    "no-jitter": "without jitter",
    "jitter": "with jitter",
}
MAPE = ("mape", "mean percentage error", ".0f")
SECOND = ("mse_second", "of the second derivative", ".3f")
PARTS = ("train", "validation", "test", "held_out")
Rows = list[dict[str, Any]]


def _result(suite: str) -> dict[str, Any] | str:
    """A committed result, or the line that stands where its table will be."""
    try:
        return load(suite)
    except FileNotFoundError:
        return f"Not measured yet: `python -m benchmarks.run --suite {suite}`."


def _by_variant(rows: Rows, curve: bool) -> dict[str, Rows]:
    """Rows of all seeds by variant: those of learning curves, or all others."""
    found: dict[str, Rows] = {}
    for row in rows:
        if row["variant"].startswith("labels-") == curve:
            found.setdefault(row["variant"], []).append(row)
    return found


def _over(rows: Rows, value: Callable[[dict[str, Any]], Any], form: str) -> str:
    """Mean over seeds, and the standard deviation from seed to seed if there are several."""
    values = [one for one in map(value, rows) if one is not None]
    if not values:
        return ""
    mean = format(statistics.mean(values), form)
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):{form}}"


def _error(part: str, name: str, key: str) -> Callable[[dict[str, Any]], Any]:
    """Reads one error of a row; None where there is none."""
    return lambda row: row["parts"].get(part, {}).get(name, {}).get(key)


def _fits(
    result: dict[str, Any], keys: tuple[str, ...], form: str, more: tuple[str, str, str]
) -> str:
    """Errors of all variants, with the simple predictions and the twin of the base before them.

    ``more`` is the key of one more error, on the test part, its title and its format.
    """
    found = _by_variant(result["rows"], curve=False)
    base = found.get("base", [])
    simple = [name for name in base[0]["parts"]["test"] if name != "network"] if base else []

    def line(label: str, rows: Rows, name: str) -> list[str]:
        fitted = name in rows[0]["cpu_seconds"]
        return [
            label, str(rows[0]["epochs"]) if name == "network" else "",
            *(" / ".join(_over(rows, _error(part, name, key), form) for key in keys)
              for part in PARTS),
            _over(rows, _error("test", name, more[0]), more[2]),
            _over(rows, lambda row: row["cpu_seconds"][name], ".0f") if fitted else "",
        ]  # fmt: skip

    lines = [
        line(f"network, {name}" if name in base[0]["cpu_seconds"] else name, base, name)
        for name in simple
    ]
    for variant, rows in found.items():
        label = "**network**" if variant == "base" else NAMES.get(variant, variant)
        if variant.startswith("lmax-"):
            label = f"harmonics to l = {variant[5:]}"
        lines.append(line(label, rows, "network"))
    counts = (base or result["rows"])[0]["labels"]
    header = ["prediction", "epochs",
              *(f"{part.replace('_', ' ')} ({counts.get(part, 0)})" for part in PARTS)]  # fmt: skip
    table = markdown([*header, f"test: {more[1]}", "CPU seconds of the fit"], lines)
    return f"{table}\n\nBase: `{' '.join(result['base'])}`."


def coupling_fits() -> str:
    """Mean absolute errors of couplings, meV."""
    result = _result("coupling_fits")
    if isinstance(result, str):
        return result
    parts = result["rows"][0]["parts"]
    spreads = ", ".join(
        f"{part.replace('_', ' ')} {parts[part]['network']['spread']:.1f}"
        for part in PARTS
        if part in parts
    )
    return f"{_fits(result, ('mae',), '.1f', MAPE)} Spread of the reference, meV: {spreads}."


def spectrum_fits() -> str:
    """Normalized errors of spectra and of their derivatives."""
    result = _result("spectrum_fits")
    if isinstance(result, str):
        return result
    return _fits(result, ("mse", "mse_first"), ".4f", SECOND)


def _curve(result: dict[str, Any], key: str, form: str) -> str:
    """Errors by number of labels, of the network and of simple predictions from the same labels."""
    found = list(_by_variant(result["rows"], curve=True).values())
    base = _by_variant(result["rows"], curve=False).get("base")
    found = sorted([*found, *([base] if base else [])], key=lambda rows: rows[0]["labels"]["train"])
    if not found:
        return "No learning curve yet."
    names = ["network"]
    for row in (rows[0] for rows in found):
        known = row["parts"]["test"]
        names += [name for name in known if name not in (*names, *row["cpu_seconds"])]
    lines = [
        [rows[0]["labels"]["train"],
         _over(rows, _error("train", "network", key), form),
         *(_over(rows, _error("test", name, key), form) for name in names),
         _over(rows, _error("held_out", "network", key), form)]
        for rows in found
    ]  # fmt: skip
    header = ["labels", "network, on these", *(f"{name}, test" for name in names)]
    return markdown([*header, "network, held out"], lines)


def coupling_curve() -> str:
    """Mean absolute errors of couplings by number of labels, meV."""
    result = _result("coupling_fits")
    return result if isinstance(result, str) else _curve(result, "mae", ".1f")


def spectrum_curve() -> str:
    """Normalized errors of spectra by number of labels."""
    result = _result("spectrum_fits")
    return result if isinstance(result, str) else _curve(result, "mse", ".4f")


def coupling_references() -> str:
    """Two reference methods beside each other."""
    result = _result("coupling_fits")
    if isinstance(result, str):
        return result
    second = result.get("second")
    if second is None:
        return "Not measured yet: there are no labels by a second method."
    lines = [
        [row["kind"], row["plain"]["count"], f"{row['plain']['spread']:.1f}",
         f"{row['plain']['mae']:.1f}", f"{row['plain']['mape']:.0f}", f"{row['line']['mae']:.1f}",
         f"{row['line']['mape']:.0f}"]
        for row in second["rows"]
    ]  # fmt: skip
    one, other = second["methods"]
    line = f"{second['slope']:.2f} {one} {second['offset_meV']:+.1f} meV"
    header = ["dimers", "labels", f"spread of {other}, meV", f"{one}: mean error, meV", "%",
              f"{line}: mean error, meV", "%"]  # fmt: skip
    return markdown(header, lines)


def _plus_minus(average: dict[str, Any], form: str = ".1f") -> str:
    error = average["error"]
    return f"{average['mean']:{form}} ± {'?' if error is None else format(error, form.strip('+'))}"


def observed_coupling() -> str:
    """Averages of a coupling along a run, by prediction."""
    result = _result("observed_coupling")
    if isinstance(result, str):
        return result
    lines = [
        [row["quantity"], row["prediction"], _plus_minus(row["along"]),
         "" if row["along"]["samples"] is None else f"{row['along']['samples']:.0f}",
         _plus_minus(row["labels"]), _plus_minus(row["off"], "+.1f"),
         _plus_minus(row["corrected"])]
        for row in result["rows"]
    ]  # fmt: skip
    frames, some = result["frames"], result["labelled"]
    header = ["coupling, meV", "prediction", f"all {frames} frames", "independent frames",
              f"labels of {some} frames", "off by on these", "all frames, less that"]  # fmt: skip
    return f"{markdown(header, lines)}\n\n{_run(result, ' and '.join(result['pair']))}"


def observed_spectrum() -> str:
    """Mean spectra along a run against that of the labels."""
    result = _result("observed_spectrum")
    if isinstance(result, str):
        return result
    lines = [
        [row["prediction"], *(f"{row[key]:.2g}" for key in ("mse", "mse_first", "mse_second"))]
        for row in result["rows"]
    ]
    header = [f"mean spectrum, against labels of {result['labelled']} frames",
              "MSE", "of the first derivative", "of the second"]  # fmt: skip
    return f"{markdown(header, lines)}\n\n{_run(result, result['molecule'])}"


def _run(result: dict[str, Any], what: str) -> str:
    """A line about the run."""
    length = result["frames"] * result["interval_fs"] / 1e3
    return (
        f"`{what}`: {length:g} ps of jumps of {result['stride_fs']:g} fs, "
        f"{100 * result['accepted']:.0f} % of them accepted, at {result['temperature_K']:g} K on "
        f"{result['physics']}; labels by {result['method']}."
    )


def observed_cost() -> str:
    """Seconds of the processor of runs, of networks and of labels."""
    lines = []
    for suite in ("observed_coupling", "observed_spectrum"):
        result = _result(suite)
        if isinstance(result, str):
            continue
        cpu = result["cpu"]
        lines.append([
            ", ".join(result.get("pair") or [result["molecule"]]), result["frames"],
            f"{cpu['run']:.0f}", f"{1e3 * cpu['network_per_frame']:.0f}",
            f"{1e3 * cpu['label_per_frame']:.0f}", f"{cpu['network']:.0f}",
            f"{cpu['labels_extrapolated']:.0f}",
            f"{result['training_labels'] * cpu['label_per_frame']:.0f}",
        ])  # fmt: skip
    if not lines:
        return "Not measured yet."
    header = ["run", "frames", "CPU seconds of the run", "ms per frame: network", "label",
              "seconds for all frames: network", "labels (extrapolated)",
              "seconds of as many labels as the fit has had"]  # fmt: skip
    return markdown(header, lines)
