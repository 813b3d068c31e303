"""How well the bundled model's jump keeps its contract: symmetry, reversibility, conservation.

    python -m benchmarks.contract

Ethanol at a thermal geometry, float64 network. Strides of 4 and 100 fs (base 0.5 fs), dense and
list path.
"""

from __future__ import annotations

import numpy as np
import torch
from ase import units
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet

from benchmarks.common import write_result
from kstep_integrators import CalculatorPotential, FlowJump, KStepDynamics, load_model
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.models.molecules import named_molecule
from kstep_integrators.potentials import NetworkPotential
from kstep_integrators.state import Evaluation, PhaseState
from kstep_integrators.testing import MorseNetwork, angular_momentum, flipped, rotated

FS = units.fs


def start() -> PhaseState:
    """Ethanol at 300 K."""
    rng = np.random.default_rng(0)
    atoms = named_molecule("ethanol")
    atoms.positions += rng.normal(0, 0.03, atoms.positions.shape)
    thermalize_momenta(atoms, temperature_K=300, rng=rng)
    Stationary(atoms)
    return state_from_atoms(atoms)


def contract(jump: FlowJump, state: PhaseState, k: int) -> dict[str, float]:
    """Largest deviations, in angstrom and ASE units."""
    nothing = Evaluation(torch.zeros(1).double(), torch.zeros_like(state.positions))

    def go(s: PhaseState) -> PhaseState:
        return jump.bind(s)(s, nothing, None, k)[0]

    def worst(a: torch.Tensor, b: torch.Tensor) -> float:
        return float((a - b).abs().max())

    landed = go(state)
    generator = torch.Generator().manual_seed(0)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    shift = torch.tensor([3.0, -2.0, 5.0], dtype=torch.float64)
    order = torch.randperm(len(state.numbers), generator=generator)
    shuffled = state.replace(
        **{
            name: getattr(state, name)[order]
            for name in ("numbers", "masses", "positions", "momenta")
        }
    )
    back = go(flipped(landed))
    return {
        "rotation": worst(
            go(rotated(state, rotation)).positions, rotated(landed, rotation).positions
        ),
        "reflection": worst(
            go(rotated(state, -rotation)).positions, rotated(landed, -rotation).positions
        ),
        "translation": worst(
            go(state.replace(positions=state.positions + shift)).positions, landed.positions + shift
        ),
        "permutation": worst(go(shuffled).positions, landed.positions[order]),
        "reversed_positions_A": worst(back.positions, state.positions),
        "reversed_momenta": worst(back.momenta, -state.momenta),
        "total_momentum": worst(landed.momenta.sum(0), state.momenta.sum(0)),
        "angular_momentum": worst(angular_momentum(landed), angular_momentum(state)),
    }


def forces(model: NetworkPotential, state: PhaseState) -> dict[str, float]:
    """Equivariance of the force itself, eV/angstrom."""
    generator = torch.Generator().manual_seed(1)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    f, _ = model.bind(state)(state.positions, None)
    found = {}
    for name, matrix in (("rotation", rotation), ("reflection", -rotation)):
        turned, _ = model.bind(state)(state.positions @ matrix.T, None)
        expected = f.require_forces() @ matrix.T
        found[name] = float((turned.require_forces() - expected).abs().max())
    order = torch.randperm(len(state.numbers), generator=generator)
    shuffled = state.replace(numbers=state.numbers[order], positions=state.positions[order])
    swapped, _ = model.bind(shuffled)(shuffled.positions, None)
    found["permutation"] = float((swapped.require_forces() - f.require_forces()[order]).abs().max())
    moved, _ = model.bind(state)(state.positions + 10.0, None)
    found["translation"] = float((moved.require_forces() - f.require_forces()).abs().max())
    return found


def oracle(corrector: str) -> float:
    """Largest distance from plain Verlet of a run whose potential is the physics, angstrom."""
    atoms = named_molecule("ethanol")
    reference = atoms.positions.copy()
    thermalize_momenta(atoms, temperature_K=300, rng=np.random.default_rng(0))
    other = atoms.copy()
    atoms.calc, other.calc = MorseNetwork(reference), MorseNetwork(reference)
    inner = CalculatorPotential(MorseNetwork(reference))
    KStepDynamics(atoms, inner, k=8, corrector=corrector).run(50)
    VelocityVerlet(other, 0.25 * FS).run(400)
    return float(abs(atoms.positions - other.positions).max())


def main() -> None:
    """Measure and write."""
    model = load_model("organic-gfn2", device="cpu", dtype=torch.float64)
    rows = NetworkPotential(
        model.network, model.header, device="cpu", dtype=torch.float64, dense_limit=1
    )
    state = start()
    result: dict[str, object] = {"what": __doc__, "forces_eV_per_A": forces(model, state)}
    for path, potential in (("dense", model), ("list", rows)):
        for k in (8, 200):
            found = contract(FlowJump(potential, 0.5 * FS), state, k)
            result[f"jump_{path}_{k * 0.5:g}fs"] = found
            print(path, k, found)
    result["oracle_vs_verlet_A"] = {name: oracle(name) for name in ("impulse", "none")}
    print(result["forces_eV_per_A"], result["oracle_vs_verlet_A"])
    write_result("contract", result)


if __name__ == "__main__":
    main()
