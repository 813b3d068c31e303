"""What a flow runs on: a learned network, or any ASE calculator."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from torch import Tensor

from kstep_integrators import units
from kstep_integrators.model_file import ModelHeader, model_path, read_model
from kstep_integrators.neighbors import (
    SkinList,
    build_skin_list,
    dense_graph,
    make_padding,
    refresh,
)
from kstep_integrators.nn.energy_network import EnergyNetwork
from kstep_integrators.nn.forces import ForceFunction, compiled_forces, energy_and_forces
from kstep_integrators.state import BoundPotential, Evaluation, EvaluationFailed, PhaseState

__all__ = ["CalculatorPotential", "NetworkPotential", "Potential", "load_model"]


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
    dense_limit : int
        Molecules of more atoms use neighbour lists.
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
        self.compile, self.dense_limit = compile, dense_limit
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
        )

    def describe(self) -> dict[str, Any]:
        """Name, method and hash of the model."""
        return {"model": self.header.name, "method": self.header.method, "sha256": self.digest}

    def check(self, state: PhaseState) -> None:
        """Refuse atoms that the model does not cover.

        Raises
        ------
        ValueError
            For an unknown element or a periodic cell.
        """
        from ase.data import chemical_symbols

        unknown = sorted(set(state.numbers.tolist()) - set(self.header.elements))
        if unknown:
            raise ValueError(
                f"model {self.header.name!r} does not cover the elements "
                f"{[chemical_symbols[z] for z in unknown]}; it covers "
                f"{[chemical_symbols[z] for z in self.header.elements]}"
            )
        if any(state.pbc) and not self.header.periodic:
            raise ValueError(
                f"model {self.header.name!r} is not periodic, but the system has pbc={state.pbc}; "
                "set atoms.pbc = False for an isolated molecule, or use a periodic potential"
            )

    def _species(self, state: PhaseState) -> Tensor:
        order = [self.header.elements.index(z) for z in state.numbers.tolist()]
        return torch.tensor(order, dtype=torch.int64)

    def bind(self, state: PhaseState) -> BoundPotential:
        """Force function of one set of atoms; compiled functions are kept for reuse."""
        self.check(state)
        key = (tuple(state.numbers.tolist()), tuple(state.batch.tolist()))
        if key not in self._bound:
            largest = int(torch.bincount(state.batch).max())
            make = self._bind_dense if largest <= self.dense_limit else self._bind_list
            self._bound[key] = make(state)
        return self._bound[key]

    def _bind_dense(self, state: PhaseState) -> BoundPotential:
        # Sizes are read off on the host, once; from here on only numbers on the device are used.
        padding = make_padding(state.batch.cpu())
        graph = dense_graph(self._species(state), padding).to(self._device)
        padding = padding.to(self._device)
        shift = self.network.shift_energy(graph).sum(-1)
        compiled: ForceFunction | None = None
        if self.compile:
            example = padding.pad(state.positions.to(self._device))
            compiled = compiled_forces(self.network, example, graph)

        def forces(positions: Tensor, carry: Any) -> tuple[Evaluation, Any]:
            x = padding.pad(positions)
            if compiled is not None:
                energy, f = compiled(None, x, graph)
            else:
                per_atom, f = energy_and_forces(self.network, None, x, graph)
                energy = per_atom.to(torch.float64).sum(-1)
            return Evaluation(energy + shift, padding.flat(f)), None

        return forces

    def _bind_list(self, state: PhaseState) -> BoundPotential:
        batch = state.batch.to(self._device)
        species = self._species(state).to(self._device)
        n_molecules = state.n_molecules
        cutoff = self.network.cutoff

        def forces(positions: Tensor, carry: SkinList | None) -> tuple[Evaluation, SkinList]:
            if carry is None:
                carry = build_skin_list(positions, species, batch, cutoff)
            carry = refresh(carry, positions)
            energy, f = energy_and_forces(self.network, None, positions, carry.graph)
            energy = energy.to(torch.float64) + self.network.shift_energy(carry.graph)
            total = torch.zeros(n_molecules, dtype=torch.float64, device=energy.device)
            return Evaluation(total.index_add(0, batch, energy), f), carry

        return forces


class CalculatorPotential:
    """Any ASE calculator as the potential of a flow: GFN2 inside DFT needs no training at all.

    Parameters
    ----------
    calculator : ase Calculator
        Used by this potential alone; it must not be the calculator of the physics.
    timestep : float
        Base step, ASE time units; default 0.25 fs.
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
        """Force function of one molecule.

        Raises
        ------
        ValueError
            If the state holds several molecules: a calculator treats one system at a time.
        """
        if state.n_molecules != 1:
            raise ValueError(
                f"a CalculatorPotential moves one system at a time, the state holds "
                f"{state.n_molecules}; run them one by one"
            )
        atoms = Atoms(
            state.numbers.cpu().numpy(),
            positions=state.positions.cpu().numpy(),
            cell=state.cell.cpu().numpy(),
            pbc=state.pbc,
        )
        atoms.calc = self.calculator

        def forces(positions: Tensor, carry: Any) -> tuple[Evaluation, Any]:
            atoms.positions[:] = positions.cpu().numpy()
            try:
                f = np.array(atoms.get_forces(), dtype=np.float64)
                energy = float(atoms.get_potential_energy())
            except Exception as error:
                # Whatever it raises: the jump did not work out, and the stepper has another way.
                raise EvaluationFailed(f"{type(error).__name__}: {error}") from error
            return Evaluation(
                torch.tensor([energy], dtype=torch.float64), torch.from_numpy(f)
            ), None

        return forces


def load_model(
    name_or_path: str | Path,
    device: str | torch.device = "auto",
    dtype: torch.dtype = torch.float32,
    compile: bool = False,  # noqa: A002
) -> NetworkPotential:
    """Load a bundled model by name, or a model file by path.

    Parameters
    ----------
    name_or_path : str or Path
        Such as ``"organic-gfn2"``.
    device, dtype, compile
        See :class:`NetworkPotential`.

    Raises
    ------
    kstep_integrators.model_file.ModelFileError
        If there is no such model or the file is not a sound model file.
    """
    network, header, digest = read_model(model_path(name_or_path))
    return NetworkPotential(network, header, digest, device, dtype, compile)
