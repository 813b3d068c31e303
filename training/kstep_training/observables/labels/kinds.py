"""The kinds of labels: what each is called, its settings and the function that makes it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from ase import Atoms

from kstep_training.observables.labels.settings import LabelSettings

__all__ = ["KINDS", "LabelFunction", "LabelKind", "find_kind"]

LabelFunction = Callable[
    [Sequence[Atoms], Any, Atoms],
    tuple[dict[str, Any], dict[int, str]],
]
"""Takes frames of one trajectory, the settings of the kind and the first labelled frame of the
trajectory, to which signs and orders are referred. Gives back the arrays of a part, but for those
that all kinds have (see :mod:`kstep_training.observables.labels.label`), with a row for each frame
that did not fail, and the reasons of those that did by their place; arrays are empty if all did."""


@dataclass(frozen=True)
class LabelKind:
    """A kind of labels, whose module is loaded when it is asked for.

    Attributes
    ----------
    module : str
    settings_name, function_name : str
        In that module.

    Examples
    --------
    >>> KINDS["xanes"].settings().xc
    'camb3lyp'
    """

    module: str
    settings_name: str
    function_name: str

    @property
    def settings(self) -> type[LabelSettings]:
        """The dataclass of its settings."""
        found: type[LabelSettings] = getattr(
            importlib.import_module(self.module), self.settings_name
        )
        return found

    @property
    def function(self) -> LabelFunction:
        """The function that labels frames."""
        found: LabelFunction = getattr(importlib.import_module(self.module), self.function_name)
        return found


KINDS: Final = MappingProxyType(
    {
        "couplings": LabelKind(
            "kstep_training.observables.labels.coupling_labels",
            "CouplingLabelSettings",
            "label_couplings",
        ),
        "xanes": LabelKind(
            "kstep_training.observables.labels.xanes_labels", "XANESLabelSettings", "label_xanes"
        ),
    }
)
"""By the name that ``kstep label`` takes."""


def find_kind(name: str) -> LabelKind:
    """The kind of labels of a name.

    Raises
    ------
    ValueError
        If there is none; the message has those that there are.

    Examples
    --------
    >>> find_kind("xanes").function_name
    'label_xanes'
    """
    if name not in KINDS:
        raise ValueError(f"labels of the kind {name!r} are unknown, expected one of {[*KINDS]}")
    return KINDS[name]
