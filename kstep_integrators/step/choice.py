"""Some molecules from one trial and the rest from another."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from kstep_integrators.state import Carry, Correction, Evaluation

__all__ = ["choose"]


def choose(which: Tensor, yes: Carry, no: Carry) -> Carry:
    """One trial for the molecules where ``which`` (B,) is true and another for the rest."""
    if bool(which.all()):
        return yes
    if not bool(which.any()):
        return no
    atoms = which[yes.state.batch].unsqueeze(1)
    state = no.state.replace(
        positions=torch.where(atoms, yes.state.positions, no.state.positions),
        momenta=torch.where(atoms, yes.state.momenta, no.state.momenta),
        time=torch.where(which, yes.state.time, no.state.time),
    )
    physics = _choose(which, atoms, yes.physics, no.physics)
    # What is not known for both is found again when it is needed.
    inner = correction = None
    if yes.inner is not None and no.inner is not None:
        inner = _choose(which, atoms, yes.inner, no.inner)
    one, other = yes.correction, no.correction
    if one is not None and other is not None and one.stride == other.stride:
        force = None
        if one.force is not None and other.force is not None:
            force = torch.where(atoms, one.force, other.force)
        correction = Correction(force, one.stride)
    return dataclasses.replace(no, state=state, physics=physics, inner=inner, correction=correction)


def _choose(which: Tensor, atoms: Tensor, yes: Evaluation, no: Evaluation) -> Evaluation:
    forces = None
    if yes.forces is not None and no.forces is not None:
        forces = torch.where(atoms, yes.forces, no.forces)
    return Evaluation(torch.where(which, yes.energy, no.energy), forces)
