"""Noise of the heat bath: kept by states, one path for one seed, another for all else."""

import numpy as np
import openmm
import pytest

from kstep_integrators.openmm import KStepIntegrator
from kstep_integrators.openmm.force import JumpForce
from kstep_integrators.openmm.stages import NOISE, PARAMETERS, Stage
from tests.openmm.systems import make_context, model, molecule, moving, place, springs, where

__all__ = ["model", "molecule"]

BATH = {"temperature": 300.0, "friction": 20.0}
PARTS = {"positions": True, "velocities": True, "parameters": True, "integratorParameters": True}


def run(molecule, model, seed=7, steps=3, **settings):
    """A Context after some steps, and its integrator."""
    system = springs(molecule)
    integrator = KStepIntegrator(system, model, **{"k": 2, "timestep": 0.0005, **BATH, **settings})
    integrator.setRandomNumberSeed(seed)
    context = place(make_context(system, integrator), molecule)
    integrator.step(steps)
    return context, integrator


def end(context):
    return np.concatenate([where(context), moving(context)])


def differ(one, other):
    return np.abs(one - other)[9:].max() > 1e-3  # nm/ps; thermal velocities are 0.2 to 3


@pytest.mark.parametrize("settings", [{}, {"metropolize": True}], ids=["langevin", "metropolized"])
@pytest.mark.parametrize("seed", [7, 0])
def test_a_state_continues_the_path(molecule, model, settings, seed):
    context, integrator = run(molecule, model, seed, **settings)
    text = openmm.XmlSerializer.serialize(context.getState(**PARTS))
    integrator.step(4)
    whole = end(context)
    integrator.step(3)
    context.setState(openmm.XmlSerializer.deserialize(text))
    integrator.step(4)
    assert np.allclose(end(context), whole, rtol=0, atol=1e-12)
    # As in another process.
    copy, other = run(molecule, model, seed, steps=1, **settings)
    copy.setState(openmm.XmlSerializer.deserialize(text))
    other.step(4)
    assert np.allclose(end(copy), whole, rtol=0, atol=1e-12)


def test_other_paths_from_one_state(molecule, model):
    context, integrator = run(molecule, model)
    state = context.getState(**PARTS)
    integrator.step(3)
    first = end(context)
    integrator.setRandomNumberSeed(8)
    context.setState(state)
    integrator.step(3)
    assert differ(end(context), first)
    integrator.setRandomNumberSeed(7)
    paths = []
    for seed in (1, 2):
        context.setState(state)
        context.setVelocitiesToTemperature(300.0, seed)
        start = moving(context)
        integrator.step(1)
        # What friction has left of the velocities is another sum of noise and the same forces.
        paths.append(moving(context) - start)
    assert np.abs(paths[0] - paths[1]).max() > 0.05


def test_seeds(molecule, model):
    first, again, other = (end(run(molecule, model, seed)[0]) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert differ(first, other)
    fresh = [end(run(molecule, model, 0)[0]) for _ in range(2)]
    assert differ(*fresh)


def test_contexts_side_by_side_do_not_share_noise(molecule, model):
    """On the platforms Reference and CPU OpenMM's own source belongs to the process."""
    alone = end(run(molecule, model, steps=4)[0])
    first, second = (run(molecule, model, seed, steps=0) for seed in (7, 8))
    for _ in range(4):
        first[1].step(1)
        second[1].step(1)
    assert np.array_equal(end(first[0]), alone)


def test_seeds_refused(molecule, model):
    integrator = run(molecule, model, steps=0)[1]
    for seed, kind in ((1.5, TypeError), ("1", TypeError), (True, TypeError), (2**31, ValueError)):
        with pytest.raises(kind, match=r"seed is .*, expected"):
            integrator.setRandomNumberSeed(seed)


class Asked:
    """A State that asks for noise."""

    def __init__(self, **values):
        given = {NOISE[name]: float(value) for name, value in values.items()}
        self.parameters = {**PARAMETERS, "width": 1.0, **given, "kstep_stage": float(Stage.NOISE)}

    def getParameters(self):
        return self.parameters


def test_distribution():
    """Independent standard normal numbers, of each draw and between draws, at five sigma."""
    jump = JumpForce.__new__(JumpForce)
    jump._zero = np.zeros((9, 3))
    count = 3000
    answers = [jump(Asked(seed=5, draw=n)) for n in range(count)]
    uniform = np.array([energy for energy, _ in answers])
    z = np.array([vector for _, vector in answers]).reshape(count, 27)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 5 * np.sqrt(1 / 12 / count)
    assert abs(z.mean()) < 5 / np.sqrt(z.size)
    assert abs(z.var() - 1) < 5 * np.sqrt(2 / z.size)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / z.size)
    lagged = (z[1:] * z[:-1]).mean()
    assert abs(lagged) < 5 / np.sqrt(z.size)
    between = np.corrcoef(z.T) - np.eye(27)
    assert np.abs(between).max() < 5 / np.sqrt(count)
    assert abs(np.corrcoef(uniform, z[:, 0])[0, 1]) < 5 / np.sqrt(count)
    for other in ({"seed": 6}, {"start": 1e-9}, {"kT": 2.5}, {"draw": 3}):
        one, two = jump(Asked(seed=5))[1], jump(Asked(**{"seed": 5, **other}))[1]
        assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.8


def inside(molecule, model, *seeds):
    """Ends of the parts of a CompoundIntegrator, each from the same start."""
    system, whole = springs(molecule), openmm.CompoundIntegrator()
    for seed in seeds:
        part = KStepIntegrator(system, model, k=2, timestep=0.0005, **BATH)
        part.setRandomNumberSeed(seed)
        whole.addIntegrator(part)
    context = make_context(system, whole)
    ends = []
    for number in range(len(seeds)):
        place(context, molecule)
        whole.setCurrentIntegrator(number)
        whole.step(2)
        ends.append(end(context))
    return ends


def test_parts_of_other_integrators(molecule, model):
    """Stepped by OpenMM, with nothing of ours around the program."""
    first, same, other, fresh, another = inside(molecule, model, 3, 3, 4, 0, 0)
    assert np.array_equal(first, same)
    assert np.array_equal(first, inside(molecule, model, 3)[0])
    for one, two in ((first, other), (fresh, another), (fresh, first)):
        assert differ(one, two)


def test_out_of_xml(molecule, model):
    system = springs(molecule)
    integrator = KStepIntegrator(system, model, k=2, timestep=0.0005, **BATH)
    text = openmm.XmlSerializer.serialize(integrator)

    def path(seed, restored):
        copy = openmm.XmlSerializer.deserialize(text)
        if restored:
            copy = KStepIntegrator.restore(copy)
        copy.setRandomNumberSeed(seed)
        context = place(make_context(system, copy), molecule)
        copy.step(2)
        return end(context)

    for restored in (False, True):
        first, same, other = (path(seed, restored) for seed in (3, 3, 4))
        assert np.array_equal(first, same)
        assert differ(first, other)
        assert differ(path(0, restored), path(0, restored))
