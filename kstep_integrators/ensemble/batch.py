"""States of many molecules: joined from single ones, and what is left without some of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from kstep_integrators.mechanics.bond_watch import Topology
from kstep_integrators.state import Carry, Correction, Evaluation, PhaseState, Reasons
from kstep_integrators.step.metropolis import Verdict
from kstep_integrators.step.scheme import StepInfo

__all__ = ["join", "select", "select_bonds", "split_info"]


def join(states: Sequence[PhaseState]) -> PhaseState:
    """One state of several molecules, in their order.

    Parameters
    ----------
    states : sequence of PhaseState
        Of one molecule or more each, on one device.

    Raises
    ------
    ValueError
        If there are none, or they differ in what a state has once: cell, periodicity, and whether
        centres of mass are held.
    """
    if not states:
        raise ValueError("no molecules were given, expected at least one")
    first = states[0]
    for number, other in enumerate(states):
        for name in ("pbc", "fix_com"):
            if getattr(other, name) != getattr(first, name):
                raise ValueError(
                    f"molecule {number} has {name}={getattr(other, name)}, but molecule 0 has "
                    f"{getattr(first, name)}; run them in ensembles of their own"
                )
        if any(first.pbc) and not torch.equal(other.cell, first.cell):
            raise ValueError(
                f"molecule {number} has the cell {other.cell.tolist()}, but molecule 0 has "
                f"{first.cell.tolist()}; run them in ensembles of their own"
            )
    mobile = None
    if any(state.mobile is not None for state in states):
        mobile = torch.cat(
            [torch.ones_like(s.masses) if s.mobile is None else s.mobile for s in states]
        )
    bonds = bond_lengths = None
    if any(state.bonds is not None for state in states):
        starts = torch.tensor([0, *(len(state.numbers) for state in states)]).cumsum(0).tolist()
        parts = [(s.bonds, start) for s, start in zip(states, starts, strict=False)]
        bonds = torch.cat([part + start for part, start in parts if part is not None])
        lengths = [state.bond_lengths for state in states]
        bond_lengths = torch.cat([part for part in lengths if part is not None])
    offsets = torch.tensor([state.n_molecules for state in states]).cumsum(0).tolist()
    return first.replace(
        numbers=torch.cat([state.numbers for state in states]),
        masses=torch.cat([state.masses for state in states]),
        positions=torch.cat([state.positions for state in states]),
        momenta=torch.cat([state.momenta for state in states]),
        batch=torch.cat(
            [state.batch + offset for state, offset in zip(states, [0, *offsets], strict=False)]
        ),
        mobile=mobile,
        time=torch.cat([state.time for state in states]),
        bonds=bonds,
        bond_lengths=bond_lengths,
    )


def select(carry: Carry, which: Tensor) -> Carry:
    """The carry of some of the molecules.

    Parameters
    ----------
    carry : Carry
    which : (B,) bool
        At least one of them.
    """
    if bool(which.all()):
        return carry
    state = carry.state
    atoms = which[state.batch]
    numbers = which.cumsum(0) - 1
    bonds, bond_lengths = _select_fixed(state, atoms)
    correction = carry.correction
    if correction is not None and correction.force is not None:
        correction = Correction(correction.force[atoms], correction.stride)
    return dataclasses.replace(
        carry,
        state=state.replace(
            numbers=state.numbers[atoms],
            masses=state.masses[atoms],
            positions=state.positions[atoms],
            momenta=state.momenta[atoms],
            batch=numbers[state.batch[atoms]],
            mobile=None if state.mobile is None else state.mobile[atoms],
            time=state.time[which],
            bonds=bonds,
            bond_lengths=bond_lengths,
        ),
        physics=_evaluation(carry.physics, which, atoms),
        inner=None if carry.inner is None else _evaluation(carry.inner, which, atoms),
        correction=correction,
    )


def _select_fixed(state: PhaseState, atoms: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Fixed bonds of some of the atoms, and their lengths; None if there are none."""
    if state.bonds is None or state.bond_lengths is None:
        return None, None
    kept = atoms[state.bonds[:, 0]]
    if not bool(kept.any()):
        return None, None
    numbers = atoms.cumsum(0) - 1
    return numbers[state.bonds[kept]], state.bond_lengths[kept]


def _evaluation(evaluation: Evaluation, which: Tensor, atoms: Tensor) -> Evaluation:
    kept = torch.nonzero(which).flatten().tolist()
    failures = {
        new: evaluation.failures[old] for new, old in enumerate(kept) if old in evaluation.failures
    }
    forces = None if evaluation.forces is None else evaluation.forces[atoms]
    return Evaluation(evaluation.energy[which], forces, failures)


def select_bonds(topology: Topology, atoms: Tensor) -> Topology:
    """The bonds of some of the molecules; ``atoms`` (N,) bool says which atoms are theirs."""
    kept = atoms[topology.pairs[0]]
    numbers = atoms.cumsum(0) - 1
    return Topology(numbers[topology.pairs[:, kept]], topology.length[kept], topology.bonded[kept])


def split_info(info: StepInfo, batch: Tensor) -> list[StepInfo]:
    """What one step was for each molecule, as if it had been alone.

    Parameters
    ----------
    info : StepInfo
    batch : (N,) int64
        Index of the molecule each atom belongs to.

    Returns
    -------
    list of StepInfo
        Wall-clock times are shared out equally. Evaluations are not: the physics counts them.
    """
    sizes = torch.bincount(batch.cpu()).tolist()
    residuals = None if info.residual is None else info.residual.cpu().split(sizes)
    errors, heat, verdict = _rows(info.energy_error), _rows(info.heat), info.verdict
    accepted = _rows(verdict.accepted_at if verdict else None)
    change = _rows(verdict.first_change if verdict else None)
    parts = []
    for i in range(len(sizes)):
        fallbacks, exceeded, failures, lost = (
            _own(reasons, i)
            for reasons in (info.fallbacks, info.exceeded, info.failures, info.lost)
        )
        known = [*exceeded.values(), *fallbacks.values(), *failures.values(), *lost.values()]
        parts.append(
            StepInfo(
                fallbacks=fallbacks,
                exceeded=exceeded,
                failures=failures,
                lost=lost,
                reason=known[-1] if known else None,
                energy_error=None if errors is None else errors[i],
                residual=None if residuals is None else residuals[i],
                heat=None if heat is None else heat[i],
                jump_seconds=info.jump_seconds / len(sizes),
                physics_seconds=info.physics_seconds / len(sizes),
                verdict=(
                    None
                    if verdict is None or accepted is None or change is None
                    else Verdict(accepted[i], change[i], verdict.tried)
                ),
            )
        )
    return parts


def _rows(values: Tensor | None) -> tuple[Tensor, ...] | None:
    """(B,) values as one (1,) tensor for each molecule, on the CPU."""
    return None if values is None else values.cpu().split(1)


def _own(reasons: Reasons, molecule: int) -> Reasons:
    return {0: reasons[molecule]} if molecule in reasons else {}
