"""MMFF94 parameters of a molecule, term by term, out of RDKit.

RDKit assigns atom types, charges and parameters, the empirical rules for missing ones included;
which atoms make a term is decided here, as in RDKit's own force field.

Source: Halgren, J. Comput. Chem. 17, 490 (1996), the first of five papers,
doi:10.1002/(SICI)1096-987X(199604)17:5/6<490::AID-JCC1>3.0.CO;2-P; MMFF94s: Halgren, J. Comput.
Chem. 20, 720 (1999), doi:10.1002/(SICI)1096-987X(199905)20:7<720::AID-JCC7>3.0.CO;2-X; RDKit's
implementation: Tosco, Stiefl & Landrum, J. Cheminform. 6, 37 (2014),
doi:10.1186/s13321-014-0037-3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

__all__ = ["MMFF94Parameters", "mmff94_parameters"]

VARIANTS: Final = ("MMFF94", "MMFF94s")

_LINEAR_TYPES: Final = frozenset({4, 53, 61})
"""Atom types of two neighbours in a line ("linh" in MMFFPROP.PAR): C#, =C=; =N=; N of isonitriles
and diazonium ions."""


@dataclass(frozen=True)
class MMFF94Parameters:
    """The terms of one molecule: atom indices, then parameters in MMFF's own units.

    Attributes
    ----------
    bonds : tuple of (i, j, kb, r0)
        mdyn/angstrom, angstrom.
    angles : tuple of (i, j, k, ka, theta0)
        Atom j in the middle; mdyn angstrom/rad^2, degrees.
    linear_angles : tuple of (i, j, k, ka)
        Those whose middle atom is of a linear type.
    stretch_bends : tuple of (i, j, k, kba_ijk, kba_kji, r0_ij, r0_jk, theta0)
        mdyn/rad, angstrom, degrees.
    out_of_planes : tuple of (i, j, k, l, koop)
        The angle between bond j-l and the plane i-j-k; mdyn angstrom/rad^2.
    torsions : tuple of (i, j, k, l, V1, V2, V3)
        kcal/mol.
    van_der_waals : tuple of (i, j, R, eps)
        Pairs three bonds apart or more; distance of the minimum in angstrom, depth in kcal/mol.
    charges : tuple of (i, j, qq)
        Products of partial charges in e^2, scaled where the atoms are three bonds apart.
    """

    bonds: tuple[tuple[int, int, float, float], ...]
    angles: tuple[tuple[int, int, int, float, float], ...]
    linear_angles: tuple[tuple[int, int, int, float], ...]
    stretch_bends: tuple[tuple[int, int, int, float, float, float, float, float], ...]
    out_of_planes: tuple[tuple[int, int, int, int, float], ...]
    torsions: tuple[tuple[int, int, int, int, float, float, float], ...]
    van_der_waals: tuple[tuple[int, int, float, float], ...]
    charges: tuple[tuple[int, int, float], ...]


def mmff94_parameters(mol: Any, variant: str = "MMFF94") -> MMFF94Parameters:
    """Read the parameters of every term of a molecule.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        Sanitized, with explicit hydrogens. No conformer is needed.
    variant : str
        ``"MMFF94"``, or ``"MMFF94s"`` with planar delocalized nitrogen.

    Raises
    ------
    ValueError
        If the variant is another, or MMFF94 does not cover the molecule.
    """
    from rdkit.Chem import AllChem

    if variant not in VARIANTS:
        raise ValueError(f"variant is {variant!r}, expected one of {', '.join(VARIANTS)}")
    props: Any = AllChem.MMFFGetMoleculeProperties(mol, mmffVariant=variant)  # type: ignore[attr-defined]
    if props is None:
        raise ValueError(
            f"{variant} has no atom types for a molecule of {_elements(mol)} with these bonds; it "
            "covers common organic groups of H, C, N, O, F, Si, P, S, Cl, Br, I and some ions"
        )
    bonds = tuple((i, j, *props.GetMMFFBondStretchParams(mol, i, j)[1:]) for i, j in _bonds(mol))
    rest = {pair: r0 for i, j, _, r0 in bonds for pair in ((i, j), (j, i))}
    angles, linear, stretch_bends = [], [], []
    for i, j, k in _angles(mol):
        ka, theta0 = props.GetMMFFAngleBendParams(mol, i, j, k)[1:]
        if props.GetMMFFAtomType(j) in _LINEAR_TYPES:
            linear.append((i, j, k, ka))
            continue
        angles.append((i, j, k, ka, theta0))
        constants = props.GetMMFFStretchBendParams(mol, i, j, k)
        if constants is not None:
            stretch_bends.append((i, j, k, *constants[1:], rest[i, j], rest[j, k], theta0))
    torsions = []
    for i, j, k, l in _torsions(mol):  # noqa: E741  (the letters of the papers)
        barriers = props.GetMMFFTorsionParams(mol, i, j, k, l)
        if barriers is not None:
            torsions.append((i, j, k, l, *barriers[1:]))
    out_of_planes = []
    for i, j, k, l in _out_of_planes(mol):  # noqa: E741
        koop = props.GetMMFFOopBendParams(mol, i, j, k, l)
        if koop:
            out_of_planes.append((i, j, k, l, koop))
    van_der_waals, charges = _nonbonded(mol, props)
    return MMFF94Parameters(
        bonds=bonds,
        angles=tuple(angles),
        linear_angles=tuple(linear),
        stretch_bends=tuple(stretch_bends),
        out_of_planes=tuple(out_of_planes),
        torsions=tuple(torsions),
        van_der_waals=tuple(van_der_waals),
        charges=tuple(charges),
    )


_SCALE_1_4: Final = 0.75
"""Factor of electrostatics between atoms three bonds apart; van der Waals terms have none."""


def _nonbonded(
    mol: Any, props: Any
) -> tuple[list[tuple[int, int, float, float]], list[tuple[int, int, float]]]:
    from rdkit import Chem

    separation = Chem.GetDistanceMatrix(mol)
    charge = [props.GetMMFFPartialCharge(i) for i in range(mol.GetNumAtoms())]
    van_der_waals, charges = [], []
    for i, j in combinations(range(mol.GetNumAtoms()), 2):
        if separation[i, j] < 3:
            continue
        # The last two of four: scaled for pairs of a donor and an acceptor of hydrogen bonds.
        van_der_waals.append((i, j, *props.GetMMFFVdWParams(i, j)[2:]))
        product = charge[i] * charge[j] * (_SCALE_1_4 if separation[i, j] == 3 else 1.0)
        if product:
            charges.append((i, j, product))
    return van_der_waals, charges


def _bonds(mol: Any) -> Iterator[tuple[int, int]]:
    for bond in mol.GetBonds():
        yield bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()


def _neighbors(atom: Any) -> list[int]:
    return [other.GetIdx() for other in atom.GetNeighbors()]


def _angles(mol: Any) -> Iterator[tuple[int, int, int]]:
    for atom in mol.GetAtoms():
        for i, k in combinations(_neighbors(atom), 2):
            yield i, atom.GetIdx(), k


def _out_of_planes(mol: Any) -> Iterator[tuple[int, int, int, int]]:
    """Each bond of an atom of three neighbours against the plane of the other two."""
    for atom in mol.GetAtoms():
        if atom.GetDegree() == 3:
            i, k, l = _neighbors(atom)  # noqa: E741
            j = atom.GetIdx()
            yield from ((i, j, k, l), (i, j, l, k), (k, j, l, i))


def _torsions(mol: Any) -> Iterator[tuple[int, int, int, int]]:
    """About bonds between trigonal or tetrahedral atoms; none closes a ring of three."""
    from rdkit.Chem import HybridizationType

    bent = (HybridizationType.SP2, HybridizationType.SP3)
    for bond in mol.GetBonds():
        one, other = bond.GetBeginAtom(), bond.GetEndAtom()
        if one.GetHybridization() not in bent or other.GetHybridization() not in bent:
            continue
        j, k = one.GetIdx(), other.GetIdx()
        for i in _neighbors(one):
            for l in _neighbors(other):  # noqa: E741
                if i != k and l not in (i, j):
                    yield i, j, k, l


def _elements(mol: Any) -> str:
    return ", ".join(sorted({atom.GetSymbol() for atom in mol.GetAtoms()}))
