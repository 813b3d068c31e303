"""i-PI's multiple time stepping with a learned potential inside; run where i-PI is installed too.

    PYTHON benchmarks/peer_mts.py START.traj MODEL STRIDE_FS STRIDES OUT

GFN2 is the slow force and the potential of the model file the fast one: r-RESPA, at constant
energy. Beside it run the correctors ``impulse`` and ``mollified`` of this project from the same
start. The energies are those of GFN2 at the positions of each.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.io import read, write

from benchmarks.wall_clock import NetworkCalculator
from kstep_integrators import KStepDynamics, load_model
from kstep_integrators.calculators import xtb_calculator

__DRIVER_NAME__, __DRIVER_CLASS__ = "custom", "Method"
"""Names by which i-PI finds the class of forces in this file."""
BASE_FS = 0.5
INPUT = """<simulation verbosity='quiet' safe_stride='1000000'>
  <output prefix='out'></output>
  <ffdirect name='physics' pbc='false'>
    <pes>custom</pes> <pes_path>{here}</pes_path>
    <parameters>{{template:{start},model:GFN2-xTB}}</parameters>
  </ffdirect>
  <ffdirect name='inner' pbc='false'>
    <pes>custom</pes> <pes_path>{here}</pes_path>
    <parameters>{{template:{start},model:{model}}}</parameters>
  </ffdirect>
  <system>
    <initialize nbeads='1'>
      <file mode='ase' units='ase'> {start} </file>
      <velocities mode='thermal' units='kelvin'> 300 </velocities>
    </initialize>
    <forces>
      <force forcefield='physics'><mts_weights> [1, 0] </mts_weights></force>
      <force forcefield='inner'><mts_weights> [-1, 1] </mts_weights></force>
    </forces>
    <ensemble><temperature units='kelvin'> 300 </temperature></ensemble>
    <motion mode='dynamics'>
      <fixcom> False </fixcom>
      <dynamics mode='nve'>
        <timestep units='femtosecond'> {stride} </timestep> <nmts> [1, {k}] </nmts>
      </dynamics>
    </motion>
  </system>
</simulation>"""


class Method:
    """Energies and forces of GFN2, or of a model file, as i-PI asks its Python forces for them."""

    def __init__(self, template: str, model: str, **_: Any) -> None:
        found = read(template)
        self.atoms = found if isinstance(found, Atoms) else found[0]
        self.atoms.pbc, self.atoms.cell = False, None  # it has a cell for i-PI alone
        own = model != "GFN2-xTB"
        self.atoms.calc = NetworkCalculator(model=model) if own else xtb_calculator(model)

    def __call__(self, cell: Any, pos: Any) -> tuple[Any, Any, Any, str]:
        """Energy, forces, no virial, and nothing else, in atomic units."""
        self.atoms.positions[:] = pos * units.Bohr
        energy = self.atoms.get_potential_energy() / units.Hartree
        forces = self.atoms.get_forces() * (units.Bohr / units.Hartree)
        return np.float64(energy), forces, np.zeros((3, 3)), ""


def mts(atoms: Atoms, model: str, stride_fs: float, strides: int) -> list[float]:
    """Total energies of a run of i-PI after each stride, eV."""
    from ipi.scripting import InteractiveSimulation

    boxed = atoms.copy()
    boxed.cell, boxed.pbc = [50.0] * 3, True
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # i-PI writes where it stands
        write("start.xyz", boxed, format="extxyz")
        text = INPUT.format(
            here=Path(__file__).resolve(), start="start.xyz", model=model, stride=stride_fs,
            k=round(stride_fs / BASE_FS),
        )  # fmt: skip
        simulation = InteractiveSimulation(text)
        simulation.set_structures(boxed)
        aside, energies = atoms.copy(), []
        aside.calc = xtb_calculator("GFN2-xTB")
        for _ in range(strides):
            simulation.run(1, write_outputs=False)
            there = simulation.get_structures()
            aside.positions[:] = there.positions
            aside.set_momenta(there.get_momenta())
            energies.append(float(aside.get_total_energy()))
    return energies


def own(corrector: str, atoms: Atoms, model: str, stride_fs: float, strides: int) -> list[float]:
    """The same of a run of this project."""
    moving, aside, energies = atoms.copy(), atoms.copy(), []
    moving.calc, aside.calc = xtb_calculator("GFN2-xTB"), xtb_calculator("GFN2-xTB")
    dynamics = KStepDynamics(
        moving, load_model(model, device="cpu"), k=round(stride_fs / BASE_FS),
        timestep=BASE_FS * units.fs, corrector=corrector,
    )  # fmt: skip
    for _ in range(strides):
        dynamics.run(1)
        aside.positions[:] = moving.positions
        energies.append(float(aside.get_potential_energy() + moving.get_kinetic_energy()))
    return energies


def main() -> None:
    """Both runs, and their energies as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("start", type=Path)
    parser.add_argument("model")
    parser.add_argument("stride_fs", type=float)
    parser.add_argument("strides", type=int)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    found = read(given.start)
    atoms, out = found if isinstance(found, Atoms) else found[0], given.out.absolute()
    run = (str(Path(given.model).absolute()), given.stride_fs, given.strides)
    energies = {name: own(name, atoms, *run) for name in ("impulse", "mollified")}
    energies["i-PI"] = mts(atoms, *run)
    version = importlib.metadata.version("ipi")
    out.write_text(json.dumps({"atoms": len(atoms), "version": version, "energies": energies}))


if __name__ == "__main__":
    main()
