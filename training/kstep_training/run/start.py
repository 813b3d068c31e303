"""What a run begins with: its molecule, its physics, its jump, and a relaxed start."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, CalculatorError
from ase.md.velocitydistribution import thermalize_momenta
from ase.optimize import BFGS

from kstep_integrators import CalculatorPotential, load_model
from kstep_integrators.ase.atoms_json import decode_atoms, encode_atoms
from kstep_integrators.calculators import (
    OpenMMCalculator,
    PySCFCalculator,
    fixed_bonds,
    xtb_calculator,
)
from kstep_integrators.calculators.semiempirical import METHODS
from kstep_integrators.files import write_text_atomically
from kstep_integrators.jumps.base import Jump
from kstep_integrators.jumps.make import make_jump
from kstep_integrators.models.molecules import named_molecule
from kstep_integrators.units import FS
from kstep_training.run.settings import RunSettings

__all__ = ["Subject", "find_molecule", "make_calculator", "make_model", "relaxed_start"]


@dataclass(frozen=True)
class Subject:
    """The molecule of a run.

    Attributes
    ----------
    name : str
    atoms : ase.Atoms
        ``charge`` in ``info``; without calculator.
        Under ``calculator=mm`` on the constraints of its System, if there are any.
    system : openmm.System or None
        Its force field, if ``kstep prep`` has made one.
    forcefield : str or None
    """

    name: str
    atoms: Atoms
    system: Any = None
    forcefield: str | None = None


def find_molecule(words: str, settings: RunSettings) -> Subject:
    """A molecule from a folder of ``kstep prep``, a bundled name, a file or a SMILES string.

    Parameters
    ----------
    words : str
        Tried in this order.
    settings : RunSettings
        ``charge`` overrides that of the source.

    Raises
    ------
    ValueError
        If it is none of these, it is periodic, or ``calculator=mm`` has no prepared folder.
    ImportError
        If RDKit or OpenMM is needed and missing.
    """
    found = _find(words)
    if settings.calculator == "mm":
        if found.system is None:
            raise ValueError(
                "calculator=mm needs the force field of a molecule that kstep prep has made, and "
                f"{words!r} has none; give OUT/NAME of kstep prep LIST --output OUT"
            )
        if settings.charge is not None:
            raise ValueError(
                f"charge is {settings.charge}, but the force field has its own; leave it out"
            )
    if found.atoms.pbc.any():
        raise ValueError(
            f"{words} is periodic (pbc = {found.atoms.pbc.tolist()}); a run is for one isolated "
            "molecule: take the cell out of the file"
        )
    info = {key: found.atoms.info[key] for key in ("smiles",) if key in found.atoms.info}
    charge = settings.charge
    info["charge"] = int(found.atoms.info.get("charge", 0)) if charge is None else charge
    atoms = Atoms(found.atoms.numbers, positions=found.atoms.positions, info=info)
    if settings.calculator == "mm" and found.system.getNumConstraints():
        atoms.set_constraint(fixed_bonds(found.system))
        atoms.set_positions(atoms.get_positions())
    return replace(found, atoms=atoms)


def _find(words: str) -> Subject:
    path = Path(words)
    if (path / "conformers.xyz").is_file():
        from kstep_training.prep.prepared import read_prepared  # needs OpenMM

        prepared = read_prepared(path)
        made = json.loads((path.parent / "manifest.json").read_text())["settings"]
        return Subject(
            path.resolve().name, prepared.conformers[0], prepared.system, made["forcefield"]
        )
    try:
        atoms = named_molecule(words)
        return Subject(str(atoms.info["name"]), atoms)
    except ValueError as error:
        unknown = error
    if path.is_file():
        frame = ase.io.read(path)
        return Subject(path.stem, frame if isinstance(frame, Atoms) else frame[-1])
    if path.suffix or path.is_dir():
        raise ValueError(
            f"there is no file {words}, nor a molecule that kstep prep has made (OUT/NAME), nor a "
            "bundled molecule of that name"
        )
    from kstep_training.prep.molecules import conformers

    try:
        return Subject("molecule", conformers(words)[0])
    except ValueError as error:
        raise ValueError(
            f"{words!r} is no folder of kstep prep, no file and no SMILES string ({error}); "
            f"{unknown}"
        ) from error


def make_calculator(subject: Subject, settings: RunSettings) -> Any:
    """The physics of a run, a new ASE calculator at each call.

    Parameters
    ----------
    subject : Subject
    settings : RunSettings

    Raises
    ------
    ImportError
        If its package is missing.
    """
    if settings.calculator == "mm":
        return OpenMMCalculator(subject.system)
    if settings.calculator == "pyscf":
        xc = None if settings.xc is None or settings.xc.lower() == "hf" else settings.xc
        return PySCFCalculator(
            method="hf" if xc is None else None,
            xc=xc,
            basis=settings.basis,
            charge=int(subject.atoms.info["charge"]),
            multiplicity=settings.multiplicity,
        )
    return _xtb(settings.calculator, subject, settings)


def make_model(subject: Subject, settings: RunSettings, model: str) -> Jump:
    """The jump of a run.

    Parameters
    ----------
    subject : Subject
    settings : RunSettings
    model : str
        A bundled name, a model file, or a method of the GFN family: a flow on cheap physics.

    Raises
    ------
    ValueError
        If there is no such model, or it has another base step.
    """
    timestep = None if settings.timestep_fs is None else settings.timestep_fs * FS
    if model in METHODS:
        return make_jump(CalculatorPotential(_xtb(model, subject, settings)), timestep)
    loaded = load_model(model, device=settings.device, compile=settings.compile)
    return make_jump(loaded, timestep)


def _xtb(method: str, subject: Subject, settings: RunSettings) -> Calculator:
    charge = int(subject.atoms.info["charge"])
    calculator = xtb_calculator(method, charge=charge, multiplicity=settings.multiplicity)
    if method == "GFN-FF":
        # It takes its bonds from the first geometry: not from where a run happens to go on.
        calculator.get_potential_energy(subject.atoms)
    return calculator


def relaxed_start(subject: Subject, settings: RunSettings, path: Path) -> Atoms:
    """A minimum of the physics with momenta of the temperature, made once and kept in a file.

    Returns
    -------
    ase.Atoms
        As read from the file, also when it is new, so that a run that goes on is the same.

    Raises
    ------
    ValueError
        If the molecule cannot be relaxed.
    """
    if not path.exists():
        atoms = subject.atoms.copy()
        atoms.calc = make_calculator(subject, settings)
        try:
            BFGS(atoms, logfile=None).run(fmax=0.02, steps=500)
        except (CalculatorError, FloatingPointError) as error:
            raise ValueError(
                f"{settings.calculator} cannot relax {subject.name}: {error}; check its geometry, "
                f"charge ({atoms.info['charge']}) and multiplicity ({settings.multiplicity})"
            ) from error
        atoms.calc = None
        rng = np.random.default_rng([settings.seed, 0])
        thermalize_momenta(atoms, settings.temperature_K, rng=rng)
        text, _ = encode_atoms(atoms)
        write_text_atomically(path, text)
    return decode_atoms(path.read_text())
