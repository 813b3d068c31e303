"""From an ASE Atoms object to the state of a run."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms
from ase.constraints import FixAtoms, FixBondLengths, FixCom

from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.mechanics.motion import constrain
from kstep_integrators.state import PhaseState

__all__ = ["state_from_atoms"]


def state_from_atoms(
    atoms: Atoms, device: torch.device | str = "cpu", time: float = 0.0
) -> PhaseState:
    """The state of an Atoms object.

    Parameters
    ----------
    atoms : ase.Atoms
        FixAtoms, FixCom and FixBondLengths are honoured. A FixBondLengths without lengths takes
        those of the atoms and keeps them, as it does when ASE first uses it. Momenta are projected
        on its bonds.
    device : torch device
    time : float
        ASE time units.

    Raises
    ------
    ValueError
        For another constraint, for FixAtoms with FixCom, for bonds that do not have their lengths
        or repeat each other, or for values that are not finite.
    """
    mobile: torch.Tensor | None = None
    fix_com = False
    fixed: list[tuple[np.ndarray, np.ndarray]] = []
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            if mobile is None:
                mobile = torch.ones(len(atoms), 1, dtype=torch.float64)
            mobile[torch.as_tensor(constraint.index)] = 0.0
        elif isinstance(constraint, FixCom):
            fix_com = True
        elif isinstance(constraint, FixBondLengths):
            fixed.append(_fixed_bonds(constraint, atoms))
        else:
            raise ValueError(
                f"a jump cannot keep the constraint {type(constraint).__name__}; it keeps "
                "FixAtoms, FixCom and FixBondLengths. Remove the constraint, or use a plain ASE "
                "integrator"
            )
    if mobile is not None and fix_com:
        raise ValueError("FixAtoms and FixCom together are not supported; keep one of them")
    bonds, lengths = _joined(fixed, mobile)
    state = make_state(
        torch.from_numpy(atoms.numbers.astype(np.int64)),
        torch.from_numpy(atoms.get_masses()),
        torch.from_numpy(atoms.get_positions()),
        torch.from_numpy(atoms.get_momenta()),
        mobile=mobile,
        cell=torch.from_numpy(np.array(atoms.cell, dtype=np.float64)),
        pbc=(bool(atoms.pbc[0]), bool(atoms.pbc[1]), bool(atoms.pbc[2])),
        fix_com=fix_com,
        time=time,
        bonds=bonds,
        bond_lengths=lengths,
    )
    if state.bonds is not None:
        projected = constrain(state, state.momenta)
        # What is on the constraints already stays as it is, to the last bit.
        if bool((projected - state.momenta).abs().max() > 1e-12 * state.momenta.abs().max()):
            state = state.replace(momenta=projected)
    return state.to(torch.device(device))


def _fixed_bonds(constraint: FixBondLengths, atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (C, 2) and lengths (C,) angstrom of a constraint."""
    if constraint.bondlengths is None:
        constraint.bondlengths = constraint.initialize_bond_lengths(atoms)
    lengths = np.array(constraint.bondlengths, dtype=np.float64)
    return np.array(constraint.pairs, dtype=np.int64), lengths


def _joined(
    fixed: list[tuple[np.ndarray, np.ndarray]], mobile: torch.Tensor | None
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Bonds of all constraints in one, without those that fixed atoms keep anyway."""
    if not fixed:
        return None, None
    bonds = torch.from_numpy(np.concatenate([pairs for pairs, _ in fixed]))
    lengths = torch.from_numpy(np.concatenate([values for _, values in fixed]))
    if mobile is not None and bool(((bonds >= 0) & (bonds < len(mobile))).all()):
        moves = mobile[bonds].amax((1, 2)) > 0
        bonds, lengths = bonds[moves], lengths[moves]
    return (bonds, lengths) if len(bonds) else (None, None)
