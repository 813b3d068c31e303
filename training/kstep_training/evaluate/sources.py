"""Molecules, physics and models of an evaluation, by their names."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.resources
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from kstep_integrators import CalculatorPotential, load_model, named_molecule, units
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.calculators.semiempirical import METHODS
from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.models.model_file import model_path
from kstep_integrators.physics.workers import CalculatorFactory
from kstep_integrators.potentials import Potential

__all__ = [
    "Target",
    "calculator_factory",
    "calculator_identity",
    "make_model",
    "potential_identity",
    "read_targets",
    "trained_strides",
]


@dataclass(frozen=True)
class Target:
    """A molecule to be evaluated.

    Attributes
    ----------
    name : str
        For files and tables.
    atoms : ase.Atoms
        A starting geometry; charge in ``info["charge"]``.
    """

    name: str
    atoms: Atoms


class _Xtb:
    """A method of the GFN family, for any molecule; can be sent to other processes."""

    def __init__(self, method: str) -> None:
        self.method = method

    def __call__(self, atoms: Atoms) -> BaseCalculator:
        return xtb_calculator(self.method, charge=int(atoms.info.get("charge", 0)))


def calculator_factory(name: str) -> CalculatorFactory:
    """A function that makes the calculator of a molecule.

    Parameters
    ----------
    name : str
        A method of the GFN family, or ``module:function`` of yours.

    Raises
    ------
    ValueError
        If it is neither, or there is no such function.
    """
    if name in METHODS:
        return _Xtb(name)
    module, colon, function = name.partition(":")
    if not colon:
        raise ValueError(
            f"no calculator {name!r}; expected one of {list(METHODS)}, or module:function that "
            "takes an Atoms object and returns an ASE calculator"
        )
    try:
        function_of_atoms = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"calculator {name!r} cannot be loaded: {error}") from error
    if not callable(function_of_atoms):
        kind = type(function_of_atoms).__name__
        raise ValueError(f"calculator {name!r} is a {kind}, expected a function")
    return cast(Callable[[Atoms], BaseCalculator], function_of_atoms)


def calculator_identity(name: str) -> str:
    """The name, and the version of the program behind it: runs of another one are not reused."""
    package = {"GFN-FF": "xtb"}.get(name, "tblite") if name in METHODS else None
    return name if package is None else f"{name} {package} {importlib.metadata.version(package)}"


def make_model(name: str, atoms: Atoms, compile_network: bool) -> Potential | DirectJump:
    """The potential of a jump, or a direct jump.

    Parameters
    ----------
    name : str
        A model file or bundled model, or a calculator as for :func:`calculator_factory`.
    atoms : ase.Atoms
        The molecule, for calculators.
    compile_network : bool

    Raises
    ------
    ValueError
        If there is no such model or calculator.
    """
    if name in METHODS or ":" in name:
        return CalculatorPotential(calculator_factory(name)(atoms.copy()))
    return load_model(name, device="auto", compile=compile_network)


def trained_strides(name: str) -> dict[float, str]:
    """Strides in fs that a direct jump was trained for, each with its corrector; none of others."""
    if name in METHODS or ":" in name:
        return {}
    model = load_model(name, device="cpu")
    if not isinstance(model, DirectJump):
        return {}
    return {k * model.timestep / units.FS: model.correctors[0] for k in model.allowed_k}


def potential_identity(name: str) -> str:
    """Hash of a model file, or a calculator's name and version: runs of another are not reused."""
    if name in METHODS or ":" in name:
        return calculator_identity(name)
    return hashlib.sha256(model_path(name).read_bytes()).hexdigest()


def read_targets(text: str) -> list[Target]:
    """The molecules that a user names.

    Parameters
    ----------
    text : str
        A ``.smi`` file or bundled list (first conformer of each, needs the extra ``prep``), a file
        of geometries that ASE reads, or names of bundled molecules separated by commas.

    Raises
    ------
    ValueError
        If nothing usable is found, or a geometry is periodic.
    """
    path = Path(text)
    if path.suffix == ".smi" or (not path.is_file() and text in _bundled_lists()):
        return _from_smiles(path if path.is_file() else None, text)
    if path.is_file():
        return _from_geometries(path)
    return [Target(_file_name(name), named_molecule(name)) for name in text.split(",") if name]


def _bundled_lists() -> list[str]:
    folder = Path(str(importlib.resources.files("kstep_training") / "molecules"))
    return [file.stem for file in folder.glob("*.smi")]


def _from_smiles(path: Path | None, text: str) -> list[Target]:
    from kstep_training.prep.molecules import bundled_list, conformers, read_smiles

    molecules, problems = read_smiles(path or bundled_list(text))
    if problems or not molecules:
        reason = "; ".join(problems) or "it names no molecule"
        raise ValueError(f"{text} cannot be evaluated as a whole: {reason}")
    return [Target(m.name, conformers(m.smiles, 1)[0]) for m in molecules]


def _from_geometries(path: Path) -> list[Target]:
    try:
        frames: Any = ase.io.read(path, index=":")
    except Exception as error:
        raise ValueError(f"{path} is no file of geometries that ASE reads: {error}") from error
    targets = []
    for number, atoms in enumerate(frames):
        if atoms.pbc.any():
            raise ValueError(
                f"frame {number} of {path} is periodic; runs are made of isolated molecules. "
                "Evaluate trajectories made elsewhere with --trajectory and --reference"
            )
        if not np.isfinite(atoms.positions).all():
            raise ValueError(f"frame {number} of {path} has positions that are not finite")
        name = str(atoms.info.get("name", path.stem if len(frames) == 1 else f"frame{number}"))
        targets.append(Target(_file_name(name), atoms))
    if len({target.name for target in targets}) < len(targets):
        raise ValueError(f"{path} has two molecules of one name; names must differ")
    return targets


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "_.+-" else "_" for c in name.strip())
