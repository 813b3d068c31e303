"""Direct jumps from files, and ethanol whose C-H and O-H bonds may be fixed, in both hosts."""

import numpy as np
import pytest
import torch
from openmm import unit

from kstep_integrators import KStepDynamics, load_model
from kstep_integrators.calculators import OpenMMCalculator, fixed_bonds
from kstep_integrators.models.model_file import ModelHeader, write_model
from kstep_integrators.openmm import KStepIntegrator
from tests.conftest import ELEMENTS, hot
from tests.direct_systems import STRIDES, untrained
from tests.openmm.systems import Counted, make_context, place, springs, where

FS = unit.femtosecond
# Untrained networks break bonds, and KStepDynamics warns of it.
BONDS = "ignore::kstep_integrators.KStepWarning"
BATH = {"temperature": 300 * unit.kelvin, "friction": 10 / unit.picosecond}
HYDROGEN = 1


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Direct jumps from files."""

    def made(baseline="verlet", constraints="none", size=1e-4, **config):
        scales = [[[size * k, size * k]] * len(ELEMENTS) for k in STRIDES]
        network = untrained(baseline, scales=scales, **config)
        path = tmp_path_factory.mktemp("models") / "direct.safetensors"
        header = ModelHeader(
            "direct", network.config, "none", constraints=constraints, kind="increments"
        )
        write_model(path, network, header)
        return load_model(path, device="cpu", dtype=torch.float64)

    return made


def molecule_of(fixed):
    """Ethanol, its springs, and its C-H and O-H bonds fixed if wanted."""
    molecule = hot(temperature=300.0)
    system = springs(hot())
    if fixed:
        distances = molecule.get_all_distances()
        for i in np.flatnonzero(molecule.numbers == HYDROGEN):
            heavy = int(np.where(molecule.numbers == HYDROGEN, np.inf, distances[i]).argmin())
            system.addConstraint(heavy, int(i), float(distances[i, heavy]) / 10.0)
        molecule.set_constraint(fixed_bonds(system))
        molecule.set_positions(molecule.get_positions())
        molecule.set_momenta(molecule.get_momenta())
    return molecule, system


def both(jump, jumps, fixed, platform="Reference", hosts=({}, {}), **settings):
    """The same run in both hosts: context, integrator, calls of the physics, dynamics."""
    molecule, system = molecule_of(fixed)
    molecule.calc = OpenMMCalculator(system)
    counter = Counted().join(system)
    integrator = KStepIntegrator(system, jump, **settings, **hosts[0])
    context = place(make_context(system, integrator, platform), molecule)
    dynamics = KStepDynamics(molecule, jump, **settings, **hosts[1])
    integrator.step(jumps)
    dynamics.run(jumps)
    assert integrator.stats.bond_changes == dynamics.stats.bond_changes
    return context, integrator, counter, dynamics


def distance(context, dynamics):
    return float(np.abs(where(context) - dynamics.atoms.positions / 10.0).max())


def off_lengths(system, positions):
    """Largest relative error of a constrained length."""
    fixed = [system.getConstraintParameters(i) for i in range(system.getNumConstraints())]
    return max(
        abs(np.linalg.norm(positions[i] - positions[j]) / (length / unit.nanometer) - 1.0)
        for i, j, length in fixed
    )
