"""From an ASE Atoms object to the state of a run."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms
from ase.constraints import FixAtoms, FixCom

from kstep_integrators.state import PhaseState, make_state

__all__ = ["same_system", "state_from_atoms"]


def state_from_atoms(
    atoms: Atoms, device: torch.device | str = "cpu", time: float = 0.0
) -> PhaseState:
    """The state of an Atoms object.

    Parameters
    ----------
    atoms : ase.Atoms
        FixAtoms and FixCom are honoured.
    device : torch device
    time : float
        ASE time units.

    Raises
    ------
    ValueError
        For another constraint, for both of these at once, or for values that are not finite.
    """
    mobile: torch.Tensor | None = None
    fix_com = False
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            if mobile is None:
                mobile = torch.ones(len(atoms), 1, dtype=torch.float64)
            mobile[torch.as_tensor(constraint.index)] = 0.0
        elif isinstance(constraint, FixCom):
            fix_com = True
        else:
            raise ValueError(
                f"a jump cannot keep the constraint {type(constraint).__name__}; it keeps FixAtoms "
                "and FixCom. Remove the constraint (a flow needs none: its base step resolves bond "
                "vibrations), or use a plain ASE integrator"
            )
    if mobile is not None and fix_com:
        raise ValueError("FixAtoms and FixCom together are not supported; keep one of them")
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
    )
    return state.to(torch.device(device))


def same_system(old: PhaseState, new: PhaseState) -> bool:
    """Whether everything but positions and momenta is as it was."""
    if old.pbc != new.pbc or old.fix_com != new.fix_com or len(old.numbers) != len(new.numbers):
        return False
    if (old.mobile is None) != (new.mobile is None):
        return False
    pairs = [(old.numbers, new.numbers), (old.masses, new.masses), (old.cell, new.cell)]
    if old.mobile is not None and new.mobile is not None:
        pairs.append((old.mobile, new.mobile))
    return all(torch.equal(a, b) for a, b in pairs)
