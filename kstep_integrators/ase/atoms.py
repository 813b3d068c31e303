"""From an ASE Atoms object to the state of a run."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.constraints import FixAtoms, FixBondLengths, FixCom

from kstep_integrators.jumps.base import Jump
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.mechanics.motion import constrain
from kstep_integrators.physics.calculation import check_is_calculator, parts_of
from kstep_integrators.potentials.calculator import CalculatorPotential
from kstep_integrators.state import PhaseState

__all__ = [
    "check_atoms",
    "check_calculator",
    "check_two",
    "has_fixed_bonds",
    "state_from_atoms",
    "template_of",
]


def check_atoms(atoms: object) -> None:
    """Refuse what is no Atoms object, or has nothing in it to move.

    Raises
    ------
    TypeError
        If it is no Atoms object: a list of them, or a Filter of ASE's optimizers; or if its
        positions are in single precision, complex, or the like.
    ValueError
        If it has no atoms.
    """
    if not isinstance(atoms, Atoms):
        raise TypeError(
            f"atoms is a {type(atoms).__name__}, expected one ase.Atoms object; several belong to "
            "an Ensemble, and in place of a Filter set constraints on the atoms themselves, "
            "atoms.set_constraint(FixAtoms(...))"
        )
    if len(atoms) == 0:
        raise ValueError("atoms has no atoms in it, expected one at least to be moved")
    kind = atoms.arrays["positions"].dtype
    if kind != np.float64:
        raise TypeError(
            f"the positions of atoms are {kind}, expected float64, as ASE makes them: "
            "atoms.arrays['positions'] = atoms.positions.astype(float)"
        )


def check_calculator(atoms: Atoms) -> None:
    """Refuse atoms without a calculator that computes energies.

    Raises
    ------
    ValueError
        If there is none.
    TypeError
        If it is no calculator, but its class, say.
    """
    if atoms.calc is None:
        raise ValueError("atoms has no calculator; set atoms.calc to the physics to be followed")
    check_is_calculator("atoms.calc", atoms.calc)


def check_two(jump: Jump, calculator: BaseCalculator) -> None:
    """Refuse a potential that is the physics, or asks a calculator that the physics asks too.

    Raises
    ------
    ValueError
        If they are one object, or share one that they hold.
    """
    potential = getattr(jump, "potential", None)
    potential = getattr(potential, "base", None) or potential
    if not isinstance(potential, CalculatorPotential):
        return
    shared = [p for p in parts_of(potential.calculator) for q in parts_of(calculator) if p is q]
    if shared:
        raise ValueError(
            f"the potential and atoms.calc are the same calculator object, or share one, a "
            f"{type(shared[0]).__name__}; make two, or each evaluation of one discards the results "
            "of the other"
        )


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
        kind = type(constraint)  # not isinstance: a FixSubsetCom is a FixCom, and holds less
        if kind is FixAtoms:
            if mobile is None:
                mobile = torch.ones(len(atoms), 1, dtype=torch.float64)
            mobile[_indices(constraint, atoms)] = 0.0
        elif kind is FixCom:
            fix_com = True
        elif kind is FixBondLengths:
            fixed.append(_fixed_bonds(constraint, atoms))
        else:
            raise ValueError(
                f"a jump cannot keep the constraint {kind.__name__}; it keeps FixAtoms, FixCom and "
                "FixBondLengths themselves, and no classes made from them. Remove the constraint, "
                "or use a plain ASE integrator"
            )
    if mobile is not None and not bool(mobile.any()):
        raise ValueError(
            f"FixAtoms holds all {len(atoms)} atoms: there is nothing to move; release some"
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
    return state.replace(templates=(template_of(atoms),)).to(torch.device(device))


def template_of(atoms: Atoms) -> Atoms:
    """A copy of atoms for calculators: without constraints, momenta and calculator."""
    template: Atoms = atoms.copy()
    template.set_constraint()
    template.arrays.pop("momenta", None)
    return template


def _indices(constraint: FixAtoms, atoms: Atoms) -> torch.Tensor:
    """Atoms that a FixAtoms holds.

    Raises
    ------
    ValueError
        If there is one that the molecule has not.
    """
    indices = np.asarray(constraint.index)
    wrong = indices[(indices < -len(atoms)) | (indices >= len(atoms))].tolist()
    if wrong:
        raise ValueError(
            f"the constraint FixAtoms holds atoms {wrong[:10]}, expected indices below the "
            f"{len(atoms)} atoms that there are"
        )
    return torch.as_tensor(indices)


def has_fixed_bonds(atoms: Atoms) -> bool:
    """True if lengths of bonds are held fixed, so that positions cannot be averaged."""
    return any(type(constraint) is FixBondLengths for constraint in atoms.constraints)


def _fixed_bonds(constraint: FixBondLengths, atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (C, 2) and lengths (C,) angstrom of a constraint."""
    pairs = np.array(constraint.pairs, dtype=np.int64).reshape(-1, 2)
    if (pairs >= len(atoms)).any() or (pairs < 0).any():
        wrong = pairs[((pairs >= len(atoms)) | (pairs < 0)).any(axis=1)].tolist()
        raise ValueError(
            f"the fixed bonds {wrong[:10]} are no bonds: expected two different atoms of 0 to "
            f"{len(atoms) - 1}"
        )
    if constraint.bondlengths is None:
        constraint.bondlengths = constraint.initialize_bond_lengths(atoms)
    lengths = np.array(constraint.bondlengths, dtype=np.float64)
    return pairs, lengths


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
