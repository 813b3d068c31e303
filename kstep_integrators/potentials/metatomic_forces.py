"""Forces of a metatomic model for one fixed set of atoms."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

from kstep_integrators.calculators.electrons import electrons_noted
from kstep_integrators.potentials.batched_forces import BatchedForces, Walk
from kstep_integrators.state import HessianProducts, PhaseState

__all__ = ["INPUTS", "MetatomicForces"]

INPUTS: Final = {"charge": "charge", "spin_multiplicity": "multiplicity"}
"""Inputs that a model may ask for, with what they are called here."""
SKIN = 1.0
"""Angstrom that a list reaches beyond the cutoff, until an atom has moved by half of it."""
_UNITS: Final = {"charge": "e", "spin_multiplicity": ""}
_UNSAID: Final = {"charge": 0, "spin_multiplicity": 1}


class MetatomicForces(BatchedForces):
    """Forces of a metatomic model, the gradient of its energy.

    Parameters
    ----------
    model : metatomic.torch.AtomisticModel
        On the device.
    output : str
        Name of its energy.
    state : PhaseState
    device : torch.device
    dtype : torch.dtype
    """

    def __init__(
        self, model: Any, output: str, state: PhaseState, device: torch.device, dtype: torch.dtype
    ) -> None:
        from metatomic.torch import ModelEvaluationOptions, ModelOutput

        super().__init__(state, device, dtype)
        self.model, self.output = model, output
        self.types = self.numbers.to(torch.int32).split(self.sizes)
        self.rows = self.cells.to(dtype)
        self.periodic = torch.tensor(state.pbc, device=device)
        self.options = ModelEvaluationOptions(
            length_unit="angstrom",
            outputs={output: ModelOutput(unit="eV", sample_kind="system")},
        )
        self.inputs = [self._inputs(state, i) for i in self.all]
        self._checked = False

    def answer(self, x: Tensor, molecules: tuple[int, ...], walk: Walk) -> tuple[Tensor, Tensor]:
        """Energies and their gradients."""
        with torch.enable_grad():
            leaf = x.detach().to(self.dtype).requires_grad_()
            energy = self._energy(leaf, molecules, walk)
            (slope,) = torch.autograd.grad(energy.sum(), leaf, materialize_grads=True)
        return energy.detach(), -slope.detach()

    def linearized(self, positions: Tensor) -> HessianProducts:
        """The Hessian by automatic differentiation; by differences if the model has no second."""
        differences = super().linearized(positions)
        x = positions.to(self.device)
        walk = self.begin(x)
        if not bool(x.isfinite().all()):
            return differences
        x = x if walk.images is None else x - walk.images
        with torch.enable_grad():
            leaf = x.detach().to(self.dtype).requires_grad_()
            try:
                energy = self._energy(leaf, self.all, walk, copied=True).sum()
                (slope,) = torch.autograd.grad(energy, leaf, create_graph=True)
            except Exception:  # noqa: BLE001  (differences say which molecule fails)
                return differences
        if not slope.requires_grad:
            return differences

        def product(vector: Tensor) -> Tensor:
            (row,) = torch.autograd.grad(
                slope, leaf, vector.to(leaf), retain_graph=True, materialize_grads=True
            )
            return row.to(vector)

        def products(vectors: Tensor) -> Tensor:
            try:
                return torch.stack([product(vector) for vector in vectors])
            except RuntimeError:  # some operation of the model has no second derivative
                return differences(vectors)

        return products

    def _energy(
        self, leaf: Tensor, molecules: tuple[int, ...], walk: Walk, copied: bool = False
    ) -> Tensor:
        """Energies of some molecules, (b,) eV, as a function of the positions of their atoms.

        Lists are views of memory that lives as long as the walk, unless they are copied.
        """
        from metatomic.torch import System

        places = leaf.split([self.sizes[i] for i in molecules])
        systems = []
        for i, place in zip(molecules, places, strict=True):
            system = System(self.types[i], place, self.rows[i], self.periodic)
            for neighbors in self._lists(i, walk):
                neighbors.add_neighbor_list([system], copy=copied)
            for name, value in self.inputs[i].items():
                system.add_data(name, value)
            systems.append(system)
        # On a CPU, TorchScript's optimizer gains next to nothing, and rounds the first calls of a
        # process otherwise than later ones: a run that is resumed would not go on bit for bit.
        optimized = torch.jit.optimized_execution  # type: ignore[attr-defined]
        with optimized(self.device.type != "cpu"):
            found = self.model(systems, self.options, check_consistency=not self._checked)
        self._checked = True
        block = found[self.output].block()
        which = block.samples.column("system").to(self.device, torch.int64)
        energy: Tensor = block.values.new_zeros(len(molecules))
        return energy.index_add(0, which, block.values.reshape(-1))

    def _lists(self, molecule: int, walk: Walk) -> list[Any]:
        """Neighbour lists that the model asks for, of one molecule."""
        from vesin.metatomic import NeighborList

        if molecule not in walk.lists:
            walk.lists[molecule] = [
                NeighborList(asked, "angstrom", skin=SKIN)
                for asked in self.model.requested_neighbor_lists()
            ]
        lists: list[Any] = walk.lists[molecule]
        return lists

    def _inputs(self, state: PhaseState, molecule: int) -> dict[str, Any]:
        """Charge and spin of one molecule, as far as the model asks for them."""
        from metatensor.torch import Labels, TensorBlock, TensorMap

        asked = self.model.requested_inputs(use_new_names=True)
        noted = electrons_noted(state.templates[molecule]) if asked and state.templates else None
        zero = torch.zeros((1, 1), dtype=torch.int32)
        inputs = {}
        for name in asked:
            value = getattr(noted, INPUTS[name], None)
            values = torch.tensor([[_UNSAID[name] if value is None else value]])
            block = TensorBlock(
                values.to(self.dtype), Labels(["system"], zero), [], Labels([name], zero)
            )
            found = TensorMap(Labels(["_"], zero), [block])
            found.set_info("unit", _UNITS[name])
            inputs[name] = found.to(device=self.device, dtype=self.dtype)
        return inputs
