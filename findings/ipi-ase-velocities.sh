#!/usr/bin/env bash
# Velocities that i-PI writes with format="ase" are read as zero, by ASE and by i-PI itself.
#
# Expected: an extended XYZ file with momenta, which is where ASE keeps motion, or a column that one of the two takes
# back. https://docs.ipi-code.org/output-files.html names the format for any trajectory quantity, in ASE's units.
# Seen: the frame has a column `velocities`, positions that are all zero, and no momenta. ASE keeps the column as an
# array of that name, and get_velocities() is zero, which is also what a frame at rest says. The reader of i-PI's
# initializer takes the positions, which are zero, for whatever quantity it is asked for. (Positions survive.)
# Why it matters: a run that is started from such a file starts cold, in silence. The column name is as common in
# other codes' files (`vel`, `velo`), and ASE takes none of them.
# What we do: such columns are read as velocities, in a unit that is asked for.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check ipi==3.3.1 ase==3.29.0 numpy==2.4.6

OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
import io
from importlib.metadata import version

import numpy as np
from ase.io import read
from ipi.engine.atoms import Atoms
from ipi.engine.cell import Cell
from ipi.engine.initializer import init_file
from ipi.utils.io import print_file

water = Atoms(3)
water.names = np.array(["O", "H", "H"])
cell = Cell(np.diag([20.0, 20.0, 20.0]))
dimension = {"positions": "length", "velocities": "velocity"}


def written(values, key):
    """Text of a frame, as i-PI's trajectory outputs write it."""
    water.q = values.reshape(-1)
    text = io.StringIO()
    print_file("ase", water, cell, filedesc=text, key=key, dimension=dimension[key])
    return text.getvalue()


print("i-PI", version("ipi"), "ase", version("ase"))
values = np.array([[0.1, 0.2, 0.3], [1.1, 0.2, 0.3], [0.1, 1.3, 0.4]])
for key in dimension:
    with open(f"{key}.extxyz", "w") as file:
        file.write(written(values, key))
    frame = read(f"{key}.extxyz", format="extxyz")
    frames, _ = init_file("ase", f"{key}.extxyz", dimension=dimension[key])
    back = np.array(frames[0].q).reshape(-1, 3)
    print(f"{key}: columns {sorted(frame.arrays)}; largest |x| {np.abs(frame.positions).max():.3f} A,", end=" ")
    print(f"|v| {np.abs(frame.get_velocities()).max():.3f}; read by i-PI {np.abs(back).max():.3f}")
    if key == "positions":
        assert np.allclose(back, values, atol=1e-6)
    else:
        assert np.abs(frame.arrays["velocities"]).max() > 0 and not frame.has("momenta"), "the finding is out of date"
        assert not frame.get_velocities().any() and not frame.positions.any()
        assert not back.any(), "i-PI reads velocities: the finding is out of date"
EOF
