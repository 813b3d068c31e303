"""Runs on models of other packages: as on the same model through ASE, learning, and resumed."""

import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones
from ase.md.velocitydistribution import thermalize_momenta

from kstep_integrators import (
    CalculatorPotential,
    FlowJump,
    KStepDynamics,
    KStepWarning,
    MetatomicPotential,
    SumPotential,
    TorchSimPotential,
    load_model,
    run_ensemble,
    units,
)
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.state import Evaluation
from kstep_integrators.testing import assert_jump
from tests.potentials import models_of_others as others

PACKAGES = ["metatomic", "torch_sim"]
PHYSICS = {"sigma": 3.45, "epsilon": 0.0110, "rc": 8.0, "smooth": True}


def needs(package):
    name = {"metatomic": "metatomic.torch"}.get(package, package)
    pytest.importorskip(name, reason=f"{package} is not installed")


@pytest.fixture(params=PACKAGES)
def package(request):
    needs(request.param)
    return request.param


@pytest.fixture
def make(package, tmp_path):
    """Make the same potential again, and one of another model."""
    if package == "torch_sim":
        return lambda kind="lj": TorchSimPotential(others.interface_model(kind), 2.0 * units.FS)
    files = {}
    for kind in ("lj", "morse"):
        (tmp_path / kind).mkdir()
        files[kind] = others.exported(tmp_path / kind, kind=kind)
    return lambda kind="lj": MetatomicPotential(files[kind], 2.0 * units.FS)


class Forgetful(LennardJones):
    """The physics, with a new neighbour list for each evaluation."""

    def calculate(self, *arguments, **keywords):
        self.nl = None
        super().calculate(*arguments, **keywords)


class Through(Calculator):
    """A torch-sim model through ASE, one call after the other."""

    implemented_properties = ("energy", "forces")

    def __init__(self, model):
        super().__init__()
        self.model = model

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        from torch_sim.state import SimState

        super().calculate(atoms, properties, system_changes)
        state = SimState(
            positions=torch.tensor(atoms.positions),
            masses=torch.tensor(atoms.get_masses()),
            cell=torch.tensor(atoms.cell.array.T.copy()).unsqueeze(0),
            pbc=bool(atoms.pbc.all()),
            atomic_numbers=torch.tensor(atoms.numbers),
            system_idx=torch.zeros(len(atoms), dtype=torch.int64),
        )
        found = self.model(state)
        self.results = {"energy": float(found["energy"]), "forces": found["forces"].numpy()}


def through_ase(potential):
    """The same model as a potential that goes through ASE at each base step."""
    if isinstance(potential, MetatomicPotential):
        from metatomic_ase import MetatomicCalculator

        return CalculatorPotential(MetatomicCalculator(potential.source), potential.timestep)
    return CalculatorPotential(Through(others.interface_model()), potential.timestep)


def argon(periodic: bool = True, seed: int = 1) -> Atoms:
    atoms = others.crystal(2, seed, skew=1.0)
    if not periodic:
        atoms = atoms[:8]
        atoms.pbc = False
        atoms.cell[:] = 0.0
    atoms.calc = Forgetful(**PHYSICS)
    thermalize_momenta(atoms, temperature_K=40.0, rng=np.random.default_rng(seed))
    return atoms


def run(atoms: Atoms, potential, steps: int = 12, **options) -> KStepDynamics:
    dynamics = KStepDynamics(atoms, potential, k=options.pop("k", 4), **options)
    dynamics.run(steps)
    return dynamics


@pytest.mark.parametrize("periodic", [True, False])
def test_the_trajectory_is_that_of_the_model_through_ase(make, periodic):
    settings = {"corrector": "impulse"}
    one, two = argon(periodic), argon(periodic)
    direct = run(one, make(), **settings)
    around = run(two, through_ase(make()), **settings)
    assert abs(one.positions - argon(periodic).positions).max() > 0.1
    np.testing.assert_allclose(one.positions, two.positions, atol=1e-9, rtol=0)
    np.testing.assert_allclose(one.get_momenta(), two.get_momenta(), atol=1e-9, rtol=0)
    assert direct.stats.residual_rms == pytest.approx(around.stats.residual_rms, abs=1e-9)
    assert direct.stats.fallbacks == around.stats.fallbacks == 0


def test_cells_that_change_are_those_of_the_model(make):
    settings = {
        "corrector": "impulse", "thermostat": "langevin", "temperature_K": 40.0,
        "friction": 0.01 / units.FS, "pressure": 1e-4, "barostat_interval": 1,
        "barostat_scales": "atoms",
    }  # fmt: skip
    one, two = argon(), argon()
    run(one, make(), rng=np.random.default_rng(3), **settings)
    run(two, through_ase(make()), rng=np.random.default_rng(3), **settings)
    assert one.get_volume() != argon().get_volume()
    np.testing.assert_allclose(one.cell.array, two.cell.array, atol=1e-9, rtol=0)
    np.testing.assert_allclose(one.positions, two.positions, atol=1e-9, rtol=0)


@pytest.mark.parametrize("corrector", ["filtered", "mollified"])
def test_correctors_that_ask_for_hessians(make, corrector):
    atoms = argon()
    dynamics = run(atoms, make(), 4, corrector=corrector)
    assert dynamics.stats.fallbacks == 0
    assert np.isfinite(atoms.positions).all()


def test_it_is_a_reversible_jump(make):
    atoms = argon(False)
    physics = Evaluation(
        torch.tensor([atoms.get_potential_energy()]), torch.from_numpy(atoms.get_forces())
    )
    assert_jump(FlowJump(make()), state_from_atoms(atoms), physics)


def test_molecules_of_an_ensemble_run_as_alone(make):
    many = [argon(False, seed) for seed in (1, 2, 3)]
    result = run_ensemble(many, make(), physics, steps=5, k=4, corrector="impulse")
    for atoms, replica in zip(many, result.replicas, strict=True):
        run(atoms, make(), 5, corrector="impulse")
        np.testing.assert_allclose(replica.atoms.positions, atoms.positions, atol=1e-9, rtol=0)


def physics(atoms):
    return Forgetful(**PHYSICS)


@pytest.mark.parametrize(("periodic", "steps"), [(True, 12), (False, 40)])
def test_a_run_learns_beside_it(make, periodic, steps):
    atoms = argon(periodic)
    dynamics = run(atoms, make(), steps, corrector="impulse", learn=True)
    assert dynamics.potential.base.describe() == make().describe()
    plain = run(argon(periodic), make(), steps, corrector="impulse")
    assert dynamics.stats.residual_rms < plain.stats.residual_rms


def test_what_is_learned_is_saved_beside_its_base(make, tmp_path):
    dynamics = run(argon(False), make(), 20, corrector="impulse", learn=True)
    dynamics.potential.save(tmp_path / "argon.safetensors")
    both = load_model(
        tmp_path / "argon.safetensors", device="cpu", dtype=torch.float64, base=make()
    )
    assert isinstance(both, SumPotential)
    with pytest.raises(ValueError, match="is a correction of"):
        load_model(tmp_path / "argon.safetensors", device="cpu", base=make("morse"))


def test_a_checkpoint_goes_on_with_the_same_model_alone(make, tmp_path):
    settings = {
        "corrector": "impulse",
        "checkpoint": tmp_path / "run.ckpt",
        "checkpoint_interval": 4,
    }
    whole = argon()
    run(whole, make(), 12, **settings)
    stopped = argon()
    run(stopped, make(), 8, **{**settings, "checkpoint": tmp_path / "half.ckpt"})
    with pytest.raises(ValueError, match=r"pass it with model=\.\.\. It described itself as"):
        KStepDynamics.resume(tmp_path / "half.ckpt", physics=Forgetful(**PHYSICS))
    with pytest.raises(ValueError, match="the model is not the one that the checkpoint was"):
        KStepDynamics.resume(
            tmp_path / "half.ckpt", physics=Forgetful(**PHYSICS), model=make("morse")
        )
    again = KStepDynamics.resume(tmp_path / "half.ckpt", physics=Forgetful(**PHYSICS), model=make())
    again.run(4)
    assert np.array_equal(again.atoms.positions, whole.positions)
    assert np.array_equal(again.atoms.get_momenta(), whole.get_momenta())


def test_an_exported_model_has_to_be_asked_for_by_name(tmp_path):
    needs("metatomic")
    path = others.exported(tmp_path)
    for load in (load_model, lambda path: KStepDynamics(argon(), path, k=4)):
        with pytest.raises(ValueError, match=r"MetatomicPotential\('.*model\.pt'\)"):
            load(str(path))


def test_a_calculator_that_differentiates_its_energy_moves_a_flow(tmp_path):
    """Jumps compute without gradients; a calculator of a network needs its own."""
    needs("metatomic")
    dynamics = run(argon(), through_ase(MetatomicPotential(others.exported(tmp_path))), 2)
    assert dynamics.stats.fallbacks == 0
    assert math.isfinite(dynamics.stats.residual_rms)


def test_a_model_that_fails_is_undone(tmp_path):
    needs("metatomic")
    atoms = argon(False)
    atoms.positions += 45.0
    potential = MetatomicPotential(others.exported(tmp_path, asks="near"), 2.0 * units.FS)
    with pytest.warns(KStepWarning, match="an atom is too far out"):
        dynamics = run(atoms, potential, 3, corrector="impulse")
    assert dynamics.stats.fallbacks == 3
