"""Models of torch-sim's interface as potentials: MACE, ORB, SevenNet and others."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
from ase.geometry import complete_cell
from torch import Tensor

from kstep_integrators import units
from kstep_integrators.arguments import positive_number
from kstep_integrators.notices import KStepWarning
from kstep_integrators.potentials.batched_forces import (
    BatchedForces,
    Walk,
    warn_of_electrons_unseen,
)
from kstep_integrators.potentials.foreign_model import ForeignModel
from kstep_integrators.potentials.module_digest import module_digest
from kstep_integrators.state import BoundPotential, PhaseState

__all__ = ["TorchSimPotential"]

MISFIT = 0.1
"""Share of a force that may be missing from the gradient of the energy before it is said."""
PROBED = 0.01
"""angstrom; how far the atom with the largest force moves in that test."""


class TorchSimPotential(ForeignModel):
    """A model of torch-sim's ``ModelInterface`` as the potential of a flow, on its own device.

    All molecules of an ensemble are computed in one call.

    Parameters
    ----------
    model : torch_sim.models.interface.ModelInterface
        Made with forces, and best without stress, in the precision and on the device that it is to
        have. It is used as it is: change nothing of it afterwards.
    timestep : float
        Base step, ASE time units; default 0.25 fs.

    Raises
    ------
    ImportError
        Without the extra ``torch-sim``.
    TypeError, ValueError
        If it is no such model, or has no forces. Attributes cannot be changed: AttributeError.

    Notes
    -----
    Asked for is what releases 0.3 to 0.6 of torch-sim have in common. In 0.3 a cell is periodic in
    all directions or in none, and others are refused. Hessians are made by differences of forces.
    The interface has no charge and no spin.

    Examples
    --------
    >>> from kstep_integrators import TorchSimPotential
    >>> from torch_sim.models.mace import MaceModel  # doctest: +SKIP
    >>> potential = TorchSimPotential(MaceModel(model, device=device))  # doctest: +SKIP
    >>> KStepDynamics(atoms, potential, k=8)  # doctest: +SKIP
    """

    def __init__(self, model: Any, timestep: float = 0.25 * units.FS) -> None:
        self._timestep = positive_number("timestep", timestep, "base step in ASE time units")
        self.model = _checked(model)
        self.digest = module_digest(model)
        self.dtype: torch.dtype = model.dtype
        self._device = torch.device(model.device)
        self._tried: set[tuple[int, ...]] = set()

    def to(self, device: torch.device | str) -> TorchSimPotential:
        """Returns itself on its own device: a model of torch-sim stays where it was made.

        Raises
        ------
        ValueError
            For another device.
        """
        if torch.device(device) != self._device:
            raise ValueError(
                f"device is {str(device)!r}, but the torch-sim model was made on "
                f"{str(self._device)!r} and stays there: make it on the other one"
            )
        return self

    def describe(self) -> dict[str, Any]:
        """Class and hash of the model, and the precision."""
        return {
            "torch_sim": type(self.model).__qualname__,
            "sha256": self.digest,
            "dtype": str(self.dtype).removeprefix("torch."),
        }

    def bind(self, state: PhaseState) -> BoundPotential:
        """Force function of the molecules of a state.

        Raises
        ------
        ValueError
            For a cell that is periodic in some directions, if torch-sim cannot say that.

        Warns
        -----
        KStepWarning
            If forces are not the gradient of the energy, or the atoms have a charge or spin.
        """
        name = f"the torch-sim model {type(self.model).__name__}"
        warn_of_electrons_unseen(state, name)
        forces = _TorchSimForces(self.model, state, self._device, self.dtype)
        elements = tuple(sorted(set(state.numbers.tolist())))
        if elements not in self._tried:
            self._tried.add(elements)
            _warn_of_misfit(forces, state.positions, name)
        return forces


class _TorchSimForces(BatchedForces):
    """Forces of a torch-sim model for one fixed set of atoms."""

    def __init__(
        self, model: Any, state: PhaseState, device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__(state, device, dtype)
        self.model = model
        self.masses = state.masses[:, 0].to(device, dtype)
        # Columns are the vectors of a cell there. Open directions have some vector, as inverses
        # are taken, unless all are open.
        rows = [complete_cell(c) if any(self.pbc) else 0.0 * c for c in _given_cells(state)]
        self.columns = torch.tensor(np.stack(rows)).mT.contiguous().to(device, dtype)
        self.periodic = _said(state.pbc)

    def answer(self, x: Tensor, molecules: tuple[int, ...], walk: Walk) -> tuple[Tensor, Tensor]:
        from torch_sim.state import SimState

        mine = self.atoms(molecules)
        _, system = torch.unique_consecutive(self.batch[mine], return_inverse=True)
        state = SimState(
            positions=x.detach().to(self.dtype),
            masses=self.masses[mine],
            cell=self.columns[list(molecules)],
            pbc=self.periodic,
            atomic_numbers=self.numbers[mine],
            system_idx=system,
        )
        with torch.enable_grad():  # most differentiate their energy
            found = self.model(state)
        return found["energy"].detach().reshape(-1), found["forces"].detach()


def _given_cells(state: PhaseState) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The cell of each molecule as the user gave it, (B, 3, 3)."""
    cells: np.ndarray[Any, np.dtype[np.float64]]
    cells = state.cell.cpu().expand(state.n_molecules, 3, 3).numpy()
    return cells


def _said(pbc: tuple[bool, bool, bool]) -> bool | list[bool]:
    """Periodic directions, as this release of torch-sim takes them."""
    if all(pbc) or not any(pbc):
        return all(pbc)
    from torch_sim.state import SimState

    probe = SimState(
        positions=torch.zeros(1, 3),
        masses=torch.ones(1),
        cell=torch.eye(3).unsqueeze(0),
        pbc=True,
        atomic_numbers=torch.ones(1, dtype=torch.int64),
    )
    if not isinstance(probe.pbc, torch.Tensor):
        raise ValueError(
            f"the system has pbc={pbc}, but this release of torch-sim knows cells that are "
            "periodic in all directions or in none: set atoms.pbc = True with enough vacuum in the "
            "cell, or install a later torch-sim"
        )
    return list(pbc)


def _checked(model: Any) -> Any:
    """The model, if it is one of torch-sim with forces."""
    try:
        from torch_sim.models.interface import ModelInterface
    except ModuleNotFoundError as error:
        raise ImportError(
            "models of torch-sim need torch-sim: pip install 'kstep-integrators[torch-sim]'"
        ) from error
    if not isinstance(model, ModelInterface):
        kind = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise TypeError(
            f"model is {kind}, expected a model of torch-sim's ModelInterface, such as "
            "torch_sim.models.mace.MaceModel(...)"
        )
    if not model.compute_forces:
        raise ValueError(
            f"the torch-sim model {type(model).__name__} was made without forces, and a flow needs "
            "them: make it with compute_forces=True"
        )
    if model.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"the torch-sim model {type(model).__name__} computes in {model.dtype}; make it in "
            "torch.float32 or torch.float64"
        )
    return model


def _warn_of_misfit(forces: BatchedForces, positions: Tensor, name: str) -> None:
    """Warn of forces that are not the gradient of the energy, where rounding lets one tell.

    A direction in which the energy must fall: along the forces.
    """
    here, _ = forces(positions, None)
    ahead = here.require_forces()
    largest = float(ahead.norm(dim=1).max())
    if here.failures or not largest > 0.0:
        return
    step = PROBED / largest * ahead
    ends = [forces(positions + sign * step, None)[0].energy for sign in (0.5, -0.5)]
    found = float((ends[1] - ends[0]).sum())
    expected = float((ahead * step).sum())
    rounding = torch.finfo(forces.dtype).eps * float(here.energy.abs().sum())
    missing = abs(found - expected)
    if math.isfinite(found) and missing > MISFIT * expected + 20.0 * rounding:
        warnings.warn(
            f"forces of {name} are not the gradient of its energy: along them the energy falls by "
            f"{found:.6g} eV where the forces say {expected:.6g} eV. Jumps on it do not keep its "
            "energy, and predict the change of the physical energy badly",
            KStepWarning,
            stacklevel=3,
        )
