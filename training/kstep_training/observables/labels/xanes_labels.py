"""Labels of X-ray absorption near an edge: core excitations of each frame."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from kstep_integrators.notices import KStepWarning
from kstep_training.keys import setting
from kstep_training.observables.labels.core_spectra import CoreLevels, core_excitations
from kstep_training.observables.labels.frame_labels import over_frames
from kstep_training.observables.labels.settings import LabelSettings

__all__ = ["XANESLabelSettings", "label_xanes"]


@dataclass(frozen=True)
class XANESLabelSettings(LabelSettings):
    """Frames, and the level of theory of their core excitations.

    Raises
    ------
    ValueError
        If a value is out of its range.

    Examples
    --------
    >>> XANESLabelSettings(element="O", basis="6-31g").levels.xc
    'camb3lyp'
    """

    charge: int = setting(0, "charge of the molecules of a frame together", "e")
    element: str = setting("C", "element whose 1s electrons are excited (its K edge)")
    xc: str = setting("camb3lyp", "functional of PySCF; hf: Hartree-Fock")
    basis: str = setting("def2-svp", "basis set of PySCF")
    tda: bool = setting(False, "Tamm-Dancoff approximation: no de-excitations")
    grid: int = setting(2, "level of the integration grid of the functional, 0 to 9")
    density_fit: bool = setting(
        True, "density fitting in the ground state: a third of its time, energies to 2 meV"
    )
    window_eV: float = setting(
        25.0,
        "excitations are kept up to this energy above the first of the frame, and the next one",
        "eV",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.element not in atomic_numbers or self.element == "X":
            raise ValueError(f"element is {self.element!r}, expected a symbol such as C, N or O")
        if not 0 <= self.grid <= 9:
            raise ValueError(f"grid is {self.grid}, expected 0 to 9")
        if not 0.0 < self.window_eV < float("inf"):
            raise ValueError(f"window_eV is {self.window_eV}, expected a positive number")

    @property
    def levels(self) -> CoreLevels:
        """The level of theory."""
        return CoreLevels(self.xc, self.basis, self.tda, self.grid, self.charge, self.density_fit)


def label_xanes(
    frames: Sequence[Atoms], settings: XANESLabelSettings, reference: Atoms
) -> tuple[dict[str, Any], dict[int, str]]:
    """Core excitations of frames.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        F of them, of the same atoms.
    settings : XANESLabelSettings
    reference : ase.Atoms
        First labelled frame of the trajectory.

    Returns
    -------
    arrays : dict
        ``kind``, the formula; ``absorbers`` (A,) int; ``excitations`` (F', n) eV, ``strengths``
        (F', n), ``shares`` of them by absorbers and ``hole``, both (F', n, A), of the frames that
        did not fail. All frames of a part have as many excitations: as many as one of them needs to
        reach beyond its window.
    failures : dict
        Reasons by the place of the frame.

    Raises
    ------
    ValueError
        If the molecule or the settings cannot be used.

    Examples
    --------
    >>> water = Atoms("OH2", [[0, 0, 0.12], [0, 0.76, -0.47], [0, -0.76, -0.47]])
    >>> settings = XANESLabelSettings(element="O", basis="sto-3g", window_eV=1.0)
    >>> arrays, failures = label_xanes([water], settings, water)
    >>> arrays["kind"].item(), arrays["excitations"].shape, failures
    ('H2O', (1, 2), {})
    """

    def label(atoms: Atoms) -> dict[str, Any]:
        found = core_excitations(atoms, settings.element, settings.levels)
        return {
            "excitations": found.energies,
            "strengths": found.strengths,
            "shares": found.shares,
            "hole": found.hole,
            "absorbers": found.absorbers,
        }

    arrays, failures = over_frames(frames, label)
    if not arrays:
        return {}, failures
    energies = arrays["excitations"]
    end = energies[:, :1] + settings.window_eV
    if (short := energies[:, -1:] < end).any():
        warnings.warn(
            f"{int(short.sum())} of {len(energies)} frames of {reference.get_chemical_formula()} "
            f"have no excitation {settings.window_eV:g} eV above their first: the spectrum ends "
            f"before the window does; take a larger basis than {settings.basis}, or a smaller "
            "window_eV",
            KStepWarning,
            stacklevel=2,
        )
    # One beyond the window, so that all frames say that there are no others within it.
    count = min(energies.shape[1], 1 + int((energies <= end).sum(axis=1).max()))
    return {
        "kind": np.array(reference.get_chemical_formula()),
        "absorbers": arrays["absorbers"][0].astype(np.int64),
        "excitations": energies[:, :count],
        "strengths": arrays["strengths"][:, :count],
        "shares": arrays["shares"][:, :count],
        "hole": arrays["hole"][:, :count],
    }, failures
