"""Systems apart from their forces: masses, constraints, and the force field from conda-forge."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import openmm
import pytest
from ase.data import atomic_masses
from openmm import unit

from kstep_training.prep.molecules import conformers, hydrogenated
from kstep_training.prep.systems import build_system, check_force_field


def test_masses_are_ases() -> None:
    system = build_system(hydrogenated("CCl"))
    masses = [system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(5)]
    assert masses == pytest.approx(atomic_masses[[6, 17, 1, 1, 1]], abs=1e-12)
    assert system.getNumConstraints() == 0
    assert not system.usesPeriodicBoundaryConditions()


def test_bonds_with_hydrogen_can_be_constrained() -> None:
    system = build_system(hydrogenated("CO"), constraints="HBonds")
    result = [system.getConstraintParameters(i) for i in range(system.getNumConstraints())]
    pairs = {frozenset(pair) for *pair, _ in result}
    assert pairs == {frozenset(p) for p in [(0, 2), (0, 3), (0, 4), (1, 5)]}
    lengths = sorted(length.value_in_unit(unit.angstrom) for *_, length in result)
    assert lengths == pytest.approx([0.972, 1.093, 1.093, 1.093])


def test_two_femtoseconds_with_constraints_conserve_energy() -> None:
    (atoms,) = conformers("CO")
    system = build_system(hydrogenated("CO"), constraints="HBonds")
    integrator = openmm.VerletIntegrator(0.002)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, integrator, platform)
    context.setPositions(atoms.positions / 10.0)
    context.applyConstraints(1e-8)
    context.setVelocitiesToTemperature(300.0, 1)
    totals = []
    for _ in range(50):
        integrator.step(10)
        state = context.getState(energy=True)
        totals.append((state.getPotentialEnergy() + state.getKineticEnergy())._value)
    assert max(totals) - min(totals) < 1.0  # kJ/mol, of some 15 kinetic


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"forcefield": "amber"}, "forcefield is 'amber', expected one of mmff94, mmff94s, openff"),
        ({"constraints": "AllBonds"}, "constraints is 'AllBonds', expected 'HBonds' or null"),
    ],
)
def test_unknown_arguments(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_system(hydrogenated("C"), **arguments)


def test_without_openff_its_channel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openff", None)
    with pytest.raises(ImportError, match="conda install -c conda-forge openff-toolkit"):
        check_force_field("openff")
    with pytest.raises(ImportError, match="forcefield 'mmff94'"):
        build_system(hydrogenated("C"), "openff")


@pytest.mark.parametrize(
    ("constraints", "file"),
    [(None, "openff_unconstrained-2.2.1.offxml"), ("HBonds", "openff-2.2.1.offxml")],
)
def test_openff_is_given_the_molecule_as_it_is(
    monkeypatch: pytest.MonkeyPatch, constraints: str | None, file: str
) -> None:
    # openff-toolkit cannot be installed from PyPI: a stand-in with the calls that are made of it.
    seen: dict[str, Any] = {}

    class Molecule:
        @staticmethod
        def from_rdkit(mol: Any, **options: bool) -> Any:
            seen.update(atoms=mol.GetNumAtoms(), options=options)
            return SimpleNamespace(to_topology=lambda: "topology")

    class ForceField:
        def __init__(self, name: str) -> None:
            seen["file"] = name

        def create_openmm_system(self, topology: str) -> openmm.System:
            seen["topology"] = topology
            system = openmm.System()
            for _ in range(5):
                system.addParticle(1.0)
            return system

    toolkit = ModuleType("openff.toolkit")
    toolkit.__dict__.update(Molecule=Molecule, ForceField=ForceField)
    package = ModuleType("openff")
    package.__dict__.update(toolkit=toolkit)
    monkeypatch.setitem(sys.modules, "openff", package)
    monkeypatch.setitem(sys.modules, "openff.toolkit", toolkit)
    system = build_system(hydrogenated("C"), "openff", constraints)
    assert seen["file"] == file
    assert (seen["atoms"], seen["topology"]) == (5, "topology")
    assert seen["options"]["hydrogens_are_explicit"]
    assert system.getParticleMass(0)._value == pytest.approx(12.011)
