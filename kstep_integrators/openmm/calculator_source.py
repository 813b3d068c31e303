"""A calculator as the potential of a jump in OpenMM: kept in the System, not in a model file."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import dataclass
from typing import Any

from kstep_integrators.potentials.calculator import CalculatorPotential

__all__ = ["CalculatorSource"]


@dataclass(frozen=True)
class CalculatorSource:
    """The potential of a calculator as it was before it computed anything, pickled.

    Many calculators hold what cannot be pickled once they have computed; a fresh one is its
    settings. One that cannot be pickled runs, but the System has no XML.

    Attributes
    ----------
    pickled : bytes
        Empty if it cannot be pickled.
    sha256 : str
        Of the settings of the calculator, by which it is known again.

    Examples
    --------
    >>> from ase.calculators.lj import LennardJones
    >>> from kstep_integrators import CalculatorPotential
    >>> source = CalculatorSource.of(CalculatorPotential(LennardJones(sigma=3.4)))
    >>> source.load().calculator.parameters["sigma"]
    3.4
    """

    pickled: bytes
    sha256: str

    @staticmethod
    def of(potential: CalculatorPotential) -> CalculatorSource:
        """The source of a potential."""
        settings = json.dumps(potential.describe(), sort_keys=True).encode()
        try:
            pickled = pickle.dumps(potential)
        except Exception:  # noqa: BLE001  (calculators raise what they like)
            pickled = b""
        return CalculatorSource(pickled, hashlib.sha256(settings).hexdigest())

    def load(self) -> CalculatorPotential:
        """A copy of the potential, which has computed nothing yet."""
        potential: CalculatorPotential = pickle.loads(self.pickled)  # noqa: S301
        return potential

    def __reduce__(self) -> tuple[Any, ...]:
        """Its fields.

        Raises
        ------
        TypeError
            If the calculator cannot be pickled. (OpenMM says that a function could not be.)
        """
        if not self.pickled:
            raise TypeError(
                "the calculator of the jump cannot be pickled, so that the System has no XML: give "
                "add_jump one that has computed nothing yet, or whose class can be pickled"
            )
        return CalculatorSource, (self.pickled, self.sha256)
