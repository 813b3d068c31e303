"""Two results side by side: which numbers moved beyond noise.

Numbers are paired by their place; rows of lists by what names them (strings, truth values and
``NAMING`` numbers such as a stride), not by their order. How much is noise is taken from the
results where they record it:

- a standard error beside a number (``X_error``, ``X_standard_error``, ``error`` or
  ``standard_error`` in the same object, or pairs ``[value, error]`` under ``..._per_ns``), or a
  list of numbers, which counts as a sample: its mean has moved if it differs by more standard
  errors than the largest of as many normal deviates exceeds with the chance of three sigma;
- elsewhere a number has moved if it differs by more than a part: 30 % for times, 10 % for others.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kstep_integrators.testing.block_averages import family_limit

__all__ = ["RELATIVE", "TIMES", "Comparison", "Move", "compare", "report"]

RELATIVE = 0.1
"""By which a number without a recorded error may differ."""
TIMES = 0.3
"""The same for times: other work on the machine, other machines."""
ABSOLUTE = 1e-9
"""Differences below this are rounding."""
SKIPPED = ("machine", "what", "load", "load_before", "load_after", "seed", "cache")
CLOCKS = ("seconds", "_s", "_us", "_ms", "_MiB", "microseconds", "frames_per_second", "speedup")
NAMING = ("stride_fs", "k", "extra_chances", "replicas", "workers", "frames", "batch_size",
          "channels", "layers", "friction_per_ps", "jitter", "start", "atoms")  # fmt: skip
ERRORS = ("error", "standard_error")
UNNAMED = ("error", "reason", "last_problem", "ended", "went_on")
"""Strings that are results, and name nothing."""


@dataclass(frozen=True)
class Move:
    """One value of two results by its place: keys from the top, joined by dots.

    A result that lacks it has None. The difference is in standard errors (sigma) where the results
    have them, and over the committed number.
    """

    place: str
    committed: Any
    new: Any
    sigma: float | None = None
    relative: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Values compared, and those that moved."""

    with_errors: int
    without_errors: int
    limit: float
    moved: list[Move]


@dataclass(frozen=True)
class _Number:
    value: float
    error: float | None


def _numbers(value: Any, place: str = "", error: float | None = None) -> Iterator[tuple[str, Any]]:
    """Every number with its error, and every string, by place."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        yield place, value
    elif isinstance(value, int | float):
        yield place, _Number(float(value), error)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            if key in SKIPPED or (_is_error(key, value) and _number(part)):
                continue
            yield from _numbers(part, f"{place}.{key}".lstrip("."), _error_of(key, value))
    elif value and all(map(_number, value)):
        yield place, _sample(place, value)
    else:
        names = [_name(part) for part in value]
        for position, (name, part) in enumerate(zip(names, value, strict=True)):
            unique = name and names.count(name) == 1
            yield from _numbers(part, f"{place}[{name if unique else position}]")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_error(key: str, beside: Mapping[str, Any]) -> bool:
    return key in ERRORS or any(
        key.endswith(f"_{e}") and key.removesuffix(f"_{e}") in beside for e in ERRORS
    )


def _error_of(key: str, beside: Mapping[str, Any]) -> float | None:
    """The recorded standard error of a number, if there is one that is positive."""
    own = [beside.get(f"{key}_{e}") for e in ERRORS]
    # One error in an object is that of its one measured number, not of the counts beside it.
    shared = [beside.get(e) for e in ERRORS] if key in ("mean", "value") or _single(beside) else []
    known = (float(e) for e in (*own, *shared) if isinstance(e, int | float))
    return next((error for error in known if error > 0.0), None)


def _single(beside: Mapping[str, Any]) -> bool:
    return sum(_number(v) for k, v in beside.items() if k not in ERRORS) == 1


def _sample(place: str, values: Sequence[float]) -> _Number:
    if place.rpartition(".")[0].endswith("_per_ns") and len(values) == 2:
        return _Number(float(values[0]), float(values[1]) or None)
    each = np.array(values, dtype=float)
    spread = float(each.std(ddof=1)) / math.sqrt(len(each)) if len(each) > 1 else 0.0
    return _Number(float(each.mean()), spread or None)


def _name(row: Any) -> str:
    if not isinstance(row, Mapping):
        return ""
    parts = [
        str(value)
        for key, value in row.items()
        if (isinstance(value, str | bool) and key not in UNNAMED) or key in NAMING
    ]
    return " ".join(parts)


def compare(committed: Mapping[str, Any], new: Mapping[str, Any]) -> Comparison:
    """Compare two results of one suite, as JSON.

    Moves are sorted: what is missing or other, then by standard errors, then by parts.
    """
    before, after = (dict(_numbers(result)) for result in (committed, new))
    both = [place for place in before if place in after]
    with_errors = [p for p in both if _sigma(before[p], after[p]) is not None]
    limit = family_limit(max(1, len(with_errors)))
    moved = [Move(place, value, None) for place, value in _lacking(before, after).items()]
    moved += [Move(place, None, value) for place, value in _lacking(after, before).items()]
    plain = 0
    for place in both:
        one, other = before[place], after[place]
        if not isinstance(one, _Number) or not isinstance(other, _Number):
            if one != other:
                moved.append(Move(place, one, other))
            continue
        sigma = _sigma(one, other)
        plain += sigma is None
        if _beyond(place, one, other, sigma, limit):
            relative = (other.value - one.value) / abs(one.value) if one.value else None
            moved.append(Move(place, one, other, sigma, relative))
    moved.sort(key=lambda m: (m.relative is not None or m.sigma is not None,
                              -abs(m.sigma or 0.0), -abs(m.relative or 0.0)))  # fmt: skip
    return Comparison(len(with_errors), plain, limit, moved)


def _lacking(result: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Places of a result that the other lacks; a whole part of it once, with its size."""
    known = {part for place in other for part in _parts(place)}
    lacking: dict[str, list[Any]] = {}
    for place, value in result.items():
        if place not in other:
            first = next((part for part in _parts(place) if part not in known), place)
            lacking.setdefault(first, []).append(value)
    return {
        part: values[0] if len(values) == 1 else f"{len(values)} values"
        for part, values in lacking.items()
    }


def _parts(place: str) -> list[str]:
    """The beginnings of a place, from its first key to all of it."""
    return [place[: cut.start()] for cut in re.finditer(r"(?<=.)[.\[]|$", place)]


def _sigma(one: Any, other: Any) -> float | None:
    if not isinstance(one, _Number) or not isinstance(other, _Number):
        return None
    if one.error is None or other.error is None:
        return None
    return (other.value - one.value) / math.hypot(one.error, other.error)


def _beyond(place: str, one: _Number, other: _Number, sigma: float | None, limit: float) -> bool:
    difference = abs(other.value - one.value)
    if difference <= ABSOLUTE:
        return False
    if sigma is not None:
        return abs(sigma) > limit
    last = place.rpartition(".")[2].partition("[")[0]
    part = TIMES if last.endswith(CLOCKS) else RELATIVE
    return not difference <= part * abs(one.value)


def report(comparison: Comparison) -> str:
    """A comparison as text with a Markdown table."""
    numbers = comparison.with_errors + comparison.without_errors
    head = (
        f"{numbers} numbers compared: {comparison.with_errors} by their standard errors (limit "
        f"{comparison.limit:.1f}), {comparison.without_errors} by {RELATIVE:.0%} ({TIMES:.0%} for "
        f"times). {len(comparison.moved) or 'None'} moved."
    )
    if not comparison.moved:
        return head
    lines = [head, "", "| where | committed | new | by |", "|---|---|---|---|"]
    for move in comparison.moved:
        by = "" if move.relative is None else f"{move.relative:+.0%}"
        if move.sigma is not None:
            by = f"{move.sigma:+.1f} standard errors"
        lines.append(f"| {move.place} | {_text(move.committed)} | {_text(move.new)} | {by} |")
    return "\n".join(lines)


def _text(value: Any) -> str:
    if isinstance(value, _Number):
        error = "" if value.error is None else f" ± {value.error:.2g}"
        return f"{value.value:.6g}{error}"
    return "missing" if value is None else json.dumps(value)
