"""What ``key=value`` can set in the stage ``run``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kstep_integrators.calculators.semiempirical import METHODS

__all__ = ["CALCULATORS", "RunSettings"]

CALCULATORS = (*METHODS, "pyscf", "mm")
"""What may be the physics of a run."""
_THERMOSTATS = ("langevin", "bussi")


@dataclass(frozen=True)
class RunSettings:
    """The physics, the jumps and the length of a run.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    calculator: str = "GFN2-xTB"
    """``GFN2-xTB``, ``GFN1-xTB``, ``GFN-FF``, ``pyscf``, or ``mm``: the force field of a molecule
    that ``kstep prep`` has made."""
    xc: str | None = None
    """Functional of ``pyscf``; Hartree-Fock if null."""
    basis: str = "sto-3g"
    """Of ``pyscf``."""
    charge: int | None = None
    """Null: that of the molecule's file or SMILES string, or 0."""
    multiplicity: int = 1
    k: int = 8
    """Base steps of a jump."""
    timestep_fs: float | None = None
    """Base step; null: the model's own."""
    corrector: str | None = None
    """Null: the first that the jump takes."""
    metropolize: bool = False
    """The exact canonical ensemble; needs ``thermostat=langevin``."""
    extra_chances: int = 3
    thermostat: str | None = None
    """``langevin``, ``bussi``, or null for constant energy."""
    temperature_K: float = 300.0
    """Of the start, and of the thermostat."""
    friction_per_ps: float = 2.0
    """Of Langevin, in the equilibration too."""
    taut_fs: float = 100.0
    """Of Bussi."""
    equilibration_ps: float = 2.0
    """Langevin dynamics in the same jumps before the run; 0 for none."""
    length_ps: float = 10.0
    """Strides made times the stride, rejected ones included."""
    interval_fs: float | None = None
    """Time between frames; null: every stride. Rounded to whole strides."""
    checkpoint_interval: int = 100
    """Strides between two checkpoints."""
    on_error: str = "fallback"
    """``fallback``, ``shrink``, ``warn`` or ``stop``: what is done beyond the tolerances."""
    energy_tolerance: float | None = None
    """Error of the predicted change of energy in a jump, eV."""
    force_tolerance: float | None = None
    """Largest residual force at a landing, eV/angstrom."""
    seed: int = 0
    """Of the momenta and of the thermostat."""
    device: str = "auto"
    compile: bool = False
    """Compile a network: faster on a CPU, after half a minute."""

    def __post_init__(self) -> None:
        if self.calculator not in CALCULATORS:
            raise ValueError(
                f"calculator is {self.calculator!r}, expected one of {', '.join(CALCULATORS)}"
            )
        if self.xc is not None and self.calculator != "pyscf":
            raise ValueError(
                f"xc is {self.xc!r} and calculator is {self.calculator!r}; a functional needs "
                "calculator=pyscf"
            )
        if self.thermostat is not None and self.thermostat not in _THERMOSTATS:
            raise ValueError(f"thermostat is {self.thermostat!r}, expected langevin, bussi or null")
        if self.metropolize and self.thermostat != "langevin":
            raise ValueError(
                f"metropolize is true and thermostat is {self.thermostat!r}; a Metropolis test "
                "needs thermostat=langevin"
            )
        for name in ("k", "multiplicity", "checkpoint_interval"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("timestep_fs", "temperature_K", "friction_per_ps", "taut_fs", "length_ps",
                     "interval_fs"):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not 0.0 < value < math.inf:
                raise ValueError(f"{name} is {value}, expected a positive number")
        if not 0.0 <= self.equilibration_ps < math.inf:
            raise ValueError(
                f"equilibration_ps is {self.equilibration_ps}, expected a number from 0"
            )
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}, expected a whole number from 0")
