"""Whether vibrations lie where those of the reference do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from kstep_training.evaluate.motion import BANDS, LIMIT
from kstep_training.evaluate.noise import SIGMA3
from kstep_training.evaluate.verdict.check import MISS, OPEN, PASS, Check
from kstep_training.evaluate.verdict.samples import check_relabelled

__all__ = ["check_spectrum"]


def check_spectrum(name: str, row: Mapping[str, Any], bar: Mapping[str, Any] | None) -> list[Check]:
    """Shift of each band, start by start; of runs from other starts the whole spectrum."""
    spectra = row.get("spectra")
    if not spectra:
        return []
    if "relabelled" in spectra:
        return _whole(name, spectra)
    return [
        _band(name, band, spectra, ((bar or {}).get("spectra") or {}).get(band))
        for band in BANDS
        if band in spectra
    ]


def _whole(name: str, spectra: Mapping[str, Any]) -> list[Check]:
    found, words = spectra["relabelled"], f"the spectra overlap by {spectra['overlap']:.2f}"
    if found is None:
        words += "; too few runs to be told apart"
        return [Check("dynamics", name, "spectrum", OPEN, None, SIGMA3, words)]
    return [check_relabelled("dynamics", name, "spectrum", found, SIGMA3, words)]


def _band(
    name: str, band: str, spectra: Mapping[str, Any], theirs: Mapping[str, Any] | None
) -> Check:
    """No further off than the bar or noise; open if that noise is more than is resolved."""
    shift, noise = spectra[band]["shift"], spectra[band]["noise"]
    if noise is None or not math.isfinite(noise):
        words = "cm^-1; too few runs for a floor"
        return Check("dynamics", name, band, OPEN, shift, None, words)
    size = 0.0
    if theirs is not None:
        size = LIMIT if theirs["shift"] is None else abs(theirs["shift"])
    allowed, source = (size, "the shift of the bar") if size > noise else (noise, "its own noise")
    words = f"shift in cm^-1; {source}"
    if shift is None:
        status, words = MISS, f"{words}; beyond all limits"
    elif abs(shift) > allowed:
        status = MISS
    elif noise > max(size, spectra["resolution"]):
        status, words = OPEN, f"{words}, which is more than the spectra resolve"
    else:
        status = PASS
    return Check("dynamics", name, band, status, shift, allowed, words, SIGMA3 / spectra["bands"])
