"""Which isomer a geometry is, where a SMILES string leaves it open."""

from __future__ import annotations

from typing import Any

__all__ = ["one_isomer"]


def _named(mol: Any, conformer: int) -> set[str]:
    """SMILES strings of a geometry and of its mirror image."""
    from rdkit import Chem

    names = set()
    for sign in (1.0, -1.0):
        seen = Chem.Mol(mol)
        positions = seen.GetConformer(conformer).GetPositions()
        for index, place in enumerate(positions):
            place[2] *= sign
            seen.GetConformer(conformer).SetAtomPosition(index, place)
        Chem.AssignStereochemistryFrom3D(seen, conformer)
        names.add(Chem.MolToSmiles(Chem.RemoveHs(seen)))
        # A hydrogen can decide, as in imines, where it has no place in the short string.
        names.add(Chem.MolToSmiles(seen))
    return names


def one_isomer(mol: Any, conformers: list[int]) -> tuple[list[int], str | None]:
    """Those geometries that are the isomer of the first, or its mirror image.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        With explicit hydrogens and conformers.
    conformers : list of int
        Their ids; the first decides.

    Returns
    -------
    list of int
        The ids that are kept, in the same order.
    str or None
        SMILES string of the isomer, where ``mol`` leaves open which of several diastereomers it is.
    """
    from rdkit import Chem

    found = list(Chem.FindPotentialStereo(mol))
    open_ones = [one for one in found if one.specified != Chem.StereoSpecified.Specified]
    if not open_ones:
        return conformers, None
    chosen = _named(mol, conformers[0])
    kept = [one for one in conformers if _named(mol, one) == chosen]
    if len(found) == 1 and found[0].type == Chem.StereoType.Atom_Tetrahedral:
        return kept, None  # it has a mirror image and no diastereomer
    return kept, min(chosen, key=lambda name: (len(name), name))
