"""Molecules and cells from what a user says: a name, a geometry file, SMILES, a prepared folder."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

from kstep_integrators import named_molecule
from kstep_integrators.calculators.electrons import (
    charge_of,
    check_given,
    electrons_noted,
    without_electrons,
)
from kstep_training.inputs.foreign_frames import read_frames
from kstep_training.prep.molecules import bundled_lists, conformers, find_list, read_smiles

__all__ = ["InputMolecule", "read_molecule", "read_molecules"]


_LOG = logging.getLogger("kstep_training")


@dataclass(frozen=True)
class InputMolecule:
    """An isolated molecule, or what a cell holds, as a user has given it.

    Attributes
    ----------
    name : str
        Fit for a file name.
    atoms : ase.Atoms
        Positions and cell in angstrom, masses in u; without calculator and momenta; with FixAtoms
        at most, if cells were asked for. ``info`` is that of its source, and always has ``charge``
        (in e) and ``multiplicity`` (2 S + 1).
    system : openmm.System or None
        Its force field, if ``kstep prep`` has made one.
    forcefield : str or None
        Name of that.
    """

    name: str
    atoms: Atoms
    system: Any = None
    forcefield: str | None = None


def read_molecule(
    source: str | Path,
    charge: int | None = None,
    multiplicity: int | None = None,
    cells: bool = False,
) -> InputMolecule:
    """The molecule that a user names.

    Parameters
    ----------
    source : str or Path
        A folder of ``kstep prep`` (``OUT/NAME``), the name of a bundled molecule, a file of
        geometries that ASE reads (its last frame), or a SMILES string; tried in this order.
    charge : int, optional
        In e, instead of that of the source: of its atoms, see
        :func:`~kstep_integrators.calculators.electrons.electrons_noted`, the formal charge of a
        SMILES string, or 0.
    multiplicity : int, optional
        2 S + 1, instead of that of the source: of its atoms, that of a SMILES string with
        radicals, or 1.
    cells : bool
        Whether a file may be periodic, in any of its directions, and hold atoms where they are
        (``FixAtoms``).

    Raises
    ------
    ValueError
        If it is none of these, or not one isolated molecule without constraints, or with ``cells``
        one that has other constraints, or a periodic direction without a vector.
    ImportError
        If RDKit (SMILES) or OpenMM (a prepared folder) is needed and missing.

    Examples
    --------
    >>> water = read_molecule("water")
    >>> water.name, water.atoms.get_chemical_formula(), water.atoms.info["charge"]
    ('water', 'H2O', 0)
    """
    given = {"charge": charge, "multiplicity": multiplicity}
    return _read(str(source), given, cells)[-1]


def read_molecules(source: str | Path, cells: bool = False) -> list[InputMolecule]:
    """The molecules that a user names.

    Parameters
    ----------
    source : str or Path
        A ``.smi`` file or a bundled list (the first conformer of each molecule), a folder that
        ``kstep prep`` has filled, a file of geometries that ASE reads (each frame), or anything
        that :func:`read_molecule` takes, one or several with commas between them.
    cells : bool
        As for :func:`read_molecule`.

    Raises
    ------
    ValueError
        If something in it cannot be used, or two molecules have one name.
    ImportError
        As for :func:`read_molecule`.

    Examples
    --------
    >>> [molecule.name for molecule in read_molecules("water,ethanol")]
    ['water', 'ethanol']
    """
    text, path = str(source), Path(source)
    given: dict[str, int | None] = {}
    if path.suffix == ".smi" or (not path.exists() and text in bundled_lists()):
        molecules = _from_list(text)
    elif path.is_dir() and any(path.glob("[!.]*/conformers.xyz")):
        folders = sorted(folder.parent for folder in path.glob("[!.]*/conformers.xyz"))
        molecules = [_from_prepared(folder, given) for folder in folders]
    elif path.exists():
        molecules = _read(text, given, cells)
    else:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        molecules = [_read(part, given, cells)[-1] for part in parts]
    if not molecules:
        raise ValueError(f"{text!r} names no molecule; expected for example water,ethanol")
    names = [molecule.name for molecule in molecules]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{text} has two molecules of one name, {', '.join(twice)}; rename one")
    return molecules


def _read(text: str, given: dict[str, int | None], cells: bool = False) -> list[InputMolecule]:
    """The molecules of one source, a file with several frames being the only one with more."""
    path = Path(text)
    if (path / "conformers.xyz").is_file():
        return [_from_prepared(path, given)]
    try:
        atoms = named_molecule(text)
        return [InputMolecule(str(atoms.info["name"]), _isolated(atoms, text, given))]
    except ValueError as error:
        unknown = error
    if path.is_file():
        return _from_file(path, given, cells)
    if path.suffix or path.is_dir():
        raise ValueError(
            f"there is no file {text}, nor a molecule that kstep prep has made (OUT/NAME), nor a "
            "bundled molecule of that name; a SMILES string of several fragments is no molecule"
        )
    try:
        atoms = conformers(text)[0]
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no folder of kstep prep, no file and no SMILES string ({error}); "
            f"{unknown}"
        ) from error
    _say_isomer(text, atoms)
    return [InputMolecule(_file_name(text), _isolated(atoms, text, given))]


def _say_isomer(text: str, atoms: Atoms) -> None:
    if "isomer" in atoms.info:
        _LOG.warning(
            "%s leaves stereochemistry open; the molecule is %s", text, atoms.info["isomer"]
        )


def _from_prepared(path: Path, given: dict[str, int | None]) -> InputMolecule:
    from kstep_training.prep.prepared import read_prepared  # needs OpenMM

    prepared = read_prepared(path)
    settings = json.loads((path.parent / "manifest.json").read_text())["settings"]
    atoms = _isolated(prepared.conformers[0], str(path), given)
    return InputMolecule(path.resolve().name, atoms, prepared.system, settings["forcefield"])


def _from_file(path: Path, given: dict[str, int | None], cells: bool) -> list[InputMolecule]:
    frames = read_frames(path).atoms
    if not frames:
        raise ValueError(f"{path} holds no geometry")
    take = _in_cell if cells else _isolated
    if len(frames) == 1:
        return [InputMolecule(_file_name(path.stem), take(frames[0], str(path), given))]
    return [
        InputMolecule(
            _file_name(str(atoms.info.get("name", f"frame{number}"))),
            take(atoms, f"frame {number} of {path}", given),
        )
        for number, atoms in enumerate(frames)
    ]


def _from_list(text: str) -> list[InputMolecule]:
    molecules, problems = read_smiles(find_list(text))
    if problems or not molecules:
        reason = "; ".join(problems) or "it names no molecule"
        raise ValueError(f"{text} cannot be used as a whole: {reason}")
    read = []
    for molecule in molecules:
        atoms = conformers(molecule.smiles)[0]
        _say_isomer(f"{molecule.name}, {molecule.smiles},", atoms)
        read.append(InputMolecule(molecule.name, _isolated(atoms, molecule.name, {})))
    return read


def _isolated(atoms: Atoms, source: str, given: dict[str, int | None]) -> Atoms:
    """Elements, positions, masses and ``info`` alone, with charge and multiplicity.

    Raises
    ------
    ValueError
        If the source says more than can be kept.
    """
    if atoms.pbc.any():
        raise ValueError(
            f"{source} is periodic (pbc = {atoms.pbc.tolist()}), and one isolated molecule was "
            "expected: take the cell out of the file. kstep run and kstep evaluate take cells"
        )
    _refuse_constraints(atoms, source, ())
    return _kept(atoms, source, given)


def _in_cell(atoms: Atoms, source: str, given: dict[str, int | None]) -> Atoms:
    """The same with cell and fixed atoms.

    Raises
    ------
    ValueError
        If the source says more than can be kept, or its cell is none.
    """
    _refuse_constraints(atoms, source, (FixAtoms,))
    kept = _kept(atoms, source, given)
    if atoms.pbc.any():
        vectors = atoms.cell.array
        flat = [i for i in range(3) if atoms.pbc[i] and not vectors[i].any()]
        if flat or not np.isfinite(vectors).all():
            raise ValueError(
                f"{source} has pbc = {atoms.pbc.tolist()} and the cell {vectors.tolist()}, "
                "expected a vector along each periodic direction: set the cell, or pbc to false"
            )
        kept.set_cell(atoms.cell)
        kept.pbc = atoms.pbc
    fixed = sorted({int(i) for constraint in atoms.constraints for i in constraint.get_indices()})
    if fixed:
        kept.set_constraint(FixAtoms(fixed))
    return kept


def _refuse_constraints(atoms: Atoms, source: str, known: tuple[type, ...]) -> None:
    others = [one for one in atoms.constraints if not isinstance(one, known)]
    if others:
        kinds = ", ".join(type(constraint).__name__ for constraint in others)
        raise ValueError(
            f"{source} has constraints ({kinds}), which no run of a molecule from a file keeps: "
            "take them out. Bonds with hydrogen are fixed by kstep prep constraints=HBonds; "
            "kstep run keeps FixAtoms"
        )


def _kept(atoms: Atoms, source: str, given: dict[str, int | None]) -> Atoms:
    """Elements, positions, masses and ``info``, with charge and multiplicity."""
    if not np.isfinite(atoms.positions).all():
        raise ValueError(f"{source} has positions that are not finite")
    kept = Atoms(atoms.numbers, positions=atoms.positions, info=without_electrons(atoms.info))
    if atoms.has("masses"):
        kept.set_masses(atoms.get_masses())
    kept.info.update(_electrons(atoms, source, given))
    return kept


def _electrons(atoms: Atoms, source: str, given: dict[str, int | None]) -> dict[str, int]:
    """Charge and multiplicity as given, else as the source says, else 0 and 1.

    Raises
    ------
    ValueError
        If something is not a whole number, or the source contradicts itself.
    """
    stated = {name: value for name, value in given.items() if value is not None}
    try:
        check_given(stated.get("charge"), stated.get("multiplicity"))
        noted: dict[str, int | None] = {}
        if "multiplicity" not in stated:
            noted["multiplicity"] = electrons_noted(atoms).multiplicity
        if "charge" not in stated:
            noted["charge"] = charge_of(atoms, None)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    usual = {"charge": 0, "multiplicity": 1}
    said = {name: value for name, value in noted.items() if value is not None}
    return {name: round(float(value)) for name, value in (usual | said | stated).items()}


def _file_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "_.+-" else "_" for c in text.strip())
