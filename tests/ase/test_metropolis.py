"""Metropolized jumps in ASE: nothing computed twice, strides counted, arguments checked."""

import numpy as np
import pytest
from ase import units as ase_units
from ase.build import molecule
from ase.io import read
from ase.md.velocitydistribution import thermalize_momenta

from kstep_integrators import CalculatorPotential, KStepDynamics, named_molecule
from kstep_integrators.calculators import PySCFCalculator, xtb_calculator
from kstep_integrators.testing import CountingCalculator, MorseNetwork
from tests.conftest import hot


def named_hot(name):
    atoms = hot(name)
    atoms.info["name"] = name
    return atoms


def morse(atoms, depth):
    """Springs about the relaxed geometry."""
    return MorseNetwork(named_molecule(atoms.info["name"]).positions, depth)


def metropolized_run(atoms, corrector, **settings):
    inner = CalculatorPotential(morse(atoms, 4.0))
    return KStepDynamics(
        atoms, inner, k=settings.pop("k", 10), timestep=1.0 * ase_units.fs, corrector=corrector,
        metropolize=True, temperature_K=300.0, friction=0.05 / ase_units.fs,
        rng=np.random.default_rng(2), **settings,
    )  # fmt: skip


@pytest.mark.parametrize("corrector", ["none", "impulse"])
def test_no_evaluation_is_repeated_with_logger_and_trajectory(corrector, tmp_path):
    atoms = named_hot("ethanol")
    atoms.calc = CountingCalculator(morse(atoms, 4.6))
    dynamics = metropolized_run(
        atoms,
        corrector,
        k=10 if corrector == "none" else 3,
        logfile=str(tmp_path / "md.log"),
        trajectory=str(tmp_path / "md.traj"),
    )
    energies = []
    dynamics.attach(lambda: energies.append(atoms.get_potential_energy()))
    dynamics.run(60)
    stats = dynamics.stats
    assert stats.jumps == 60
    assert stats.accepted + stats.flips == 60
    assert 0 < stats.flips < 60
    assert atoms.calc.evaluations == stats.physics_evaluations
    assert stats.physics_evaluations >= 61
    frames = read(tmp_path / "md.traj", ":")
    assert len(frames) == 61
    for frame, energy in zip(frames, energies, strict=True):
        assert frame.get_potential_energy() == energy
        fresh = frame.copy()
        fresh.calc = morse(atoms, 4.6)
        assert fresh.get_potential_energy() == pytest.approx(energy, abs=1e-12)
    strides = dynamics.get_time() / dynamics.dt
    assert strides == pytest.approx(round(strides), abs=1e-6)
    assert strides >= stats.accepted


def test_pyscf_computes_no_gradient_for_a_corrector_that_needs_none():
    atoms = molecule("H2O")
    thermalize_momenta(atoms, temperature_K=300, rng=np.random.default_rng(0))
    atoms.calc = PySCFCalculator(method="hf", basis="sto-3g", device="cpu")
    inner = CalculatorPotential(xtb_calculator("GFN2-xTB"))
    dynamics = KStepDynamics(
        atoms, inner, k=20, timestep=0.5 * ase_units.fs, corrector="none", metropolize=True,
        temperature_K=300.0, friction=np.inf, rng=np.random.default_rng(0),
    )  # fmt: skip
    dynamics.run(5)
    totals = atoms.calc.totals
    assert totals.gradients == 0
    assert totals.scf_runs == dynamics.stats.physics_evaluations
    assert dynamics.stats.residual_rms is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "metropolize=True with {.thermostat.: None}"),
        ({"temperature_K": 300.0}, "pass friction as well"),
        ({"temperature_K": 0.0, "friction": 0.1}, "expected a finite number above 0"),
        ({"temperature_K": 300.0, "friction": 0.1, "extra_chances": -1}, "extra_chances is -1"),
        ({"temperature_K": 300.0, "friction": 0.1, "extra_chances": 1.5}, "extra_chances is 1.5"),
    ],
)
def test_arguments_that_make_no_sense(settings, message):
    atoms = named_hot("water")
    atoms.calc = morse(atoms, 4.0)
    inner = CalculatorPotential(morse(atoms, 4.0))
    with pytest.raises(ValueError, match=message):
        KStepDynamics(atoms, inner, metropolize=True, **settings)


def test_same_seed_same_path_and_described():
    paths = []
    for _ in range(2):
        atoms = named_hot("water")
        atoms.calc = morse(atoms, 4.6)
        dynamics = metropolized_run(atoms, "none", extra_chances=1)
        dynamics.run(20)
        paths.append(atoms.get_positions())
    assert np.array_equal(*paths)
    assert dynamics.todict()["extra_chances"] == 1


def test_the_filtered_corrector_is_exact_too():
    """A kick that depends on positions alone is a shear, whatever filter made it."""
    atoms = named_hot("water")
    atoms.calc = CountingCalculator(morse(atoms, 4.6))
    dynamics = metropolized_run(atoms, "filtered", k=4)
    dynamics.run(20)
    assert dynamics.stats.accepted > 0
    assert atoms.calc.evaluations == dynamics.stats.physics_evaluations
