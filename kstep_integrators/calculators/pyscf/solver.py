"""Mean field that follows a trajectory: each SCF starts from those before."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
from ase import Atoms

from kstep_integrators.calculators.electrons import Electrons
from kstep_integrators.calculators.pyscf.density import Overlap, to_lowdin
from kstep_integrators.calculators.pyscf.device import place, release_memory, to_host
from kstep_integrators.calculators.pyscf.extrapolation import Entry, History
from kstep_integrators.calculators.pyscf.ladder import Converged, NotConverged, converge
from kstep_integrators.calculators.pyscf.meanfield import build, check_covers, move_to, occupations
from kstep_integrators.calculators.pyscf.settings import Settings

__all__ = ["Solver", "SolverFailed"]


class SolverFailed(RuntimeError):
    """There is no converged SCF at a geometry.

    Attributes
    ----------
    cycles, attempts : int
        What was spent.
    """

    def __init__(self, message: str, cycles: int = 0, attempts: int = 0) -> None:
        super().__init__(message)
        self.cycles = cycles
        self.attempts = attempts


class Solver:
    """A mean-field object, the geometry it stands at, and the densities of earlier ones.

    Parameters
    ----------
    settings : Settings

    Attributes
    ----------
    mean_field : mean-field object or None
        None before the first geometry.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.mean_field: Any = None
        self._system: Hashable = None
        self._converged_at: Hashable = None
        self._history = History(settings.guess, settings.history)

    def forget(self) -> None:
        """Solve the next geometry even if it is the last one again; densities are kept."""
        self._converged_at = None

    def release_memory(self) -> None:
        """Give memory of the GPU that nothing uses back."""
        if self.mean_field is not None:
            release_memory(self.mean_field)

    def solve(self, atoms: Atoms, electrons: Electrons) -> Converged | None:
        """Bring the mean field to convergence at a geometry.

        Parameters
        ----------
        atoms : ase.Atoms
        electrons : Electrons

        Returns
        -------
        Converged or None
            None if it was converged there already.

        Raises
        ------
        SolverFailed
            If no attempt converges, or the basis is linearly dependent here.
        """
        system = (tuple(atoms.numbers.tolist()), electrons, tuple(atoms.pbc.tolist()))
        geometry = (system, atoms.positions.tobytes(), np.array(atoms.cell).tobytes())
        if geometry == self._converged_at:
            return None
        self._converged_at = None
        self._stand_at(atoms, electrons, system)
        overlap = self._overlap()
        guess = self._history.predict(atoms.positions, overlap)
        try:
            converged = converge(self.mean_field, guess)
        except NotConverged as error:
            raise SolverFailed(str(error), error.cycles, error.attempts) from error
        density = to_host(self.mean_field.make_rdm1())
        filled = occupations(self.mean_field, density)
        mixed = to_lowdin(density, overlap)
        self._history.put(geometry, Entry(atoms.positions.copy(), mixed, filled))
        self._converged_at = geometry
        return converged

    def _stand_at(self, atoms: Atoms, electrons: Electrons, system: Hashable) -> None:
        """Bring the mean-field object to a geometry, making it first if the system is another."""
        if system == self._system:
            move_to(self.mean_field, atoms)
            return
        self.mean_field = self._system = None
        self._history.clear()
        given = self.settings.given
        if given is None:
            self.mean_field = place(build(self.settings, atoms, electrons), self.settings.device)
        else:
            check_covers(given, atoms, electrons)
            self.mean_field = place(given, self.settings.device)
            move_to(self.mean_field, atoms)
        self._system = system

    def _overlap(self) -> Overlap:
        overlap = Overlap(to_host(self.mean_field.get_ovlp()))
        limit = self.settings.min_overlap_eigenvalue
        if overlap.smallest <= limit:
            raise SolverFailed(
                f"the basis is linearly dependent: the smallest eigenvalue of its overlap is "
                f"{overlap.smallest:.1e}, expected above {limit:.1e}. Take a basis with fewer "
                "diffuse functions, or look for atoms on top of each other"
            )
        return overlap
