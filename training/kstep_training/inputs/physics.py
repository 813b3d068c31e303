"""The physics of a run by name: GFN-xTB, GFN-FF, PySCF, EMT, LJ, a force field, or your own.

:data:`METHODS` is the only register of names. A method is added by one entry there; a setting of
one by a field of :class:`PhysicsSettings`.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.calculators.emt import EMT
from ase.calculators.emt import parameters as emt_parameters
from ase.calculators.lj import LennardJones

from kstep_integrators.calculators import OpenMMCalculator, PySCFCalculator, xtb_calculator
from kstep_integrators.calculators.electrons import electrons_noted
from kstep_integrators.physics.calculation import check_is_calculator
from kstep_integrators.physics.identity import settings_of
from kstep_training.inputs.molecules import InputMolecule
from kstep_training.keys import setting

__all__ = ["METHODS", "InputPhysics", "PhysicsSettings", "is_physics", "make_physics"]


@dataclass(frozen=True)
class PhysicsSettings:
    """Name and settings of the physics.

    Raises
    ------
    ValueError
        If there is no such method, or it does not have what was set.

    Examples
    --------
    >>> PhysicsSettings("pyscf", xc="b3lyp", basis="def2-svp").basis
    'def2-svp'
    """

    physics: str = setting(
        "GFN2-xTB",
        "expensive method: GFN2-xTB, GFN1-xTB, GFN-FF, pyscf, mm (the force field of a molecule "
        "that kstep prep has made), EMT (ASE's, for metals), LJ (Lennard-Jones), or "
        "module:function, a function of yours that takes an Atoms object and returns an ASE "
        "calculator for it",
    )
    xc: str | None = setting(None, "functional of pyscf; null or hf: Hartree-Fock")
    basis: str | None = setting(None, "basis set of pyscf; null: sto-3g")
    dispersion: str | None = setting(
        None, "dispersion correction of pyscf, such as d3bj or d4; null: none"
    )
    density_fit: bool = setting(False, "density fitting of pyscf")
    lj_epsilon_eV: float | None = setting(None, "depth of the well of LJ", "eV")
    lj_sigma_A: float | None = setting(None, "distance at which LJ is zero", "A")
    lj_cutoff_A: float | None = setting(
        None, "cutoff of LJ, which begins to be smooth at two thirds of it; null: 3 sigma", "A"
    )

    def __post_init__(self) -> None:
        method = _find(self.physics)
        for option in fields(PhysicsSettings)[1:]:
            value = getattr(self, option.name)
            if value != option.default and option.name not in method.takes:
                having = [name for name, other in METHODS.items() if option.name in other.takes]
                raise ValueError(
                    f"{option.name} is {value!r} and physics is {self.physics!r}, which has no "
                    f"such setting; it needs physics={' or '.join(having)}"
                )
        if self.physics == "LJ":
            self._check_lennard_jones()

    def _check_lennard_jones(self) -> None:
        given = {"lj_epsilon_eV": self.lj_epsilon_eV, "lj_sigma_A": self.lj_sigma_A}
        wrong = {n: v for n, v in given.items() if v is None or not 0.0 < v < math.inf}
        cutoff, sigma = self.lj_cutoff_A, self.lj_sigma_A
        if wrong:
            raise ValueError(
                f"physics is 'LJ' and {wrong}: expected positive numbers, which depend on the "
                "element, such as lj_epsilon_eV=0.0103 lj_sigma_A=3.405 of argon"
            )
        if cutoff is not None and not (sigma or 0.0) < cutoff < math.inf:
            raise ValueError(
                f"lj_cutoff_A is {cutoff}, expected a number above lj_sigma_A ({sigma}), or null"
            )


@dataclass(frozen=True)
class InputPhysics:
    """A method that makes a calculator for each molecule; can be sent to other processes.

    Attributes
    ----------
    settings : PhysicsSettings
    system : openmm.System or None
        Of ``mm``.
    forcefield : str or None
        Name of that.
    directory : Path
        Folder for geometries whose SCF does not converge.

    Examples
    --------
    >>> from kstep_training.inputs.molecules import read_molecule
    >>> physics = make_physics("GFN2-xTB")
    >>> type(physics(read_molecule("water").atoms)).__name__
    'TBLite'
    """

    settings: PhysicsSettings
    system: Any = None
    forcefield: str | None = None
    directory: Path = Path()

    @property
    def method(self) -> str:
        """Name of what is computed, such as ``GFN2-xTB``, ``b3lyp/def2-svp`` or ``mmff94``."""
        return _find(self.settings.physics).describe(self)

    @property
    def versions(self) -> dict[str, str]:
        """Version of the program that computes, where its name is known."""
        package = _find(self.settings.physics).package
        return {} if package is None else {package: version(package)}

    @property
    def label(self) -> str:
        """Name, settings and program, as they are given."""
        given = [
            f"{option.name}={getattr(self.settings, option.name)}"
            for option in fields(PhysicsSettings)[1:]
            if getattr(self.settings, option.name) != option.default
        ]
        programs = [f"{name} {number}" for name, number in self.versions.items()]
        return " ".join([self.settings.physics, *given, *programs])

    @property
    def identity(self) -> str:
        """The label, and the code of a function of one's own: results of one can stand for others.

        Code counts with what it takes from its surroundings.
        """
        if ":" not in self.settings.physics:
            return self.label
        return f"{self.label} {settings_of(_load(self.settings.physics))['function']}"

    def __call__(self, atoms: Atoms) -> BaseCalculator:
        """A new calculator for a molecule.

        Parameters
        ----------
        atoms : ase.Atoms
            With ``charge`` and ``multiplicity`` in ``info``, 0 and 1 if they are not there.
            GFN-FF takes its bonds from this geometry.

        Raises
        ------
        ValueError
            If the method cannot take the molecule.
        ImportError
            If its package is missing; the message names the extra.
        """
        return _find(self.settings.physics).make(self, atoms)


def make_physics(
    settings: PhysicsSettings | str, molecule: InputMolecule | None = None
) -> InputPhysics:
    """The physics that settings ask for.

    Parameters
    ----------
    settings : PhysicsSettings or str
        Settings of a command, which inherit from :class:`PhysicsSettings`; or a name alone.
    molecule : InputMolecule, optional
        Whose force field ``mm`` is.

    Raises
    ------
    ValueError
        If there is no such method, a ``module:function`` cannot be loaded, or ``mm`` is asked of
        a molecule that has no force field.

    Examples
    --------
    >>> make_physics(PhysicsSettings("pyscf", xc="pbe", basis="def2-svp")).method
    'pbe/def2-svp'
    """
    if isinstance(settings, str):
        settings = PhysicsSettings(settings)
    own = {option.name: getattr(settings, option.name) for option in fields(PhysicsSettings)}
    physics = PhysicsSettings(**own)
    if ":" in physics.physics:
        _load(physics.physics)  # what cannot be loaded is said at once
    if physics.physics != "mm":
        return InputPhysics(physics)
    if molecule is None or molecule.system is None:
        name = "this molecule" if molecule is None else repr(molecule.name)
        raise ValueError(
            "physics=mm needs the force field of a molecule that kstep prep has made, and "
            f"{name} has none; give OUT/NAME of kstep prep LIST --output OUT"
        )
    return InputPhysics(physics, molecule.system, molecule.forcefield or "mm")


def is_physics(name: str) -> bool:
    """Tell names of methods and ``module:function`` from other names.

    Examples
    --------
    >>> is_physics("GFN-FF"), is_physics("organic-gfn2")
    (True, False)
    """
    return name in METHODS or (":" in name and not Path(name).exists())


@dataclass(frozen=True)
class _Method:
    """A method that is known by name.

    Attributes
    ----------
    make : callable
        A new calculator for a molecule.
    package : str or None
        Distribution that computes.
    takes : tuple of str
        Fields of :class:`PhysicsSettings` that it has.
    describe : callable
        Name of what is computed.
    """

    make: Callable[[InputPhysics, Atoms], BaseCalculator]
    package: str | None = None
    takes: tuple[str, ...] = ()
    describe: Callable[[InputPhysics], str] = lambda physics: physics.settings.physics


def _make_xtb(physics: InputPhysics, atoms: Atoms) -> BaseCalculator:
    # Given as arguments: atoms that are made from states have no info.
    name = physics.settings.physics
    noted = electrons_noted(atoms)
    # GFN-FF takes its bonds from here: not from where a run happens to go on.
    reference = atoms.copy() if name == "GFN-FF" else None
    return xtb_calculator(name, noted.charge or 0, noted.multiplicity or 1, reference=reference)


def _xc(physics: InputPhysics) -> str | None:
    xc = physics.settings.xc
    return None if xc is None or xc.lower() == "hf" else xc


def _basis(physics: InputPhysics) -> str:
    return physics.settings.basis or "sto-3g"


def _make_pyscf(physics: InputPhysics, atoms: Atoms) -> BaseCalculator:
    xc, noted = _xc(physics), electrons_noted(atoms)
    return PySCFCalculator(
        "hf" if xc is None else None,
        xc=xc,
        basis=_basis(physics),
        dispersion=physics.settings.dispersion,
        density_fit=physics.settings.density_fit,
        charge=noted.charge or 0,
        multiplicity=noted.multiplicity or 1,
        directory=physics.directory,
    )


def _describe_pyscf(physics: InputPhysics) -> str:
    parts = [_xc(physics) or "hf", physics.settings.dispersion]
    return f"{'-'.join(part for part in parts if part)}/{_basis(physics)}"


def _make_mm(physics: InputPhysics, atoms: Atoms) -> BaseCalculator:
    del atoms  # the System has its own
    return OpenMMCalculator(physics.system)


def _make_emt(physics: InputPhysics, atoms: Atoms) -> BaseCalculator:
    del physics
    unknown = sorted({*atoms.symbols} - {*emt_parameters})
    if unknown:
        raise ValueError(
            f"physics=EMT has no parameters for {', '.join(unknown)}, expected elements of "
            f"{', '.join(emt_parameters)}"
        )
    made: BaseCalculator = EMT()
    return made


def _make_lennard_jones(physics: InputPhysics, atoms: Atoms) -> BaseCalculator:
    given = physics.settings
    kinds = sorted({*atoms.symbols})
    if len(kinds) > 1:
        raise ValueError(
            f"physics=LJ has one well for all atoms, and there are {', '.join(kinds)}; expected "
            "one element, or take a function of your own, module:function"
        )
    cutoff = given.lj_cutoff_A or 3.0 * (given.lj_sigma_A or 0.0)
    made: BaseCalculator = LennardJones(
        epsilon=given.lj_epsilon_eV, sigma=given.lj_sigma_A, rc=cutoff, smooth=True
    )
    return made


def _make_own(physics: InputPhysics, atoms: Atoms) -> BaseCalculator:
    name = physics.settings.physics
    made: BaseCalculator = _load(name)(atoms)
    check_is_calculator(f"what physics={name} returned", made)
    return made


METHODS: Final[Mapping[str, _Method]] = MappingProxyType(
    {
        "GFN2-xTB": _Method(_make_xtb, "tblite"),
        "GFN1-xTB": _Method(_make_xtb, "tblite"),
        "GFN-FF": _Method(_make_xtb, "xtb"),
        "pyscf": _Method(
            _make_pyscf,
            "pyscf",
            ("xc", "basis", "dispersion", "density_fit"),
            _describe_pyscf,
        ),
        "EMT": _Method(_make_emt, "ase"),
        "LJ": _Method(_make_lennard_jones, "ase", ("lj_epsilon_eV", "lj_sigma_A", "lj_cutoff_A")),
        "mm": _Method(_make_mm, "openmm", describe=lambda physics: physics.forcefield or "mm"),
    }
)
"""The methods that are known by name."""

_OWN: Final = _Method(_make_own)


def _find(name: str) -> _Method:
    if name in METHODS:
        return METHODS[name]
    if ":" in name:
        return _OWN
    near = difflib.get_close_matches(name.lower(), [n.lower() for n in METHODS], n=1)
    hint = [f"; did you mean {known}?" for known in METHODS if known.lower() in near]
    raise ValueError(
        f"physics is {name!r}, expected one of {', '.join(METHODS)}, or module:function that takes "
        f"an Atoms object and returns an ASE calculator{''.join(hint)}"
    )


def _load(name: str) -> Callable[[Atoms], Any]:
    """The function that ``module:function`` names."""
    module, _, function = name.partition(":")
    try:
        loaded = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"physics {name!r} cannot be loaded: {error}") from error
    if not callable(loaded):
        raise ValueError(f"physics {name!r} is a {type(loaded).__name__}, expected a function")
    try:
        inspect.signature(loaded).bind(Atoms())
    except TypeError as error:
        raise ValueError(
            f"physics {name!r} cannot be called with one Atoms object ({error}), expected a "
            "function that takes one and returns an ASE calculator"
        ) from error
    except ValueError:  # built in: what it takes is not known
        pass
    function_of_atoms: Callable[[Atoms], Any] = loaded
    return function_of_atoms
