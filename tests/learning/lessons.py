"""Labels of known physics, and what is learned of them."""

from __future__ import annotations

import torch

from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.fields import replaced
from kstep_integrators.learning.adapted import AdaptedPotential, adapt
from kstep_integrators.learning.learner import Learner, first_lessons, learn_pending, make_learner
from kstep_integrators.learning.lessons import Example, Lessons
from kstep_integrators.potentials import NetworkPotential, Potential
from tests.conftest import hot, potential


def without(model: NetworkPotential) -> NetworkPotential:
    """A network with a linear readout of zero weights."""
    return model.with_weights(torch.zeros_like(model.network.linear.weight))


def student(base: Potential | None = None, names=("ethanol",)) -> Learner:
    """A learner of molecules; by default of a network whose readout has 48 functions."""
    molecules = [hot(name) for name in names]
    adapted: AdaptedPotential = adapt(
        without(potential("linear")) if base is None else base,
        sorted({z for one in molecules for z in one.numbers.tolist()}),
    )
    return make_learner(adapted, [state_from_atoms(one) for one in molecules])


def example(physics: Potential, seed: int, name="ethanol", molecule=0, forces=True) -> Example:
    """What a potential says of a molecule at 300 K, as a label of the physics."""
    state = state_from_atoms(hot(name, seed=seed))
    found, _ = physics.bind(state)(state.positions, None)
    rows = found.require_forces() if forces else None
    energy = float(found.energy[0])
    return Example(molecule, state.positions, energy, rows, seed, state.cell[0])


def taught(learner: Learner, examples, lessons: Lessons | None = None) -> Lessons:
    """Lessons of labels that come one by one."""
    lessons = first_lessons(learner) if lessons is None else lessons
    for one in examples:
        lessons = learn_pending(learner, replaced(lessons, pending=(*lessons.pending, one)))
    return lessons
