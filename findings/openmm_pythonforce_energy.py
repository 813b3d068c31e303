"""OpenMM: a PythonForce whose function returns its energy as an array of one element."""

from __future__ import annotations

import sys

import numpy as np
import openmm
from openmm import unit


def energy_read(value: object) -> float:
    """Energy that OpenMM takes a returned value for, kJ/mol."""
    system = openmm.System()
    system.addParticle(1.0)
    system.addForce(openmm.PythonForce(lambda state: (value, np.zeros((1, 3)))))
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions([[0.0, 0.0, 0.0]])
    energy = context.getState(energy=True).getPotentialEnergy()
    return float(energy.value_in_unit(unit.kilojoule_per_mole))


def main() -> int:
    """Print what is read for each form of 5 kJ/mol; 0 if an array is misread."""
    readings = {form: energy_read(value) for form, value in (
        ("5.0", 5.0), ("numpy.array(5.0)", np.array(5.0)), ("numpy.array([5.0])", np.array([5.0])),
        ("[5.0]", [5.0]), ("None", None),
    )}  # fmt: skip
    for form, reading in readings.items():
        print(f"returned {form}: OpenMM {openmm.__version__} reads {reading} kJ/mol")
    return int(readings["numpy.array([5.0])"] == 5.0)


if __name__ == "__main__":
    sys.exit(main())
