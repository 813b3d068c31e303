"""Runs of a plan with quick physics: records hold what happened."""

import dataclasses

import numpy as np
import pytest
import torch
from ase import Atoms

from kstep_integrators import units
from kstep_integrators.diagnostics import kinetic_energy
from kstep_integrators.state import Evaluation
from kstep_training.evaluate.counting import compare_reports, extra_evaluations
from kstep_training.evaluate.plan import make_methods
from kstep_training.evaluate.runs import kept_start, make_records
from kstep_training.inputs.physics import make_physics
from tests.training import evaluate_physics as springs
from tests.training.evaluate.water_runs import CHEAP, METHODS, SETTINGS, WATER, run


def physics_energy(positions):
    atoms = Atoms(WATER.atoms.numbers, positions=positions)
    return springs.physics(atoms).get_potential_energy(atoms)


def test_starts_are_thermal_and_at_rest(starts, tmp_path):
    for atoms in starts:
        assert np.abs(atoms.get_momenta().sum(0)).max() < 1e-12
        assert np.abs(atoms.get_angular_momentum()).max() < 1e-10
        assert 20.0 < 2 * atoms.get_kinetic_energy() / (3 * units.KB) < 2000.0
    assert not np.allclose(starts[0].positions, starts[1].positions)
    kept = kept_start(WATER, 0, SETTINGS, tmp_path)
    again = kept_start(WATER, 0, SETTINGS, tmp_path)
    assert np.array_equal(kept.positions, starts[0].positions)
    assert np.array_equal(again.get_momenta(), kept.get_momenta())


@pytest.mark.parametrize("name", ["reference", "verlet-2", "impulse-2", "filtered-4", "respa-2"])
def test_constant_energy(name, starts):
    method = METHODS[name]
    for record, start in zip(run(name, starts), starts, strict=True):
        assert record.whole
        assert record.time[-1] == pytest.approx(32.0 * units.FS)
        assert record.interval == pytest.approx(method.frame_fs * units.FS)
        np.testing.assert_array_equal(record.positions[0], start.positions)
        for frame in record.landings:
            assert record.energies[frame] == pytest.approx(physics_energy(record.positions[frame]))
        assert (
            len(record.landings)
            == method.steps // max(1, round(method.frame_fs / method.stride_fs)) + 1
        )
        assert record.facts["evaluations"] == record.facts["counted"] == method.steps + 1
        assert np.abs(record.facts["spot"]["energy"]).max() < 1e-9
        total = record.energies + kinetic_energy(record.momenta, record.masses)
        assert np.nanstd(total) < (0.2 if name == "respa-2" else 0.05)
        assert np.isfinite(record.momenta).all()


def test_a_corrector_without_potential_is_velocity_verlet(starts):
    """Why velocity Verlet at the stride is also the control 'corrector only'."""

    class Nothing:
        timestep, device = 2.0 * units.FS, torch.device("cpu")

        def to(self, device):
            return self

        def describe(self):
            return {}

        def bind(self, state):
            return self

        def __call__(self, positions, workspace):
            zero = torch.zeros(1, dtype=torch.float64)
            return Evaluation(zero, torch.zeros_like(positions)), None

        def linearized(self, positions):
            return torch.zeros_like

    from kstep_integrators import KStepDynamics

    atoms = starts[0].copy()
    atoms.calc = springs.physics(atoms)
    KStepDynamics(atoms, Nothing(), k=1, corrector="impulse").run(16)
    record = run("verlet-2", starts)[0]
    np.testing.assert_allclose(atoms.positions, record.positions[-1], atol=1e-9)


def test_ballistic_flight_asks_nothing(starts):
    for record, atoms in zip(run("ballistic", starts), starts, strict=True):
        expected = atoms.positions + record.time[-1] * atoms.get_velocities()
        np.testing.assert_allclose(record.positions[-1], expected)
        assert record.facts["counted"] == 0
        assert len(record) == 17


def test_reported_errors_are_those_that_fresh_calculators_find(starts):
    for record in run("impulse-4", starts):
        assert np.mean(record.facts["spot"]["residual"]) == pytest.approx(
            record.facts["residual_rms"], rel=0.8
        )
        atoms = Atoms(record.numbers, positions=record.positions[record.landings[1]])
        gap = springs.physics(atoms).get_forces(atoms) - springs.cheap(atoms).get_forces(atoms)
        assert record.facts["spot"]["residual"][0] == pytest.approx(np.sqrt(np.mean(gap**2)))


def test_a_mollified_run_has_the_physics_where_it_is_and_counts_apart(starts):
    settings = dataclasses.replace(
        SETTINGS, strides_fs=[4.0, 8.0], verify_interval=2, length_ps=0.064, spot_checks=3
    )
    method = next(m for m in make_methods(CHEAP, settings) if m.name == "mollified-8")
    records = make_records(method, starts, make_physics(settings), settings, [11, 12])
    for record in records:
        assert record.whole
        assert len(record.landings) == 9
        # Of every landing, and of no estimate.
        for frame in record.landings:
            energy = physics_energy(record.positions[frame])
            assert record.energies[frame] == pytest.approx(energy, abs=1e-12)
        facts = record.facts
        assert (facts["evaluations"], facts["verifications"], facts["counted"]) == (9, 4, 13)
        assert facts["record_evaluations"] == 9
        verified = [facts["estimate_errors"][i] for i in (2, 4, 6, 8)]
        assert facts["estimate_error"] == pytest.approx(np.sqrt(np.mean(np.square(verified))))
        assert facts["estimate_error"] > 1e-6
        assert np.abs(facts["spot"]["energy"]).max() < 1e-9
        assert facts["spot"]["predicted"] == []
        assert len(facts["spot"]["residual"]) == 3
    assert extra_evaluations(records, method) == 0
    reports = compare_reports(records)
    assert reports["evaluations"] == [[13, 13], [13, 13]]
    assert (reports["verifications"], reports["record_evaluations"]) == (8, 18)
    assert reports["estimate_error_measured"] == pytest.approx(
        np.sqrt(np.mean([np.mean(np.square(r.facts["estimate_errors"])) for r in records]))
    )


def test_residuals_of_a_mollified_run_are_of_where_it_computed(starts):
    """Looked at in all landings, they are what the run has reported to the last digits."""
    settings = dataclasses.replace(SETTINGS, strides_fs=[8.0], length_ps=0.064, spot_checks=8)
    method = next(m for m in make_methods(CHEAP, settings) if m.name == "mollified-8")
    for record in make_records(method, starts, make_physics(settings), settings, [11, 12]):
        measured = np.sqrt(np.mean(np.square(record.facts["spot"]["residual"])))
        assert measured == pytest.approx(record.facts["residual_rms"], rel=1e-9)


@pytest.mark.parametrize("name", ["langevin", "metropolis-20", "untested-20"])
def test_constant_temperature(name, starts):
    first, second = run(name, starts)
    assert len(first) == 5
    assert np.isfinite(first.energies).all()
    assert not np.allclose(first.positions[-1], second.positions[-1], atol=1e-3)
    # Momenta of its own, not those of the start at constant energy.
    assert np.abs(first.momenta[0].sum(0)).max() > 1e-3
    again = run(name, starts)[0]
    np.testing.assert_array_equal(again.positions, first.positions)
    if name == "metropolis-20":
        assert first.facts["accepted"] + first.facts["flips"] == 4


def test_a_run_that_flies_apart_keeps_what_it_has(starts):
    stiff = dataclasses.replace(SETTINGS, physics="tests.training.evaluate_physics:stiff")
    record = make_records(METHODS["verlet-4"], starts, make_physics(stiff), stiff, [1, 2])[0]
    assert not record.whole
    assert "total energy changed" in record.facts["error"]
    assert 0 < len(record) < 9
