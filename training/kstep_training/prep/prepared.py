"""The files of a prepared molecule: a folder that is there as a whole or not at all.

``topology.pdb`` holds the first conformer and every bond (CONECT records), ``system.xml`` the
serialized OpenMM System if there is a force field, ``conformers.xyz`` all conformers in full
precision (extended XYZ), with ``smiles`` and ``charge``. Atoms have the same order in all three.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
import openmm
from ase import Atoms
from openmm import app

from kstep_integrators import units
from kstep_integrators.files import flush_to_disk

__all__ = ["Prepared", "prepared_folders", "read_prepared", "topology", "write_prepared"]


@dataclass(frozen=True)
class Prepared:
    """A molecule that is ready to be simulated.

    Attributes
    ----------
    name : str
    topology : openmm.app.Topology
    system : openmm.System or None
        None without a force field.
    conformers : tuple of ase.Atoms
        Lowest first; ``smiles`` and ``charge`` in ``info``.
    """

    name: str
    topology: app.Topology
    system: openmm.System | None
    conformers: tuple[Atoms, ...]


def topology(mol: Any) -> app.Topology:
    """Atoms and bonds of a molecule as one residue, UNL.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        With explicit hydrogens.
    """
    made = app.Topology()
    residue = made.addResidue("UNL", made.addChain())
    counts: dict[str, int] = {}
    atoms = []
    for atom in mol.GetAtoms():
        element = app.Element.getByAtomicNumber(atom.GetAtomicNum())
        counts[element.symbol] = counts.get(element.symbol, 0) + 1
        name = f"{element.symbol}{counts[element.symbol]}"
        atoms.append(
            made.addAtom(name, element, residue, formalCharge=atom.GetFormalCharge() or None)
        )
    kinds = {1.0: (app.Single, 1), 2.0: (app.Double, 2), 3.0: (app.Triple, 3)}
    for bond in mol.GetBonds():
        kind, order = kinds.get(bond.GetBondTypeAsDouble(), (None, None))
        if bond.GetIsAromatic():
            kind = app.Aromatic
        made.addBond(atoms[bond.GetBeginAtomIdx()], atoms[bond.GetEndAtomIdx()], kind, order)
    return made


def write_prepared(folder: Path, prepared: Prepared) -> None:
    """Write ``folder/NAME/`` under another name, then rename it: no reader sees a part of it.

    Raises
    ------
    FileExistsError
        If there is one already.
    """
    final = folder / prepared.name
    if final.exists():
        raise FileExistsError(f"{final} is there already; choose another folder or move it away")
    temporary = folder / f".{prepared.name}.partial"
    shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed
    temporary.mkdir(parents=True)
    positions = prepared.conformers[0].positions / units.NM
    with open(temporary / "topology.pdb", "w") as handle:
        app.PDBFile.writeFile(prepared.topology, positions * openmm.unit.nanometer, handle)
    if prepared.system is not None:
        (temporary / "system.xml").write_text(openmm.XmlSerializer.serialize(prepared.system))
    ase.io.write(temporary / "conformers.xyz", list(prepared.conformers), format="extxyz")
    for path in temporary.iterdir():
        flush_to_disk(path)
    os.replace(temporary, final)


def prepared_folders(folder: Path) -> list[Path]:
    """The folders of the prepared molecules, sorted by name.

    Raises
    ------
    FileNotFoundError
        If there are none.
    NotADirectoryError
        If ``folder`` is a file, such as a geometry.
    """
    if folder.is_file():
        raise NotADirectoryError(
            f"{folder} is a file, expected the folder that kstep prep has written; a geometry, "
            "alone or in a cell, runs with kstep run"
        )
    folders = sorted(path.parent for path in folder.glob("[!.]*/conformers.xyz"))
    if not folders:
        raise FileNotFoundError(f"no prepared molecule in {folder}; run kstep prep first")
    return folders


def read_prepared(path: Path) -> Prepared:
    """The molecule in a folder that :func:`write_prepared` made.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If the System does not fit the conformers.
    """
    file = path / "conformers.xyz"
    conformers = tuple(ase.io.read(file, index=":", format="extxyz"))
    smiles = _smiles(file.read_text().splitlines()[1])
    for atoms in conformers:
        if smiles is not None:
            atoms.info["smiles"] = smiles
    system = None
    if (path / "system.xml").exists():
        system = openmm.XmlSerializer.deserialize((path / "system.xml").read_text())
    if system is not None and system.getNumParticles() != len(conformers[0]):
        raise ValueError(
            f"{path}: the System has {system.getNumParticles()} particles and the conformers "
            f"{len(conformers[0])} atoms; delete the folder and prepare the molecule again"
        )
    pdb = app.PDBFile(str(path / "topology.pdb"))
    return Prepared(path.name, pdb.topology, system, conformers)


def _smiles(comment: str) -> str | None:
    """The SMILES string of a comment line, letter by letter.

    ASE reads that of hydrogen fluoride, ``F``, as false, and takes backslashes away.
    """
    found = re.search(r'(?:^|\s)smiles=(?:"([^"]*)"|(\S+))', comment)
    return None if found is None else found[1] or found[2]
