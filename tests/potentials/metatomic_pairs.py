"""Pair potentials as modules of metatomic, which TorchScript can compile."""

# ruff: noqa: UP006, UP035, UP045  (TorchScript reads these annotations)

from typing import Dict, List, Optional

import torch
from metatensor.torch import Labels, TensorBlock, TensorMap
from metatomic.torch import ModelOutput, NeighborListOptions, System


class Pairs(torch.nn.Module):
    def __init__(
        self,
        kind: str,
        sigma: float,
        epsilon: float,
        alpha: float,
        cutoff: float,
        at_cutoff: float,
        per_angstrom: float,
        per_ev: float,
    ) -> None:
        super().__init__()
        self.morse = kind == "morse"
        self.sigma, self.alpha = sigma * per_angstrom, alpha / per_angstrom
        self.epsilon, self.at_cutoff = epsilon * per_ev, at_cutoff * per_ev
        self.options = NeighborListOptions(cutoff * per_angstrom, True, True)

    def requested_neighbor_lists(self) -> List[NeighborListOptions]:
        return [self.options]

    def factor(self, system: System) -> torch.Tensor:
        return torch.ones(1, dtype=system.positions.dtype, device=system.positions.device)

    def forward(
        self,
        systems: List[System],
        outputs: Dict[str, ModelOutput],
        selected_atoms: Optional[Labels],
    ) -> Dict[str, TensorMap]:
        energies: List[torch.Tensor] = []
        for system in systems:
            pairs = system.get_neighbor_list(self.options).values.reshape(-1, 3)
            r = pairs.square().sum(1).sqrt()
            if self.morse:
                bound = (-self.alpha * (r - self.sigma)).exp()
                energy = self.epsilon * (bound * bound - 2.0 * bound)
            else:
                x = (self.sigma / r) ** 6
                energy = 4.0 * self.epsilon * (x * x - x)
            energies.append(
                (0.5 * (energy - self.at_cutoff).sum() * self.factor(system)).reshape(1, 1)
            )
        device = systems[0].positions.device
        which = torch.arange(len(systems), dtype=torch.int32, device=device).reshape(-1, 1)
        zero = torch.zeros((1, 1), dtype=torch.int32, device=device)
        block = TensorBlock(
            torch.cat(energies),
            Labels(["system"], which),
            torch.jit.annotate(List[Labels], []),
            Labels(["energy"], zero),
        )
        found = TensorMap(Labels(["_"], zero), [block])
        results: Dict[str, TensorMap] = {}
        for name in outputs:
            results[name] = found
        return results


class Charged(Pairs):
    """Twice the energy for each charge, and ten times for each unpaired electron."""

    def requested_inputs(self) -> Dict[str, ModelOutput]:
        return {
            "charge": ModelOutput(unit="e", sample_kind="system"),
            "spin_multiplicity": ModelOutput(unit="", sample_kind="system"),
        }

    def factor(self, system: System) -> torch.Tensor:
        charge = system.get_data("charge").block().values.reshape(1)
        multiplicity = system.get_data("spin_multiplicity").block().values.reshape(1)
        return 1.0 + charge + 10.0 * (multiplicity - 1.0)


class Massive(Pairs):
    def requested_inputs(self) -> Dict[str, ModelOutput]:
        return {"mass": ModelOutput(unit="u", sample_kind="atom")}


class Refusing(Pairs):
    """An error for systems with an atom beyond 50 angstrom, and NaN below -50."""

    def factor(self, system: System) -> torch.Tensor:
        if bool((system.positions > 50.0).any()):
            raise ValueError("an atom is too far out")
        ones = torch.ones(1, dtype=system.positions.dtype, device=system.positions.device)
        beyond = bool((system.positions < -50.0).any())
        return float("nan") * ones if beyond else ones


ASKING = {"electrons": Charged, "mass": Massive, "near": Refusing}
