"""What a flow runs on: a learned network, or any ASE calculator."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from torch import Tensor

from kstep_integrators import units
from kstep_integrators.coverage import check_coverage, species_of
from kstep_integrators.model_file import ModelHeader
from kstep_integrators.network_forces import DenseForces, ListForces
from kstep_integrators.nn.energy_network import EnergyNetwork
from kstep_integrators.state import (
    BoundPotential,
    Evaluation,
    EvaluationFailed,
    HessianProducts,
    PhaseState,
    Reasons,
)

__all__ = ["CalculatorPotential", "NetworkPotential", "Potential"]

DISPLACEMENT = 0.005
"""angstrom; of the atom that moves most in a finite difference of a calculator's forces."""


@runtime_checkable
class Potential(Protocol):
    """A cheap method that a flow jump integrates."""

    @property
    def timestep(self) -> float:
        """Base step the potential is meant for, ASE time units."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the forces are computed."""
        ...

    def to(self, device: torch.device | str) -> Potential:
        """The same potential on another device."""
        ...

    def bind(self, state: PhaseState) -> BoundPotential:
        """Check that the potential covers these atoms and return their force function.

        Raises
        ------
        ValueError
            If it does not; the message says what is not covered.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """What the potential is, for logs and restart files."""
        ...


class NetworkPotential:
    """A learned energy network.

    Parameters
    ----------
    network : EnergyNetwork
    header : ModelHeader
        What the model covers.
    digest : str
        Identity of the weights, kept in restart files.
    device : str or torch.device
        ``"auto"`` takes a CUDA device where there is one.
    dtype : torch.dtype
        float32 or float64 arithmetic; positions and momenta are float64 in any case.
    compile : bool
        Compile the force, once for each set of atoms: 10-30 s on a CPU, several times faster after.
        Hessians are traced when a corrector first asks for one, in some seconds.
    dense_limit : int
        Molecules of more atoms use neighbour lists.
    source : str
        Bundled name or path that :func:`~kstep_integrators.jumps.load.load_model` finds it by, if
        it does: a checkpoint names it.
    """

    def __init__(
        self,
        network: EnergyNetwork,
        header: ModelHeader,
        digest: str = "",
        device: str | torch.device = "auto",
        dtype: torch.dtype = torch.float32,
        compile: bool = False,  # noqa: A002  (torch's own word for it)
        dense_limit: int = 64,
        source: str = "",
    ) -> None:
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype {dtype} is not supported; use torch.float32 or torch.float64")
        if str(device) == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        # A copy: another potential may go on using the network where it is.
        self.network = copy.deepcopy(network).to(device=device, dtype=dtype)
        # Shifts are thousands of eV in sum and stay float64 whatever the network computes in.
        self.network.shifts = torch.tensor(
            network.config["shifts"], dtype=torch.float64, device=device
        )
        self.header, self.digest, self.dtype = header, digest, dtype
        self.compile, self.dense_limit, self.source = compile, dense_limit, source
        self._device = torch.device(device)
        self._bound: dict[tuple[Any, ...], BoundPotential] = {}

    @property
    def timestep(self) -> float:
        """Base step of the model, ASE time units."""
        return self.header.timestep_fs * units.FS

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self._device

    def to(self, device: torch.device | str) -> NetworkPotential:
        """The same model on another device."""
        if torch.device(device) == self._device:
            return self
        return NetworkPotential(
            self.network,
            self.header,
            self.digest,
            device,
            self.dtype,
            self.compile,
            self.dense_limit,
            self.source,
        )

    def describe(self) -> dict[str, Any]:
        """Name, method and hash of the model, and how it is computed."""
        return {
            "model": self.header.name,
            "method": self.header.method,
            "sha256": self.digest,
            "dtype": str(self.dtype).removeprefix("torch."),
            "compile": self.compile,
            "dense_limit": self.dense_limit,
        }

    def check(self, state: PhaseState) -> None:
        """Refuse atoms that the model does not cover.

        Raises
        ------
        ValueError
            For an unknown element or a periodic cell.
        """
        check_coverage(self.header, state)

    def bind(self, state: PhaseState) -> BoundPotential:
        """Force function of one set of atoms; compiled functions are kept for reuse."""
        self.check(state)
        key = (tuple(state.numbers.tolist()), tuple(state.batch.tolist()))
        if key not in self._bound:
            largest = int(torch.bincount(state.batch).max())
            make = DenseForces if largest <= self.dense_limit else ListForces
            self._bound[key] = make(
                self.network, species_of(self.header, state), state, self._device, self.compile
            )
        return self._bound[key]


class CalculatorPotential:
    """Any ASE calculator as the potential of a flow: GFN2 inside DFT needs no training at all.

    Parameters
    ----------
    calculator : ase Calculator
        Used by this potential alone; it must not be the calculator of the physics.
    timestep : float
        Base step, ASE time units; default 0.25 fs.

    Notes
    -----
    The molecules of an ensemble are evaluated one after another, in this process.
    """

    def __init__(self, calculator: BaseCalculator, timestep: float = 0.25 * units.FS) -> None:
        self.calculator = calculator
        self._timestep = timestep

    @property
    def timestep(self) -> float:
        """Base step, ASE time units."""
        return self._timestep

    @property
    def device(self) -> torch.device:
        """Always the CPU: ASE calculators take numpy arrays."""
        return torch.device("cpu")

    def to(self, device: torch.device | str) -> CalculatorPotential:
        """Returns itself: a calculator stays where it is."""
        return self

    def describe(self) -> dict[str, Any]:
        """Name and parameters of the calculator."""
        name = getattr(self.calculator, "name", type(self.calculator).__name__)
        parameters = dict(getattr(self.calculator, "parameters", {}))
        return {"calculator": name, "parameters": {k: str(v) for k, v in parameters.items()}}

    def bind(self, state: PhaseState) -> BoundPotential:
        """Force function of the molecules of a state, which the calculator takes in turn."""
        numbers, batch = state.numbers.cpu().numpy(), state.batch.cpu().numpy()
        positions, masses = state.positions.cpu().numpy(), state.masses[:, 0].cpu().numpy()
        forces = []
        for molecule in range(state.n_molecules):
            mine = batch == molecule
            atoms = Atoms(
                numbers[mine],
                positions=positions[mine],
                masses=masses[mine],
                cell=state.cell.cpu().numpy(),
                pbc=state.pbc,
            )
            atoms.calc = self.calculator
            forces.append(_CalculatorForces(atoms))
        return forces[0] if len(forces) == 1 else _ForcesInTurn(forces)


class _CalculatorForces:
    """Forces of an ASE calculator for one molecule."""

    def __init__(self, atoms: Atoms) -> None:
        self.atoms = atoms

    def __call__(self, positions: Tensor, carry: Any) -> tuple[Evaluation, Any]:
        self.atoms.positions[:] = positions.cpu().numpy()
        try:
            f = np.array(self.atoms.get_forces(), dtype=np.float64)
            energy = float(self.atoms.get_potential_energy())
        except Exception as error:
            # Whatever it raises: the jump did not work out, and the stepper has another way.
            raise EvaluationFailed(f"{type(error).__name__}: {error}") from error
        return Evaluation(torch.tensor([energy], dtype=torch.float64), torch.from_numpy(f)), None

    def linearized(self, positions: Tensor) -> HessianProducts:
        """Central differences of forces: two evaluations per vector."""

        def product(vector: Tensor) -> Tensor:
            longest = float(vector.norm(dim=1).max())
            if longest == 0.0:
                return torch.zeros_like(vector)
            step = DISPLACEMENT / longest
            ends = [self(positions + sign * step * vector, None)[0] for sign in (1.0, -1.0)]
            forward, backward = (end.require_forces() for end in ends)
            return (backward - forward) / (2.0 * step)

        return lambda vectors: torch.stack([product(vector) for vector in vectors])


class _ForcesInTurn:
    """Forces of an ASE calculator for several molecules; NaN for one where it fails."""

    def __init__(self, forces: Sequence[_CalculatorForces]) -> None:
        self.forces = forces
        self.sizes = [len(one.atoms) for one in forces]

    def __call__(self, positions: Tensor, carry: Any) -> tuple[Evaluation, Any]:
        energies = torch.full((len(self.sizes),), math.nan, dtype=torch.float64)
        found = torch.full_like(positions, math.nan)
        # What failed in one step is NaN in the next: the reason that counts is the first.
        failures: Reasons = dict(carry or {})
        parts = zip(self.forces, positions.split(self.sizes), found.split(self.sizes), strict=True)
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
        return Evaluation(energies, found, failures), failures

    def linearized(self, positions: Tensor) -> HessianProducts:
        """The Hessian of each molecule, by central differences."""
        places = positions.split(self.sizes)
        products = [forces.linearized(x) for forces, x in zip(self.forces, places, strict=True)]

        def product(vectors: Tensor) -> Tensor:
            parts = vectors.split(self.sizes, dim=1)
            return torch.cat([one(part) for one, part in zip(products, parts, strict=True)], dim=1)

        return product
