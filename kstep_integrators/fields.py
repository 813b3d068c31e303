"""Fields of frozen dataclasses with a scope: per atom, per molecule, or global.

State, evaluations, statistics and bonds declare once what each of their fields belongs to.
Selecting some molecules, joining several, choosing between two outcomes molecule by molecule, and
moving to another device are then the same few functions for all of them. A field may hold a tensor,
a tuple with an entry for each molecule, a dictionary of molecules, another such dataclass, or None,
which stands for what is not known or not there.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

__all__ = [
    "ATOM",
    "ATOM_INDEX",
    "GLOBAL",
    "MOLECULE",
    "MOLECULE_INDEX",
    "OF_ATOMS",
    "PARTS",
    "Layout",
    "derived",
    "join",
    "replaced",
    "scoped",
    "select",
    "to_device",
    "where",
]

T = TypeVar("T")

_DERIVED = "_derived"
"""Attribute in which :func:`derived` keeps numbers; a changed copy begins without."""
_LASTING = "_lasting"
"""The same for numbers of fixed fields alone; copies with the same fixed fields share them."""

ATOM = "atom"
"""Rows (N, ...), one for each atom."""
MOLECULE = "molecule"
"""Rows (B, ...), a tuple of B, or a dictionary with the number of a molecule as its key."""
MOLECULE_INDEX = "molecule index"
"""(N,) the number of the molecule of each atom."""
ATOM_INDEX = "atom index"
"""(P, 2) atoms of each pair, both of one molecule. ``OF_ATOMS`` fields follow it."""
OF_ATOMS = "of atoms"
"""Rows (P, ...), one for each pair of the field of scope ``ATOM_INDEX``."""
GLOBAL = "global"
"""The same for all."""
PARTS = "parts"
"""A dataclass with scopes of its own, or None."""


def scoped(scope: str, *, default: Any = dataclasses.MISSING, **metadata: Any) -> Any:
    """A dataclass field of a scope.

    Parameters
    ----------
    scope : str
    default : object, optional
    **metadata
        ``fixed=True``: it does not change during a run, so that :func:`where` need not look at it,
        and :func:`derived` may keep numbers for the whole run.
        ``missing=value``: None stands for this number in every row where others have a tensor.
        ``in_files=False``: it is not written to files, and None when it is read.
    """
    described = {"scope": scope, **metadata}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=described)
    if default is dict:
        return dataclasses.field(default_factory=dict, metadata=described)
    return dataclasses.field(default=default, metadata=described)


@dataclass(frozen=True)
class Layout:
    """Some of the molecules of a batch.

    Attributes
    ----------
    molecules : (B,) bool Tensor
        Which of them.
    batch : (N,) int64 Tensor
        Number of the molecule of each atom.
    """

    molecules: Tensor
    batch: Tensor

    @functools.cached_property
    def atom_mask(self) -> Tensor:
        """(N,) bool: their atoms."""
        return self.molecules[self.batch]


def replaced(value: T, **changes: Any) -> T:
    """A copy of a frozen dataclass with some fields changed.

    Faster than :func:`dataclasses.replace`: it is asked several times in each base step, and what
    ``__post_init__`` checks has been checked.

    Raises
    ------
    TypeError
        If there is no such field.
    """
    before = vars(value)
    if not changes.keys() <= before.keys():
        raise TypeError(f"{type(value).__name__} has no field {sorted(set(changes) - set(before))}")
    kind: type[T] = type(value)
    copy, fixed = object.__new__(kind), _fixed(kind)  # type: ignore[arg-type]  # types hash
    after = vars(copy)
    after.update(before)
    after.update(changes)
    after.pop(_DERIVED, None)
    if fixed:
        same = fixed.isdisjoint(changes)
        after[_LASTING] = before.setdefault(_LASTING, {}) if same else {}
    return copy


def derived(
    value: Any, name: Hashable, compute: Callable[[Any], Any], lasting: bool = False
) -> Any:
    """A number that follows from a frozen dataclass, computed when it is first asked for.

    Parameters
    ----------
    value : dataclass
    name : hashable
    compute : callable
        Takes the value.
    lasting : bool
        Whether it follows from fixed fields alone, and holds for changed copies too.
    """
    kept = vars(value).setdefault(_LASTING if lasting else _DERIVED, {})
    if name not in kept:
        kept[name] = compute(value)
    return kept[name]


@functools.cache
def _fixed(kind: type) -> frozenset[str]:
    """Names of the fixed fields of a dataclass."""
    return frozenset(part.name for part in dataclasses.fields(kind) if part.metadata.get("fixed"))


def _map(value: T, change: Callable[[Any, dataclasses.Field[Any]], Any]) -> T:
    """The same dataclass with its fields changed; itself if none is."""
    changes = {}
    for part in dataclasses.fields(value):  # type: ignore[arg-type]
        before = getattr(value, part.name)
        after = change(before, part)
        if after is not before:
            changes[part.name] = after
    return replaced(value, **changes) if changes else value


def to_device(value: T, device: torch.device) -> T:
    """The same value with its tensors on another device; itself if they are there already."""

    def moved(field: Any, part: dataclasses.Field[Any]) -> Any:
        if isinstance(field, Tensor):
            return field.to(device)
        if part.metadata.get("scope") == PARTS and field is not None:
            return to_device(field, device)
        return field

    return _map(value, moved)


def select(value: T, some: Layout) -> T:
    """The part of a value that belongs to some of the molecules.

    Parameters
    ----------
    value : dataclass
        With scoped fields.
    some : Layout
        At least one molecule.
    """
    atoms = some.atom_mask
    pairs = _kept_pairs(value, atoms)

    def chosen(field: Any, part: dataclasses.Field[Any]) -> Any:
        scope = part.metadata.get("scope", GLOBAL)
        if field is None or scope == GLOBAL:
            return field
        if scope == PARTS:
            return select(field, some)
        if scope == ATOM:
            return field[atoms]
        if scope == MOLECULE:
            return _molecules(field, some.molecules)
        if scope == MOLECULE_INDEX:
            return (some.molecules.cumsum(0) - 1)[field[atoms]]
        if pairs is None:
            return None
        return (atoms.cumsum(0) - 1)[field[pairs]] if scope == ATOM_INDEX else field[pairs]

    return _map(value, chosen)


def _kept_pairs(value: Any, atoms: Tensor) -> Tensor | None:
    """Which pairs of a dataclass are within some of the atoms; None if there are no pairs left."""
    for part in dataclasses.fields(value):
        field = getattr(value, part.name)
        if part.metadata.get("scope") == ATOM_INDEX and field is not None:
            kept = atoms[field[:, 0]]
            return kept if bool(kept.any()) or not part.metadata.get("optional") else None
    return None


def _molecules(field: Any, molecules: Tensor) -> Any:
    """The entries of some molecules: rows of a tensor, a tuple, or a dictionary renumbered."""
    if isinstance(field, Tensor):
        return field[molecules]
    kept = torch.nonzero(molecules).flatten().tolist()
    if isinstance(field, Mapping):
        return {new: field[old] for new, old in enumerate(kept) if old in field}
    return tuple(field[i] for i in kept)


def join(values: Sequence[T], atoms: Sequence[int], molecules: Sequence[int]) -> T:
    """Several values as one, in their order.

    Parameters
    ----------
    values : sequence of dataclass
        All of one class; global fields are those of the first.
    atoms, molecules : sequence of int
        How many each of them has.
    """
    first_atom, first_molecule = _starts(atoms), _starts(molecules)

    def joined(field: Any, part: dataclasses.Field[Any]) -> Any:
        scope = part.metadata.get("scope", GLOBAL)
        fields = [getattr(value, part.name) for value in values]
        present = [one for one in fields if one is not None]
        if scope == GLOBAL or not present:
            return field
        if scope == PARTS:
            return join(fields, atoms, molecules) if len(present) == len(fields) else None
        if scope == ATOM_INDEX:
            pairs = zip(fields, first_atom, strict=True)
            return torch.cat([one + start for one, start in pairs if one is not None])
        if scope == MOLECULE_INDEX:
            numbers = zip(fields, first_molecule, strict=True)
            return torch.cat([one + start for one, start in numbers])
        if isinstance(present[0], Mapping):
            numbered = zip(fields, first_molecule, strict=True)
            return {i + start: text for one, start in numbered for i, text in one.items()}
        if isinstance(present[0], tuple):
            if len(present) < len(fields):
                return None
            return tuple(entry for one in present for entry in one)
        if scope == OF_ATOMS:
            return torch.cat(present)
        if len(present) < len(fields):
            if "missing" not in part.metadata:
                return None
            shape, number = present[0].shape[1:], part.metadata["missing"]
            sizes = atoms if scope == ATOM else molecules
            fields = [
                torch.full((size, *shape), number).to(present[0]) if one is None else one
                for one, size in zip(fields, sizes, strict=True)
            ]
        return torch.cat(fields)

    return _map(values[0], joined)


def _starts(sizes: Sequence[int]) -> list[int]:
    starts, total = [], 0
    for size in sizes:
        starts.append(total)
        total += size
    return starts


def where(some: Layout, yes: T, no: T) -> T:
    """One outcome for some molecules and another for the rest.

    Parameters
    ----------
    some : Layout
        Those that take ``yes``.
    yes, no : dataclass
        Of the same molecules. What is not known in one of them, or global and not the same in a
        part, is not known of the whole; other global and fixed fields are those of ``no``.
    """
    if bool(some.molecules.all()):
        return yes
    if not bool(some.molecules.any()):
        return no

    def like(mask: Tensor, field: Tensor) -> Tensor:
        return mask.view(-1, *[1] * (field.dim() - 1))

    def chosen(other: Any, part: dataclasses.Field[Any]) -> Any:
        scope = part.metadata.get("scope", GLOBAL)
        if scope in (GLOBAL, MOLECULE_INDEX, ATOM_INDEX, OF_ATOMS) or part.metadata.get("fixed"):
            return other
        one = getattr(yes, part.name)
        if one is other:
            return other
        if one is None or other is None:
            return None
        if scope == PARTS:
            return where(some, one, other) if _agree(one, other) else None
        if scope == ATOM:
            return torch.where(like(some.atom_mask, other), one, other)
        if isinstance(other, Tensor):
            return torch.where(like(some.molecules, other), one, other)
        if isinstance(other, Mapping) and not one and not other:
            return other
        picked = some.molecules.tolist()
        if isinstance(other, Mapping):
            both = {i: (one if is_one else other).get(i) for i, is_one in enumerate(picked)}
            return {i: entry for i, entry in both.items() if entry is not None}
        return tuple(a if is_one else b for is_one, a, b in zip(picked, one, other, strict=True))

    return _map(no, chosen)


def _agree(one: Any, other: Any) -> bool:
    """Compare the global fields of two parts."""
    return all(
        getattr(one, part.name) == getattr(other, part.name)
        for part in dataclasses.fields(other)
        if part.metadata.get("scope", GLOBAL) == GLOBAL and not part.metadata.get("fixed")
    )
