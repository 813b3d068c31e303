"""MDAnalysis: the time between frames of a DCD that is copied."""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

import MDAnalysis


def main() -> int:
    """Print the times; 0 if the copy has another than the original."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        original, copy = str(Path(folder) / "original.dcd"), str(Path(folder) / "copy.dcd")
        universe = MDAnalysis.Universe.empty(2, trajectory=True)
        with MDAnalysis.Writer(original, 2, dt=0.5) as writer:
            for _ in range(3):
                writer.write(universe.atoms)
        universe.load_new(original)
        before = universe.trajectory.dt
        universe.atoms.write(copy, frames="all")
        universe.load_new(copy)
        after = universe.trajectory.dt
    print(f"original: {before:.3f} ps between frames; copy: {after:.3f} ps")
    return int(abs(before - after) < 1e-3)


if __name__ == "__main__":
    sys.exit(main())
