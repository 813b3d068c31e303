"""The one unit system used inside, and every conversion constant of the project.

Inside, quantities are in ASE units: length in angstrom, energy in eV, mass in unified atomic mass
units, and therefore time in angstrom * sqrt(u / eV) = 10.18 fs. A velocity in ASE units is not
angstrom per femtosecond, and a friction in ASE units is not an inverse femtosecond: convert at the
door with the constants below and nowhere else.

Values are those of :mod:`ase.units` (CODATA 2014), re-exported so that this package and ASE never
disagree in the last digit.
"""

from __future__ import annotations

from typing import Final

from ase import units as _ase

FS: Final[float] = float(_ase.fs)
"""One femtosecond in ASE time units."""

PS: Final[float] = 1000.0 * FS
"""One picosecond in ASE time units."""

KB: Final[float] = float(_ase.kB)
"""Boltzmann constant in eV/K."""

G_PER_CM3: Final[float] = 1e-27 * float(_ase.kg)
"""One g/cm^3 in u/angstrom^3."""

GPA: Final[float] = float(_ase.GPa)
"""One gigapascal in eV/angstrom^3."""

BAR: Final[float] = float(_ase.bar)
"""One bar in eV/angstrom^3."""

NM: Final[float] = float(_ase.nm)
"""One nanometre in angstrom."""

KJ_PER_MOL: Final[float] = float(_ase.kJ / _ase.mol)
"""One kJ/mol in eV."""

KCAL_PER_MOL: Final[float] = float(_ase.kcal / _ase.mol)
"""One kcal/mol in eV."""

HARTREE: Final[float] = float(_ase.Hartree)
"""One hartree in eV."""

BOHR: Final[float] = float(_ase.Bohr)
"""One bohr in angstrom."""

COULOMB: Final[float] = float(_ase.Hartree * _ase.Bohr)
"""e^2 / (4 pi epsilon_0) in eV angstrom."""

NM_PER_PS: Final[float] = NM / PS
"""One nm/ps in ASE velocity units."""

KJ_PER_MOL_NM: Final[float] = KJ_PER_MOL / NM
"""One kJ/(mol nm) in eV/angstrom."""

MEV: Final[float] = 1.0e-3
"""One meV in eV."""

INVERSE_CM: Final[float] = 2.99792458e-5 / FS
"""One inverse centimetre as a frequency (not angular) in inverse ASE time units."""

LENGTH_UNITS: Final[dict[str, float]] = {
    "A": 1.0,
    "nm": NM,
    "pm": 0.01,
    "bohr": BOHR,
    "m": 1e10,
    "cm": 1e8,
}
"""In angstrom."""

ENERGY_UNITS: Final[dict[str, float]] = {
    "eV": 1.0,
    "meV": MEV,
    "hartree": HARTREE,
    "rydberg": 0.5 * HARTREE,
    "kcal/mol": KCAL_PER_MOL,
    "kJ/mol": KJ_PER_MOL,
}
"""In eV."""
