"""Small models for the interfaces of other packages, and a reference that sums over images.

Those of an interface are made only where its package is there.
"""

import itertools
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.potentials.base import Potential
from kstep_integrators.state import PhaseState

SIGMA, EPSILON, CUTOFF = 3.4, 0.0104, 7.0
ALPHA = 1.4
SKEW = np.array([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [0.7, 1.1, 0.0]])


def pair_energy(kind: str, r):
    """Energy of a pair and its derivative; of numpy arrays or of tensors."""
    if kind == "morse":
        bound = (-ALPHA * (r - SIGMA)).exp() if hasattr(r, "exp") else np.exp(-ALPHA * (r - SIGMA))
        slope = 2.0 * EPSILON * ALPHA * (bound - bound * bound)
        return EPSILON * (bound * bound - 2.0 * bound), slope
    x = (SIGMA / r) ** 6
    return 4.0 * EPSILON * (x * x - x), 24.0 * EPSILON * (x - 2.0 * x * x) / r


def at_cutoff(kind: str) -> float:
    """Energy of a pair at the cutoff, by which all are shifted."""
    return float(pair_energy(kind, np.array(CUTOFF))[0])


def by_images(atoms: Atoms, kind: str = "lj", shifted: bool = True) -> tuple[float, np.ndarray]:
    """Energy and forces by brute force over images."""
    reach = [range(-5, 6) if periodic else range(1) for periodic in atoms.pbc]
    shifts = np.array(list(itertools.product(*reach))) @ atoms.cell.array
    wrapped = atoms.copy()
    wrapped.wrap()
    energy, forces = 0.0, np.zeros((len(atoms), 3))
    for i, j in itertools.product(range(len(atoms)), repeat=2):
        d = wrapped.positions[j] + shifts - wrapped.positions[i]
        r = np.linalg.norm(d, axis=1)
        near = (r > 1e-9) & (r < CUTOFF)
        e, slope = pair_energy(kind, r[near])
        energy += 0.5 * (e - (at_cutoff(kind) if shifted else 0.0)).sum()
        forces[i] += ((slope / r[near])[:, None] * d[near]).sum(0)
    return energy, forces


def crystal(repeat: int = 1, seed: int = 0, skew: float = 0.0) -> Atoms:
    atoms = bulk("Ar", a=5.3, cubic=True).repeat(repeat)
    atoms.rattle(0.1, seed=seed)
    atoms.set_cell(atoms.cell.array + skew * SKEW, scale_atoms=True)
    return atoms


def systems() -> dict[str, Atoms]:
    """Molecules and cells, small and skewed, wrapped and not."""
    small = bulk("Ar", a=5.3) * (2, 1, 1)
    small.rattle(0.05, seed=2)
    outside = crystal(skew=1.0)
    outside.positions[0] += [3, 0, -2] @ outside.cell.array
    layer = crystal(skew=1.0)
    layer.pbc = [True, True, False]
    chain = crystal(skew=0.3)
    chain.pbc = [False, True, False]
    cluster = crystal(2)[:7]
    cluster.pbc = False
    cluster.cell[:] = 0.0
    return {
        "cluster": cluster,
        "cubic": crystal(),
        "skewed": crystal(skew=1.0),
        "small": small,
        "outside": outside,
        "layer": layer,
        "chain": chain,
    }


def of(potential: Potential, atoms: Atoms):
    """Energy and forces of atoms."""
    state = state_from_atoms(atoms)
    return potential.bind(state)(state.positions, None)[0]


def together(*many: Atoms) -> PhaseState:
    """One state of several molecules, without cells."""
    states = [state_from_atoms(atoms) for atoms in many]
    return make_state(
        torch.cat([s.numbers for s in states]),
        torch.cat([s.masses for s in states]),
        torch.cat([s.positions for s in states]),
        torch.cat([s.momenta for s in states]),
        batch=torch.cat([torch.full((len(s.numbers),), i) for i, s in enumerate(states)]),
    )


def cluster(n: int, seed: int) -> Atoms:
    """Atoms of a crystal without their cell."""
    atoms = crystal(2, seed)[:n]
    atoms.pbc = False
    atoms.cell[:] = 0.0
    return atoms


def atomistic_model(kind="lj", dtype="float64", length="angstrom", energy="eV", **changes):
    """A pair potential as a metatomic model; attributes of its capabilities may be changed."""
    from metatomic.torch import AtomisticModel, ModelCapabilities, ModelMetadata, ModelOutput

    from tests.potentials.metatomic_pairs import ASKING, Pairs

    per_angstrom = {"angstrom": 1.0, "nm": 0.1, "": 1.0}[length]
    per_ev = {"eV": 1.0, "kJ/mol": 96.48533212331002, "": 1.0}[energy]
    asks = changes.pop("asks", "")
    made = Pairs if not asks else ASKING[asks]
    module = made(kind, SIGMA, EPSILON, ALPHA, CUTOFF, at_cutoff(kind), per_angstrom, per_ev)
    settings = {
        "outputs": {"energy": ModelOutput(unit=energy, sample_kind="system")},
        "atomic_types": [18, 36],
        "interaction_range": CUTOFF * per_angstrom,
        "length_unit": length,
        "supported_devices": ["cpu", "cuda"],
        "dtype": dtype,
        **changes,
    }
    return AtomisticModel(module.eval(), ModelMetadata(name=kind), ModelCapabilities(**settings))


def exported(folder: Path, **settings) -> Path:
    path = folder / "model.pt"
    atomistic_model(**settings).save(path)
    return path


def interface_model(kind="lj", dtype=None, wrong=False):
    """A pair potential as a model of torch-sim's interface."""
    from tests.potentials.torch_sim_pairs import PairModel

    return PairModel(kind, torch.float64 if dtype is None else dtype, wrong)
