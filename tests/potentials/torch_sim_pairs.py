"""A pair potential as a model of torch-sim's interface, with what 0.3 and later have in common."""

import torch
from torch_sim.models.interface import ModelInterface
from vesin import NeighborList

from tests.potentials.models_of_others import CUTOFF, at_cutoff, pair_energy


class PairModel(ModelInterface):
    def __init__(self, kind, dtype, wrong):
        super().__init__()
        self._device, self._dtype = torch.device("cpu"), dtype
        self._compute_forces, self._compute_stress = True, False
        self.kind, self.wrong = kind, wrong
        self.weight = torch.nn.Parameter(torch.ones((), dtype=dtype))
        self.calls = 0

    def forward(self, state, **kwargs):
        self.calls += 1
        x = state.positions.detach().requires_grad_()
        total = []
        for system in range(len(state.cell)):
            here = x[state.system_idx == system]
            if bool((here > 50.0).any()):
                raise ValueError("an atom is too far out")
            cell = state.cell[system].mT  # its columns are the vectors
            lists = NeighborList(cutoff=CUTOFF, full_list=True)
            pbc = torch.as_tensor(state.pbc).expand(3)
            i, j, shifts = lists.compute(here.detach().double(), cell.double(), pbc, "ijS")
            i, j = (torch.as_tensor(one).to(torch.int64) for one in (i, j))
            d = here[j] - here[i] + torch.as_tensor(shifts).to(x) @ cell
            pairs, _ = pair_energy(self.kind, d.norm(dim=1))
            total.append(0.5 * (pairs - at_cutoff(self.kind)).sum())
        energy = self.weight * torch.stack(total)
        (slope,) = torch.autograd.grad(energy.sum(), x)
        return {"energy": energy.detach(), "forces": -slope * (2.0 if self.wrong else 1.0)}
