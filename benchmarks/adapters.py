"""Models of metatomic and torch-sim inside a jump, against the same models through ASE.

Argon at 40 K, Lennard-Jones, float64, jumps of eight base steps of 2 fs; both ways in turns, jump
by jump, from the same start. Times are those of the processor, for the jump alone: no physics, no
corrector.
"""

# TorchScript reads the annotations of a model itself.
# ruff: noqa: UP006, UP035, UP045

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.md.velocitydistribution import thermalize_momenta
from metatensor.torch import Labels, TensorBlock, TensorMap
from metatomic.torch import (
    AtomisticModel,
    ModelCapabilities,
    ModelMetadata,
    ModelOutput,
    NeighborListOptions,
    System,
)

from benchmarks.documents import markdown
from benchmarks.results import load
from benchmarks.suite import Options, option
from kstep_integrators import (
    CalculatorPotential,
    FlowJump,
    MetatomicPotential,
    TorchSimPotential,
)
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.state import no_evaluation
from kstep_integrators.units import FS

SIGMA, EPSILON, CUTOFF, K = 3.4, 0.0104, 5.0, 8


@dataclass(frozen=True)
class AdapterOptions(Options):
    """Options of the suite."""

    jumps: int = option(40, "jumps that are timed, of each way")
    sizes: str = option("2,4", "repeats of the cubic cell of four atoms along each direction")

    @classmethod
    def smoke(cls, cache: Path) -> "AdapterOptions":
        """Seconds."""
        return cls(cache, jumps=2, sizes="2")


class Pairs(torch.nn.Module):
    """Lennard-Jones as a module of metatomic."""

    def __init__(self) -> None:
        super().__init__()
        self.lists = NeighborListOptions(5.0, False, True)

    def requested_neighbor_lists(self) -> List[NeighborListOptions]:
        """The list that it needs."""
        return [self.lists]

    def forward(
        self,
        systems: List[System],
        outputs: Dict[str, ModelOutput],
        selected_atoms: Optional[Labels],
    ) -> Dict[str, TensorMap]:
        """Energies."""
        energies: List[torch.Tensor] = []
        for system in systems:
            pairs = system.get_neighbor_list(self.lists).values.reshape(-1, 3)
            x = (3.4 * 3.4 / pairs.square().sum(1)) ** 3
            energies.append((0.0416 * (x * x - x)).sum().reshape(1, 1))
        which = torch.arange(len(systems), dtype=torch.int32).reshape(-1, 1)
        zero = torch.zeros((1, 1), dtype=torch.int32)
        none = torch.jit.annotate(List[Labels], [])
        rows, columns = Labels(["system"], which), Labels(["energy"], zero)
        block = TensorBlock(torch.cat(energies), rows, none, columns)
        return {"energy": TensorMap(Labels(["_"], zero), [block])}


def metatomic_model(folder: Path) -> Path:
    """A file with this model."""
    capabilities = ModelCapabilities(
        outputs={"energy": ModelOutput(unit="eV", sample_kind="system")},
        atomic_types=[18],
        interaction_range=CUTOFF,
        length_unit="angstrom",
        supported_devices=["cpu"],
        dtype="float64",
    )
    path = folder / "argon.pt"
    AtomisticModel(Pairs().eval(), ModelMetadata(name="argon"), capabilities).save(path)
    return path


class TorchSimCalculator(Calculator):
    """A torch-sim model through ASE."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  (as ASE has it)

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def calculate(self, atoms: Any = None, *rest: Any) -> None:
        """Energy and forces."""
        from torch_sim.state import SimState

        super().calculate(atoms, *rest)
        state = SimState(
            positions=torch.tensor(atoms.positions),
            masses=torch.tensor(atoms.get_masses()),
            cell=torch.tensor(atoms.cell.array.T.copy()).unsqueeze(0),
            pbc=bool(atoms.pbc.all()),
            atomic_numbers=torch.tensor(atoms.numbers),
        )
        found = self.model(state)
        self.results = {"energy": float(found["energy"]), "forces": found["forces"].numpy()}


def argon(repeat: int) -> Atoms:
    """A crystal that vibrates."""
    atoms = bulk("Ar", a=5.3, cubic=True).repeat(repeat)
    thermalize_momenta(atoms, temperature_K=40.0, rng=np.random.default_rng(0))
    return atoms


def pairs_of_ways(folder: Path) -> dict[str, tuple[Any, Any]]:
    """For each interface, its potential and the same model through ASE."""
    from metatomic_ase import MetatomicCalculator
    from torch_sim.models.lennard_jones import LennardJonesModel

    path = metatomic_model(folder)
    model = LennardJonesModel(sigma=SIGMA, epsilon=EPSILON, cutoff=CUTOFF, dtype=torch.float64)
    return {
        "metatomic": (MetatomicPotential(path), CalculatorPotential(MetatomicCalculator(path))),
        "torch-sim": (TorchSimPotential(model), CalculatorPotential(TorchSimCalculator(model))),
    }


def compared(ways: tuple[Any, Any], atoms: Atoms, jumps: int) -> dict[str, float]:
    """Milliseconds per jump of both ways, the ratio of their pairs, and where they part."""
    start = state_from_atoms(atoms)
    physics = no_evaluation(start)
    flows = [FlowJump(way, 2.0 * FS).bind(start) for way in ways]
    states, inner = [start, start], [flow.begin(start) for flow in flows]
    times: list[list[float]] = [[], []]
    for _ in range(jumps + 3):
        for which, flow in enumerate(flows):
            began = time.process_time()
            states[which], info = flow(states[which], physics, inner[which], K)
            times[which].append(1e3 * (time.process_time() - began))
            inner[which] = info.end
    direct, around = (one[3:] for one in times)  # the first of them warm up
    ratios = [b / a for a, b in zip(direct, around, strict=True)]
    quarters = statistics.quantiles(ratios, n=4) if len(ratios) > 3 else [min(ratios)] * 3
    return {
        "atoms": len(atoms),
        "direct_ms": statistics.median(direct),
        "ase_ms": statistics.median(around),
        "ratio": statistics.median(ratios),
        "ratio_low": quarters[0],
        "ratio_high": quarters[2],
        "travelled": float((states[0].positions - start.positions).norm(dim=1).max()),
        "apart": float((states[0].positions - states[1].positions).abs().max()),
    }


def adapters(options: AdapterOptions) -> dict[str, Any]:
    """Time per jump and distance between trajectories, by interface and size."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, ways in pairs_of_ways(Path(folder)).items():
            for repeat in map(int, options.sizes.split(",")):
                row = {"interface": name, **compared(ways, argon(repeat), options.jumps)}
                print(row)
                rows.append(row)
    return {"k": K, "jumps": options.jumps, "rows": rows}


def adapter_jumps() -> str:
    """The table of this suite."""
    header = ["interface", "atoms", "ms per jump", "through ASE", "ratio (quartiles)", "apart, A"]
    return markdown(
        header,
        (
            [
                row["interface"], row["atoms"], f"{row['direct_ms']:.3g}", f"{row['ase_ms']:.3g}",
                f"{row['ratio']:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})",
                f"{row['apart']:.0e} of {row['travelled']:.1f}",
            ]
            for row in load("adapters")["rows"]
        ),
    )  # fmt: skip
