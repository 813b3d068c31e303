"""SMILES lists to molecules with explicit hydrogens and relaxed starting geometries."""

from __future__ import annotations

import importlib.resources
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import atomic_masses
from ase.io import read

from kstep_training.prep.isomers import one_isomer

__all__ = [
    "Molecule",
    "bundled_list",
    "bundled_lists",
    "conformers",
    "find_list",
    "hydrogenated",
    "masses",
    "read_smiles",
]

SAME_DISTANCE = 0.1
"""angstrom; by which distances differ between relaxations to one minimum."""

_LISTS = Path(str(importlib.resources.files("kstep_training") / "molecules"))
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


@dataclass(frozen=True)
class Molecule:
    """One line of a molecule list.

    Attributes
    ----------
    name : str
        File-system safe name, unique within its list.
    smiles : str
        SMILES string of a single neutral or charged fragment.
    line : int
        Line number in the list, from 1.
    """

    name: str
    smiles: str
    line: int


def _rdkit() -> Any:
    try:
        from rdkit import Chem, RDLogger
        from rdkit.Chem import AllChem  # noqa: F401  (registers the embedding functions)
    except ImportError as error:
        raise ImportError(
            "reading SMILES needs RDKit, which is not installed; "
            "install it with: pip install 'kstep-integrators[prep]'"
        ) from error
    RDLogger.DisableLog("rdApp.*")  # type: ignore[attr-defined]
    return Chem


def bundled_lists() -> list[str]:
    """Names of the molecule lists shipped with the package, sorted."""
    return sorted(path.stem for path in _LISTS.glob("*.smi"))


def bundled_list(name: str) -> Path:
    """Path of a molecule list shipped with the package, such as ``"qm_train"``.

    Raises
    ------
    ValueError
        If no list has that name; the message gives the names there are.
    """
    if name not in bundled_lists():
        known = ", ".join(bundled_lists())
        raise ValueError(f"no bundled molecule list {name!r}, nor a file; there are: {known}")
    return _LISTS / f"{name}.smi"


def find_list(source: str | Path) -> Path:
    """Path of a molecule list: a file, or one shipped with the package.

    Raises
    ------
    ValueError
        If it is neither.
    """
    path = Path(source)
    return path if path.is_file() else bundled_list(str(source))


def _refuse_geometries(path: Path) -> None:
    try:
        frames = read(path, ":")
    except Exception:  # noqa: BLE001  (no format of ASE, or a list that looks like one)
        return
    if any(len(atoms) for atoms in frames):
        raise ValueError(
            f"{path} is a file of geometries, expected a list with one 'SMILES name' per line: "
            "kstep prep and kstep simulate are of isolated molecules by their SMILES; kstep run "
            "and kstep evaluate take geometries, in a cell too"
        )


def read_smiles(path: str | Path) -> tuple[list[Molecule], list[str]]:
    """Read a ``.smi`` file: one ``SMILES name`` per line, ``#`` starts a comment.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    molecules : list of Molecule
        The lines that parse.
    problems : list of str
        One message with the line number for each line that does not (unparsable, several
        fragments, doubled name, a name that cannot be a file's); the rest stays usable.

    Raises
    ------
    ValueError
        If the file holds geometries: symbols of elements would be read as SMILES.
    """
    chem = _rdkit()
    _refuse_geometries(Path(path))
    molecules: list[Molecule] = []
    problems: list[str] = []
    seen: set[str] = set()
    for number, raw in enumerate(Path(path).read_text().splitlines(), start=1):
        columns = raw.split("#")[0].split() if raw.lstrip().startswith("#") else raw.split()
        if not columns:
            continue
        smiles = columns[0]
        name = columns[1] if len(columns) > 1 else f"line{number}"
        where = f"{path}:{number}: {smiles!r}"
        if chem.MolFromSmiles(smiles) is None:
            problems.append(f"{where} is not a SMILES string that RDKit can read")
        elif "." in smiles:
            problems.append(f"{where} has several fragments; give one molecule per line")
        elif not _SAFE_NAME.fullmatch(name):
            problems.append(
                f"{where} has the name {name!r}, which becomes a file name; use letters, digits, "
                "'_', '-', '+' and '.' and begin with a letter or digit"
            )
        elif name in seen:
            problems.append(f"{where} repeats the name {name!r}; names must be unique")
        else:
            seen.add(name)
            molecules.append(Molecule(name, smiles, number))
    return molecules, problems


def hydrogenated(smiles: str) -> Any:
    """The molecule with explicit hydrogens, its atoms in the order of :func:`conformers`.

    Parameters
    ----------
    smiles : str
        One fragment.

    Returns
    -------
    rdkit.Chem.Mol
        Without a conformer.

    Raises
    ------
    ValueError
        If the SMILES string cannot be parsed, names an isotope that there is not, or has wildcards.
    """
    chem = _rdkit()
    parsed = chem.MolFromSmiles(smiles)
    if parsed is None:
        raise ValueError(f"RDKit cannot read the SMILES string {smiles!r}; check its spelling")
    table = chem.GetPeriodicTable()
    for atom in parsed.GetAtoms():
        isotope, number = atom.GetIsotope(), atom.GetAtomicNum()
        if number == 0:
            raise ValueError(
                f"the SMILES string {smiles!r} has a wildcard, {atom.GetSmarts()}, for which no "
                "element is told; expected every atom to be one"
            )
        if isotope and not table.GetMassForIsotope(number, isotope):
            raise ValueError(
                f"{smiles!r} has the isotope {isotope}{atom.GetSymbol()}, whose mass RDKit does "
                "not know; name one that exists"
            )
    return chem.AddHs(parsed)


def conformers(smiles: str, count: int = 1, seed: int = 0) -> list[Atoms]:
    """Distinct conformers of a molecule, embedded with ETKDGv3 and relaxed with MMFF94.

    Four times as many are embedded as asked for; of those that relax to the same minimum, or to
    mirror images, one is kept.

    Parameters
    ----------
    smiles : str
        One fragment.
    count : int
        At most this many; small rigid molecules give fewer.
    seed : int
        Seed of the embedding, from 0.

    Returns
    -------
    list of ase.Atoms
        Positions in angstrom, hydrogens explicit, MMFF energy ascending; masses where the string
        has isotopes; in ``info``: formal ``charge``, for radicals the ``multiplicity`` with all
        spins parallel, and ``isomer`` where the string leaves open which diastereomer is meant:
        the one of lowest MMFF energy, or its mirror image.

    Raises
    ------
    ValueError
        If the SMILES string cannot be parsed or embedded.

    Notes
    -----
    ETKDGv3: doi:10.1021/acs.jcim.0c00025. MMFF94: doi:10.1002/(SICI)1096-987X(199604)17:5/6<490.
    """
    chem = _rdkit()
    from rdkit.Chem import AllChem

    mol = hydrogenated(smiles)
    params: Any = AllChem.ETKDGv3()  # type: ignore[attr-defined]
    params.randomSeed = seed + 1  # RDKit repeats one embedding when its seed is 0
    ids = list(AllChem.EmbedMultipleConfs(mol, 4 * count, params))  # type: ignore[attr-defined]
    if not ids:
        params.useRandomCoords = True
        ids = list(AllChem.EmbedMultipleConfs(mol, 4 * count, params))  # type: ignore[attr-defined]
    if not ids:
        raise ValueError(f"RDKit could not embed {smiles!r} in three dimensions")
    energies = [0.0] * len(ids)
    if AllChem.MMFFHasAllMoleculeParams(mol):  # type: ignore[attr-defined]
        relaxed = AllChem.MMFFOptimizeMoleculeConfs(mol, maxIters=2000)  # type: ignore[attr-defined]
        energies = [energy for _, energy in relaxed]
    order = [ids[i] for i in np.argsort(energies, kind="stable")]
    order, isomer = one_isomer(mol, order)
    info: dict[str, Any] = {"charge": chem.GetFormalCharge(mol), "smiles": smiles}
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())
    if unpaired:
        info["multiplicity"] = unpaired + 1
    if isomer is not None:
        info["isomer"] = isomer
    made = Atoms([atom.GetAtomicNum() for atom in mol.GetAtoms()], info=info)
    if any(atom.GetIsotope() for atom in mol.GetAtoms()):
        made.set_masses(masses(mol))
    structures = []
    for one in order:
        atoms = made.copy()
        atoms.positions = mol.GetConformer(one).GetPositions()
        structures.append(atoms)
    return _distinct(structures)[:count]


def masses(mol: Any) -> list[float]:
    """Masses of the atoms, u: of the isotopes that are named, else those of ASE."""
    table = _rdkit().GetPeriodicTable()
    return [
        float(table.GetMassForIsotope(atom.GetAtomicNum(), atom.GetIsotope()))
        if atom.GetIsotope()
        else float(atomic_masses[atom.GetAtomicNum()])
        for atom in mol.GetAtoms()
    ]


def _distinct(relaxed: list[Atoms]) -> list[Atoms]:
    """The first of each kind: same distances between elements, in whichever order of atoms."""
    kept: list[Atoms] = []
    known: list[npt.NDArray[np.float64]] = []
    for atoms in relaxed:
        i, j = np.triu_indices(len(atoms), 1)
        low, high = np.sort(atoms.numbers[np.stack([i, j])], axis=0)
        distances = np.linalg.norm(atoms.positions[i] - atoms.positions[j], axis=1)
        seen = distances[np.lexsort((distances, high, low))]
        if all(np.abs(seen - other).max(initial=0.0) > SAME_DISTANCE for other in known):
            kept.append(atoms)
            known.append(seen)
    return kept
