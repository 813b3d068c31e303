"""Relaxed geometries of the bundled molecules, by name.

``python -m kstep_training.inputs.named_structures`` rewrites the file that
:mod:`kstep_integrators.models.molecules` reads, so that a demonstration needs no RDKit. Each
molecule is embedded several times, every conformer is relaxed with GFN2-xTB, and the lowest one is
kept.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

# Threads only slow a molecule of this size down; tblite reads this when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import ase.io
from ase import Atoms

from kstep_integrators.models.molecules import NAMED_FILE
from kstep_training.inputs.physics import make_physics
from kstep_training.inputs.start import relax
from kstep_training.prep.molecules import Molecule, bundled_list, conformers, read_smiles
from kstep_training.progress import followed

__all__ = ["main"]


def lowest_conformer(
    molecule: Molecule, count: int = 6, seed: int = 0, fmax: float = 0.01, max_steps: int = 1000
) -> Atoms:
    """Lowest of several GFN2-relaxed conformers.

    Parameters
    ----------
    molecule : Molecule
        A neutral molecule.
    count : int
        Conformers to embed.
    seed : int
        Seed of the embedding.
    fmax : float
        Largest force left on any atom, in eV/angstrom.
    max_steps : int
        Optimizer steps allowed for each conformer.

    Returns
    -------
    ase.Atoms
        Positions in angstrom about the centre of mass; ``name`` and ``smiles`` in ``info``.

    Raises
    ------
    RuntimeError
        If no conformer converges.
    RelaxationFailed
        If forces cannot be computed.

    Notes
    -----
    GFN2-xTB: doi:10.1021/acs.jctc.8b01176.
    """
    physics = make_physics("GFN2-xTB")
    best: Atoms | None = None
    lowest = float("inf")
    for atoms in conformers(molecule.smiles, count, seed):
        atoms.calc = physics(atoms)
        if not relax(atoms, fmax, max_steps, molecule.name):
            continue
        energy = atoms.get_potential_energy()
        if energy < lowest:
            best, lowest = atoms, energy
    if best is None:
        raise RuntimeError(
            f"no conformer of {molecule.name} ({molecule.smiles}) reached {fmax} eV/angstrom in "
            f"{max_steps} steps; allow more steps or check the SMILES string"
        )
    positions = best.positions - best.get_center_of_mass()
    return Atoms(
        best.numbers,
        positions=positions,
        info={"name": molecule.name, "smiles": molecule.smiles},
    )


def main(arguments: list[str] | None = None) -> None:
    """Write the file of named structures; see ``--help``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--list", type=Path, default=None, help="a .smi file (default: qm_train)")
    parser.add_argument("--output", type=Path, default=NAMED_FILE, help="extxyz file to write")
    parser.add_argument("--conformers", type=int, default=6, help="conformers per molecule")
    parser.add_argument("--seed", type=int, default=0, help="seed of the embedding")
    options = parser.parse_args(arguments)

    molecules, problems = read_smiles(options.list or bundled_list("qm_train"))
    if problems:
        parser.error("; ".join(problems))
    structures = [
        lowest_conformer(molecule, options.conformers, options.seed)
        for molecule in followed(molecules, "molecules relaxed", len(molecules))
    ]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    ase.io.write(options.output, structures, format="extxyz")


if __name__ == "__main__":
    main()
