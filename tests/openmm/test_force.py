"""The jump's force: its pickle, its memory, and a Context in order after whatever goes wrong."""

import re
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import unit

from kstep_integrators import load_model
from kstep_integrators.models.model_file import ModelHeader, write_model
from kstep_integrators.openmm import KStepIntegrator, add_jump
from tests.conftest import hot, network
from tests.openmm.hosted import BATH, calls, potential_energy, setting
from tests.openmm.systems import (
    Counted,
    growth,
    make_context,
    model,
    molecule,
    moving,
    place,
    same_side_by_side,
    springs,
    where,
)

__all__ = ["model", "molecule"]


def test_xml_holds_path_and_hash_and_no_weights(molecule, model):
    system, *_ = setting(molecule, model)
    text = openmm.XmlSerializer.serialize(system)
    (line,) = [line for line in text.splitlines() if "kstep-jump" in line]
    function = bytes.fromhex(re.search('function="([0-9a-f]+)"', line)[1])
    assert len(function) < 1000
    assert model.digest.encode() in function
    assert str(Path(model.source)).encode() in function
    bundled = springs(hot())
    add_jump(bundled, "organic-gfn2")
    assert b"organic-gfn2".hex() in openmm.XmlSerializer.serialize(bundled)


def test_two_contexts_of_one_system_do_not_mix(molecule, model):
    system = springs(hot())
    runs = []
    for _ in range(2):
        integrator = KStepIntegrator(system, model, k=2)
        runs.append((integrator, place(make_context(system, integrator), molecule)))
    runs[1][1].setVelocities(-moving(runs[1][1]))
    assert system.getNumForces() == 3
    same_side_by_side(runs)


@pytest.mark.slow
def test_memory_stays(molecule, model, tmp_path):
    """Flows: one state, or one array of the molecule, kept per jump would be more."""
    system = springs(hot())
    integrator = KStepIntegrator(system, model, k=1, timestep=0.1 * unit.femtosecond, **BATH)
    resident, traced = growth(molecule, system, integrator, tmp_path)
    assert integrator.stats.fallbacks == 0
    assert resident < 500_000
    assert traced < 30_000


def test_errors_leave_the_context_in_order(molecule, tmp_path):
    built = network()
    path = tmp_path / "model.safetensors"
    write_model(path, built, ModelHeader("untrained", built.config, "none"))
    system, _, integrator, context = setting(molecule, load_model(path, device="cpu"))
    integrator.step(1)
    again = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    same = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(integrator))
    elsewhere = make_context(again, same)
    elsewhere.setPositions(where(context))
    elsewhere.setVelocities(moving(context))
    write_model(path, network(seed=1), ModelHeader("another", built.config, "none"))
    for _ in range(2):
        with pytest.raises(openmm.OpenMMException, match="put the old file back"):
            same.step(1)
        assert np.array_equal(where(elsewhere), where(context))
        assert np.array_equal(moving(elsewhere), moving(context))
        assert potential_energy(elsewhere) == pytest.approx(potential_energy(context), abs=1e-9)
    path.unlink()
    with pytest.raises(openmm.OpenMMException, match="neither a file nor a bundled"):
        same.step(1)
    write_model(path, built, ModelHeader("untrained", built.config, "none"))
    integrator.step(2)
    same.step(2)
    assert np.abs(where(elsewhere) - where(context)).max() < 1e-7  # float32 inside


def test_interrupt_in_a_jump_leaves_the_context_in_order(molecule, model, monkeypatch):
    _, counter, integrator, context = setting(molecule, model)
    integrator.step(1)
    start = where(context), moving(context)

    def interrupted(*_):
        raise KeyboardInterrupt("stop")

    with monkeypatch.context() as patch:
        patch.setattr("kstep_integrators.openmm.force.Guard.check_jump", interrupted)
        with pytest.raises(openmm.OpenMMException, match="stop"):
            integrator.step(1)
    assert np.array_equal(where(context), start[0])
    assert np.array_equal(moving(context), start[1])
    # What was kept is not trusted after an error.
    assert calls(counter, lambda: integrator.step(1)) == 2


@pytest.mark.parametrize("bad", [3, 4], ids=["start", "landing"])
def test_error_of_the_physics_makes_what_is_kept_stale(molecule, model, bad):
    class Failing(Counted):
        def __call__(self, state):
            if self.calls == bad:
                self.calls += 1
                raise RuntimeError("no convergence")
            return super().__call__(state)

    system = springs(hot())
    counter = Failing().join(system)
    integrator = KStepIntegrator(system, model, k=2)
    context = place(make_context(system, integrator), molecule)
    integrator.step(1)
    start = where(context), moving(context)
    integrator.step(1)
    expected = where(context)
    context.setPositions(start[0])
    context.setVelocities(start[1])
    with pytest.raises(openmm.OpenMMException, match="no convergence"):
        integrator.step(1)
    assert np.array_equal(where(context), start[0]) == (bad == 3)
    integrator.undoStep(context)
    assert np.array_equal(where(context), start[0])
    assert np.array_equal(moving(context), start[1])
    assert calls(counter, lambda: integrator.step(1)) == 2
    assert np.abs(where(context) - expected).max() < 1e-14


def test_a_start_that_nothing_can_advance(molecule, model):
    _, _, integrator, context = setting(molecule, model)
    context.setVelocities(np.full((9, 3), 500.0) * np.random.default_rng(0).normal(size=(9, 3)))
    start = where(context)
    with pytest.raises(openmm.OpenMMException, match="base step may be too long"):
        integrator.step(1)
    assert np.array_equal(where(context), start)


def test_positions_that_are_not_finite(molecule, model):
    _, _, integrator, context = setting(molecule, model, "CPU")
    broken = where(context)
    broken[2, 1] = np.nan
    context.setPositions(broken)
    with pytest.raises(openmm.OpenMMException, match=r"(?i)nan|not finite"):
        integrator.step(1)
