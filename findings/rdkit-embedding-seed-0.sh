#!/usr/bin/env bash
# RDKit's EmbedMultipleConfs with the seed 0 gives the same conformer again and again.
#
# Expected: different conformers, reproducibly, as with any other seed. 0 is a valid seed (-1 means none), and
# rdkit/rdkit#1738 (2018) called identical conformers from it "definitely a bug" and was closed as mended.
# Seen: all conformers are equal to the last digit, with every set of parameters (KDG to ETKDGv3) and in the
# keyword form; with RMS pruning one is left of ten. With enableSequentialRandomSeeds=True seed 0 works.
# Why it matters: 0 is the most common seed of all. A set of starting structures has one member, and training,
# test and replica runs start from the same geometry although their number says otherwise.
# What we do: RDKit is handed seed + 1.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check rdkit==2026.9.1 numpy==2.4.6

OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
from importlib.metadata import version

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDistGeom

pentanol = Chem.AddHs(Chem.MolFromSmiles("CCCCCO"))


def embedded(method, seed, count=5, **more):
    """Conformers, (count, n_atoms, 3), in angstrom."""
    molecule = Chem.Mol(pentanol)
    parameters = getattr(rdDistGeom, method)()
    parameters.randomSeed = seed
    for name, value in more.items():
        setattr(parameters, name, value)
    rdDistGeom.EmbedMultipleConfs(molecule, count, parameters)
    return np.array([conformer.GetPositions() for conformer in molecule.GetConformers()])


print("RDKit", version("rdkit"))
for method in ("KDG", "ETDG", "ETKDG", "ETKDGv2", "ETKDGv3"):
    spread = {seed: np.ptp(embedded(method, seed), axis=0).max() for seed in (0, 1, 7)}
    print(method, {seed: f"{value:.2f} A" for seed, value in spread.items()})
    assert spread[1] > 0.5 and spread[7] > 0.5
    assert spread[0] == 0, "seed 0 gives different conformers: the finding is out of date"
pruned = {seed: len(embedded("ETKDGv3", seed, 10, pruneRmsThresh=0.1)) for seed in (0, 1)}
print("left of ten after pruning at 0.1 A:", pruned)
assert pruned[0] == 1 < pruned[1]
sequential = np.ptp(embedded("ETKDGv3", 0, enableSequentialRandomSeeds=True), axis=0).max()
print(f"seed 0, sequential seeds: {sequential:.2f} A")
assert sequential > 0.5
EOF
