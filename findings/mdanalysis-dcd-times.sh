#!/usr/bin/env bash
# A trajectory that MDAnalysis copies frame by frame to DCD has 1 ps between frames, whatever it had.
#
# Expected: the documentation of DCDWriter says of `dt`: "If None guess from first written TimeStep", so the usual
# loop (for ts in u.trajectory: w.write(u.atoms)) keeps times as far as DCD can.
# https://docs.mdanalysis.org/stable/documentation_pages/coordinates/DCD.html
# Seen: the default is not None but 1 ps. Frames of 10 fs, with right times on reading, come out as 0, 1, 2 ps, and so
# with atoms.write(..., frames="all"). XTC and TRR files from the same loop keep their times, DCD does with dt=.
# Why it matters: a diffusion constant from the copy is 100 times too small, a spectrum 100 times too low, and the
# file says so itself.
# What we do: no DCD files are written, and times that a reader makes up are asked for.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check MDAnalysis==2.11.0 numpy==2.4.6

OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
import MDAnalysis as mda
import numpy as np

source = mda.Universe.empty(2, trajectory=True)


def written(name, frames=None, **settings):
    """Times (ps) read back from a file into which frames were written one by one."""
    with mda.Writer(name, 2, **settings) as writer:
        for time in (0.01, 0.02, 0.03, 0.04) if frames is None else [None] * len(frames.trajectory):
            if frames is None:
                source.trajectory.ts.time = time
                writer.write(source.atoms)
        if frames is not None:
            for _ in frames.trajectory:
                writer.write(frames.atoms)
    return mda.Universe(source._topology, name)


print("MDAnalysis", mda.__version__)
first = written("first.xtc")
times = [ts.time for ts in first.trajectory]
print("source", np.round(times, 4), "ps")
assert np.allclose(np.diff(times), 0.01, atol=1e-6)
for name in ("copy.xtc", "copy.trr", "copy.dcd", "with_dt.dcd"):
    settings = {"dt": first.trajectory.dt} if name.startswith("with") else {}
    times = [ts.time for ts in written(name, first, **settings).trajectory]
    print(f"{name:12} {np.round(times, 4)} ps")
    spacing = 1.0 if name == "copy.dcd" else 0.01
    assert np.allclose(np.diff(times), spacing, atol=1e-5), "the finding is out of date"
first.atoms.write("all.dcd", frames="all")
times = [ts.time for ts in mda.Universe(source._topology, "all.dcd").trajectory]
print("frames='all' ", np.round(times, 4), "ps")
assert np.allclose(np.diff(times), 1.0, atol=1e-5), "the finding is out of date"
EOF
