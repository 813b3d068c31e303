"""Labels of dimers: a cheap coupling, a reference coupling, and what a network is told of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from kstep_integrators.observables.couplings import (
    OrbitalReference,
    dimer_coupling,
    dimer_state,
    orbital_reference,
    split_dimer,
)
from kstep_integrators.observables.couplings.dimer import dimer_kind
from kstep_integrators.observables.couplings.orbitals import CARRIERS, check_carrier
from kstep_integrators.observables.couplings.pyscf_orbitals import parse_method
from kstep_integrators.observables.couplings.tblite_orbitals import TIGHT_BINDING
from kstep_training.keys import setting
from kstep_training.observables.labels.frame_labels import FrameFailed, over_frames
from kstep_training.observables.labels.settings import LabelSettings

__all__ = ["CouplingLabelSettings", "label_couplings"]


@dataclass(frozen=True)
class CouplingLabelSettings(LabelSettings):
    """Frames of dimers, and the methods of their couplings.

    Raises
    ------
    ValueError
        If a value is out of its range.

    Examples
    --------
    >>> CouplingLabelSettings(reference="PBE0/def2-SVP").carrier
    'hole'
    """

    reference: str = setting(
        "HF/def2-SVP", "method of the reference: a functional (or HF) and a basis of PySCF"
    )
    reference_2: str | None = setting(
        None, "a second such method, whose difference is a measure of the reference's own error"
    )
    carrier: str = setting(
        CARRIERS[0], "hole (highest occupied orbitals) or electron (lowest empty orbitals)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_carrier(self.carrier)
        for method in self.references:
            if method in TIGHT_BINDING:
                raise ValueError(
                    f"the method of a reference is {method!r}, expected a functional (or HF) and a "
                    "basis of PySCF, as 'HF/def2-SVP': GFN2-xTB is what is corrected to it"
                )
            parse_method(method)

    @property
    def references(self) -> tuple[str, ...]:
        """The one or two methods of the reference."""
        return (self.reference,) if self.reference_2 is None else (self.reference, self.reference_2)


def label_couplings(
    frames: Sequence[Atoms], settings: CouplingLabelSettings, reference: Atoms
) -> tuple[dict[str, npt.NDArray[Any]], dict[int, str]]:
    """Couplings of frames of a trajectory, and what a network is told of each.

    Orbitals, and their phases, are those of the molecules at their minimum by GFN2-xTB, found again
    in every frame and by every method: signs can be compared. Those of holes are projected on the
    occupied orbitals of the frame; for electrons the reference's orbital most like it is taken.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        F of them, of N atoms.
    settings : CouplingLabelSettings
    reference : ase.Atoms
        First labelled frame of the trajectory, from which the molecules are relaxed.

    Returns
    -------
    arrays : dict of arrays
        ``kind`` (), ``molecule`` (N,), and of each frame that did not fail ``populations`` (F, N,
        3), ``orbital`` (F, N, 4), ``dipole`` (F, 3) e angstrom, ``quadrupole`` (F, 6)
        e angstrom^2, ``separation`` (F,) angstrom, ``angle`` (F,) radian, ``participation`` (F,),
        ``cheap`` (F,) eV by GFN2-xTB, ``reference`` (F,) eV, and ``reference_2`` (F,) eV if there
        is a second method.
    failures : dict
        Reasons by the place of the frame in ``frames``: an SCF that does not converge, orbitals
        that mix, molecules that have reacted.

    Raises
    ------
    ValueError
        If the reference frame is no dimer that has a coupling: not two neutral closed shells, or
        frontier orbitals that are degenerate.

    Examples
    --------
    >>> from kstep_integrators import named_molecule
    >>> one, other = named_molecule("ethene"), named_molecule("ethene")
    >>> other.translate([1.0, 1.0, 4.0])
    >>> arrays, failures = label_couplings([one + other], CouplingLabelSettings(), one + other)
    >>> bool(abs(arrays["reference"][0]) > abs(arrays["cheap"][0])), failures
    (True, {})
    """
    known = orbital_reference(reference, settings.carrier)

    def one(atoms: Atoms) -> dict[str, Any]:
        try:
            return _label(atoms, settings, known)
        except (ValueError, RuntimeError) as error:
            raise FrameFailed(str(error)) from error

    arrays, failures = over_frames(frames, one)
    if not arrays:
        return arrays, failures
    fixed = {"kind": np.array(dimer_kind(reference)), "molecule": split_dimer(reference)}
    return {**fixed, **arrays}, failures


def _label(
    atoms: Atoms, settings: CouplingLabelSettings, known: OrbitalReference
) -> dict[str, Any]:
    state = dimer_state(atoms, settings.carrier, known)
    label = {
        "populations": state.populations,
        "orbital": state.orbital,
        "dipole": state.dipole,
        "quadrupole": state.quadrupole,
        "separation": state.separation,
        "angle": state.angle,
        "participation": state.participation,
        "cheap": state.coupling.value,
    }
    for name, method in zip(("reference", "reference_2"), settings.references, strict=False):
        # A large basis has empty orbitals of the valence and others: there, one orbital.
        projected = settings.carrier == "hole"
        label[name] = dimer_coupling(atoms, method, settings.carrier, known, projected).value
    return label
