"""An Atoms object as JSON, with the names of what does not survive."""

from __future__ import annotations

from numbers import Number
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixBondLengths, FixConstraint
from ase.io.jsonio import decode, encode

__all__ = ["decode_atoms", "decode_values", "encode_atoms", "encode_values"]


def encode_values(values: dict[str, Any]) -> tuple[str, list[str]]:
    """A dictionary as JSON of ASE's dialect: numbers and arrays bit for bit.

    Returns
    -------
    str
    list of str
        Keys that were left out, because JSON would not give them back as they are.
    """
    kept = {key: value for key, value in values.items() if _survives({key: value})}
    return encode(kept), [key for key in values if key not in kept]


def decode_values(text: str) -> dict[str, Any]:
    """The dictionary that :func:`encode_values` was given."""
    values: dict[str, Any] = decode(text, always_array=False)
    return values


def _survives(value: dict[Any, Any]) -> bool:
    try:
        return _same(value, decode(encode(value), always_array=False))
    except (TypeError, ValueError, RuntimeError):
        return False


def _same(before: Any, after: Any) -> bool:
    """Equality, with NaN equal to itself and tuples to lists."""
    if isinstance(before, np.ndarray) or isinstance(after, np.ndarray):
        if type(before) is not type(after) or before.dtype != after.dtype:
            return False
        numeric = before.dtype.kind in "fc"
        return bool(np.array_equal(before, after, equal_nan=numeric))
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() == after.keys() and all(_same(before[k], after[k]) for k in before)
    if isinstance(before, list | tuple) and isinstance(after, list):
        return len(before) == len(after) and all(map(_same, before, after))
    # Objects that come back as dictionaries, such as ASE's Spacegroup of a CIF file, may not even
    # be compared with one.
    alike = any(isinstance(before, kind) and isinstance(after, kind) for kind in (Number, str))
    if not alike and type(before) is not type(after):
        return False
    return bool(before == after) or (before != before and after != after)


def encode_atoms(atoms: Atoms) -> tuple[str, list[str]]:
    """An Atoms object without its calculator: cell, arrays, constraints and info.

    Returns
    -------
    str
    list of str
        What was left out, such as ``"atoms.info['notes']"``.
    """
    arrays, lost_arrays = encode_values(atoms.arrays)
    info, lost_info = encode_values(atoms.info)
    lost = [f"atoms.arrays[{name!r}]" for name in lost_arrays]
    lost += [f"atoms.info[{name!r}]" for name in lost_info]
    bare = Atoms(cell=atoms.cell, pbc=atoms.pbc, celldisp=atoms.get_celldisp())
    bare.arrays = decode_values(arrays)
    bare.info = decode_values(info)
    bare.set_constraint(atoms.constraints)
    described = bare.todict()
    if atoms.constraints:
        described["constraints"] = [_described(constraint) for constraint in atoms.constraints]
    return encode(described), lost


def _described(constraint: FixConstraint) -> dict[str, Any]:
    description: dict[str, Any] = constraint.todict()
    if isinstance(constraint, FixBondLengths) and constraint.bondlengths is not None:
        # ASE leaves them out, and would take those of the geometry in their place.
        description["kwargs"]["bondlengths"] = np.array(constraint.bondlengths, dtype=np.float64)
    return description


def decode_atoms(text: str) -> Atoms:
    """The Atoms object that :func:`encode_atoms` was given."""
    atoms: Atoms = Atoms.fromdict(decode_values(text))
    return atoms
