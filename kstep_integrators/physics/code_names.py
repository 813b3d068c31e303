"""Names that code takes from its surroundings, and those among them that it changes itself."""

from __future__ import annotations

import dis
import functools
from types import CodeType

__all__ = ["changed_names", "read_names"]

_LOADS = ("LOAD_CLASSDEREF", "LOAD_DEREF", "LOAD_GLOBAL", "LOAD_NAME")
_STORES = ("STORE_DEREF", "STORE_GLOBAL")
_EDITS = ("DELETE_SUBSCR", "STORE_SUBSCR", "COPY", "DUP_TOP_TWO")
"""Instructions after a name and a key in ``name[key] = value`` and ``name[key] += value``."""
_SETS = ("DELETE_ATTR", "STORE_ATTR", "COPY", "DUP_TOP")
"""Instructions after a name in ``name.attribute = value`` and ``name.attribute += value``."""
_METHODS = (
    "add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "remove",
    "setdefault", "update",
)  # fmt: skip


def read_names(code: CodeType) -> frozenset[str]:
    """Names that are not local and that some code, or code inside it, reads.

    Examples
    --------
    >>> sorted(read_names(compile("a + b.c", "", "eval")))
    ['a', 'b']
    """
    return _used(code)[0]


def changed_names(code: CodeType) -> frozenset[str]:
    """Names that are not local and that some code, or code inside it, sets or edits in place.

    They are counts and records of what the code has done, and no settings of it.

    Examples
    --------
    >>> sorted(changed_names(compile("calls.append(n[0])", "", "eval")))
    ['calls']
    """
    return _used(code)[1]


@functools.cache
def _used(code: CodeType) -> tuple[frozenset[str], frozenset[str]]:
    read, changed = set[str](), set[str]()
    steps = [*dis.get_instructions(code)]
    for number, one in enumerate(steps):
        if one.opname in _STORES:
            changed.add(one.argval)
        if one.opname not in _LOADS:
            continue
        read.add(one.argval)
        after = [(step.opname, step.argval) for step in steps[number + 1 : number + 3]]
        if len(after) == 2 and (after[0][0] in _SETS or after[1][0] in _EDITS):
            changed.add(one.argval)
        if after and after[0][0] in ("LOAD_ATTR", "LOAD_METHOD") and after[0][1] in _METHODS:
            changed.add(one.argval)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            read |= read_names(inner)
            changed |= changed_names(inner)
    return frozenset(read), frozenset(changed)
