"""Replica exchange: baths of neighbouring temperatures change places between replicas."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms

from kstep_integrators import units
from kstep_integrators.ase.edits import Written
from kstep_integrators.calculators.electrons import electrons_noted
from kstep_integrators.fields import replaced
from kstep_integrators.state import PhaseState, kinetic_energy
from kstep_integrators.step.run import Run

__all__ = ["check_exchange", "exchange"]


def check_exchange(
    molecules: Sequence[Atoms], state: PhaseState, interval: int | None, metropolize: bool
) -> None:
    """Refuse replicas that cannot exchange their temperatures.

    Parameters
    ----------
    molecules : sequence of ase.Atoms
    state : PhaseState
        Of all of them.
    interval : int or None
        Steps between two attempts; None: no exchange.
    metropolize : bool

    Raises
    ------
    ValueError
        Without different temperatures, for different molecules, or without a Metropolis test.
    """
    if interval is None:
        return
    if state.bath_kelvin is None:
        raise ValueError(
            f"exchange_interval={interval} with one temperature for all replicas: there is nothing "
            "to exchange; pass temperature_K=[300, 320, ...], one for each replica"
        )
    if not metropolize:
        raise ValueError(
            f"exchange_interval={interval} without metropolize=True: exchanges keep the canonical "
            "ensembles only if the steps between them do; pass metropolize=True"
        )
    for i, one in enumerate(molecules):
        differ = Written.of(_bare(molecules[0]), one.positions, one.positions).changed(_bare(one))
        differ = [name for name in differ if name != "info"]  # notes, but for these two
        noted = electrons_noted(one)._asdict()
        first = electrons_noted(molecules[0])._asdict()
        differ += [key for key in noted if noted[key] != first[key]]
        if differ:
            raise ValueError(
                f"exchange_interval={interval}, but replica {i} differs from replica 0 in "
                f"{', '.join(differ)}: only copies of one molecule can exchange their temperatures"
            )


def _bare(atoms: Atoms) -> Atoms:
    """The same atoms without a calculator."""
    bare: Atoms = atoms.copy()
    return bare


def exchange(run: Run, rng: np.random.Generator, odd: bool) -> tuple[Run, int, int]:
    r"""Try to swap the baths of replicas at neighbouring temperatures.

    A pair at T_i and T_j with the physical energies E_i and E_j swaps with the probability
    :math:`\min(1, e^{(1/k_B T_i - 1/k_B T_j)(E_i - E_j)})`, and momenta are scaled by
    :math:`\sqrt{T_{new} / T_{old}}`: the product of the canonical ensembles stays what it is.
    Sugita & Okamoto, doi:10.1016/S0009-2614(99)01123-9.

    Parameters
    ----------
    run : Run
        With a temperature for each molecule.
    rng : numpy.random.Generator
        Gives one uniform number for each pair.
    odd : bool
        Pairs begin with the lowest temperature, or with the second lowest.

    Returns
    -------
    Run
    tried, made : int
        Pairs.
    """
    state = run.point.state
    if state.bath_kelvin is None:
        raise ValueError("this run has one temperature for all replicas: nothing to exchange")
    kelvin, energies = state.bath_kelvin.tolist(), run.point.physics.energy.tolist()
    ladder = sorted(range(len(kelvin)), key=lambda i: (kelvin[i], i))
    new = list(kelvin)
    tried = made = 0
    for i, j in zip(ladder[odd::2], ladder[1 + odd :: 2], strict=False):
        tried += 1
        gain = (1 / kelvin[i] - 1 / kelvin[j]) * (energies[i] - energies[j]) / units.KB
        if math.log1p(-rng.random()) <= gain:
            new[i], new[j] = kelvin[j], kelvin[i]
            made += 1
    if not made:
        return run, tried, made
    after = torch.tensor(new, dtype=torch.float64, device=state.bath_kelvin.device)
    scale = (after / state.bath_kelvin).sqrt()[state.batch].unsqueeze(1)
    moved = state.replace(momenta=scale * state.momenta, bath_kelvin=after)
    gained = (kinetic_energy(moved) - kinetic_energy(state)).tolist()
    heat = tuple(before + gain for before, gain in zip(run.heat, gained, strict=True))
    return replaced(run, point=replaced(run.point, state=moved), heat=heat), tried, made
