"""Any ASE calculator as the potential of a flow."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from torch import Tensor

from kstep_integrators import units
from kstep_integrators.arguments import SetOnce, positive_number
from kstep_integrators.mechanics.stress_check import check_stress
from kstep_integrators.notices import KStepWarning
from kstep_integrators.physics.calculation import ask, check_is_calculator
from kstep_integrators.physics.identity import settings_of
from kstep_integrators.potentials.differences import difference_products
from kstep_integrators.potentials.virial import potential_energy
from kstep_integrators.state import (
    BoundPotential,
    Evaluation,
    EvaluationFailed,
    HessianProducts,
    PhaseState,
    Reasons,
)

__all__ = ["CalculatorPotential"]


class CalculatorPotential(SetOnce):
    """Any ASE calculator as the potential of a flow: GFN2 inside DFT needs no training at all.

    Parameters
    ----------
    calculator : ase Calculator
        Used by this potential alone; it must not be the calculator of the physics.
    timestep : float
        Base step, ASE time units; default 0.25 fs.

    Notes
    -----
    The molecules of an ensemble are evaluated one after another, in this process. The calculator
    sees the charges, moments, tags and info of the user's atoms.

    Examples
    --------
    >>> from ase.calculators.lj import LennardJones
    >>> from kstep_integrators import CalculatorPotential, units
    >>> CalculatorPotential(LennardJones(sigma=0.8, epsilon=0.1)).timestep == 0.25 * units.FS
    True
    """

    def __init__(self, calculator: BaseCalculator, timestep: float = 0.25 * units.FS) -> None:
        check_is_calculator("the calculator of the potential", calculator)
        self.calculator = calculator
        self._timestep = positive_number("timestep", timestep, "base step in ASE time units")
        self._stress_is_sound: bool | None = None

    @property
    def timestep(self) -> float:
        """Base step, ASE time units."""
        return self._timestep

    @property
    def device(self) -> torch.device:
        """Always the CPU: ASE calculators take numpy arrays."""
        return torch.device("cpu")

    def to(self, device: torch.device | str) -> CalculatorPotential:
        """Returns itself on the CPU: a calculator stays where it is.

        Raises
        ------
        ValueError
            For another device.
        """
        if torch.device(device).type != "cpu":
            raise ValueError(
                f"device is {str(device)!r}, but the potential is an ASE calculator, which takes "
                "numpy arrays and stays where it is: leave device out, and set the device of the "
                "calculator itself"
            )
        return self

    def describe(self) -> dict[str, Any]:
        """Settings of the calculator and of those that it asks itself, as text."""
        return {"calculator": settings_of(self.calculator)}

    def bind(self, state: PhaseState) -> BoundPotential:
        """Force function of the molecules of a state, which the calculator takes in turn."""
        numbers, batch = state.numbers.cpu().numpy(), state.batch.cpu().numpy()
        positions, masses = state.positions.cpu().numpy(), state.masses[:, 0].cpu().numpy()
        forces = []
        for molecule in range(state.n_molecules):
            mine = batch == molecule
            # Charge, spin, tags and whatever else a calculator reads are those of the user's atoms.
            known = None if state.templates is None else state.templates[molecule]
            atoms = Atoms(numbers[mine]) if known is None else known.copy()
            atoms.positions[:] = positions[mine]
            atoms.set_masses(masses[mine])
            atoms.set_cell(state.cell[molecule].cpu().numpy())
            atoms.pbc = state.pbc
            atoms.calc = self.calculator
            forces.append(_CalculatorForces(atoms))
        return forces[0] if len(forces) == 1 else _ForcesInTurn(forces)

    def virial(self, state: PhaseState) -> Tensor | None:
        """The stress of the calculator times the volume, (6,) eV, if it has one that is right.

        It is compared once with differences of the energy.

        Warns
        -----
        KStepWarning
            If it is not their derivative: it is not used then.
        """
        if self._stress_is_sound is False or not _has_stress(self.calculator):
            return None
        forces = self.bind(state)
        if not isinstance(forces, _CalculatorForces):
            return None
        found = forces.virial()
        if found is None or self._stress_is_sound:
            return found
        verdict = check_stress(state, lambda there: potential_energy(self, there), found)
        self._stress_is_sound = None if verdict is None else not verdict.wrong
        if verdict is not None and verdict.wrong:
            warnings.warn(
                f"the stress of {type(self.calculator).__name__}, the calculator of the potential, "
                f"is not the derivative of its energy by the strain of the cell: {verdict.text()}. "
                "Differences of energies are used in its place",
                KStepWarning,
                stacklevel=2,
            )
        return found if self._stress_is_sound else None


def _has_stress(calculator: BaseCalculator) -> bool:
    return "stress" in getattr(calculator, "implemented_properties", ())


class _CalculatorForces:
    """Forces of an ASE calculator for one molecule."""

    def __init__(self, atoms: Atoms) -> None:
        self.atoms = atoms
        self._stood: Atoms | None = None

    def __call__(self, positions: Tensor, workspace: Any) -> tuple[Evaluation, Any]:
        if not bool(positions.isfinite().all()):  # of which calculators make what they like
            raise EvaluationFailed("the motion on it leads nowhere: positions are not finite")
        self.atoms.positions[:] = positions.cpu().numpy()
        with torch.enable_grad():  # a calculator may be a network, which differentiates its energy
            answer = ask(self.atoms, True, self._stood)
        self._stood = getattr(self.atoms.calc, "atoms", None)
        if answer.failure is not None or answer.forces is None:
            # The jump did not work out, and the stepper has another way.
            raise EvaluationFailed(answer.failure or "the calculator has no forces")
        energy = torch.from_numpy(np.array([answer.energy]))
        return Evaluation(energy, torch.from_numpy(answer.forces)), None

    def virial(self) -> Tensor | None:
        """The stress times the volume, (6,) eV, where the atoms are; None without one."""
        try:
            with torch.enable_grad():
                stress = self.atoms.get_stress(apply_constraint=False)
        except Exception:  # noqa: BLE001  (calculators raise what they like)
            return None
        found = torch.from_numpy(np.array(stress, dtype=np.float64) * self.atoms.get_volume())
        return found if found.shape == (6,) and bool(found.isfinite().all()) else None

    def linearized(self, positions: Tensor) -> HessianProducts:
        """Central differences of forces: two evaluations per vector."""
        one_molecule = torch.zeros(len(positions), dtype=torch.int64)
        return difference_products(
            lambda x: self(x, None)[0].require_forces(), positions, one_molecule
        )


class _ForcesInTurn:
    """Forces of an ASE calculator for several molecules; NaN for one where it fails."""

    def __init__(self, forces: Sequence[_CalculatorForces]) -> None:
        self.forces = forces
        self.sizes = [len(one.atoms) for one in forces]

    def __call__(self, positions: Tensor, workspace: Any) -> tuple[Evaluation, Any]:
        energies = torch.full((len(self.sizes),), math.nan, dtype=torch.float64)
        every = torch.full_like(positions, math.nan)
        # What failed in one step is NaN in the next: the reason that counts is the first.
        failures: Reasons = dict(workspace or {})
        parts = zip(self.forces, positions.split(self.sizes), every.split(self.sizes), strict=True)
        for i, (forces, x, f) in enumerate(parts):
            if i in failures:
                continue
            try:
                one, _ = forces(x, None)
            except EvaluationFailed as error:
                failures[i] = str(error)
                continue
            energies[i] = one.energy[0]
            f.copy_(one.require_forces())
        return Evaluation(energies, every, failures), failures

    def linearized(self, positions: Tensor) -> HessianProducts:
        """The Hessian of each molecule, by central differences; NaN for one where it fails."""
        places = positions.split(self.sizes)
        products = [forces.linearized(x) for forces, x in zip(self.forces, places, strict=True)]

        def of_one(product: HessianProducts, vectors: Tensor) -> Tensor:
            try:
                return product(vectors)
            except EvaluationFailed:
                return torch.full_like(vectors, math.nan)

        def product(vectors: Tensor) -> Tensor:
            parts = vectors.split(self.sizes, dim=1)
            return torch.cat([of_one(*both) for both in zip(products, parts, strict=True)], dim=1)

        return product
