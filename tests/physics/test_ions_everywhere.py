"""Charge and spin of ions and radicals travel through every door, to the right energies."""

import functools
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import BFGS

from kstep_integrators import (
    CalculatorPotential,
    Ensemble,
    KStepDynamics,
    KStepWarning,
    SumPotential,
)
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.physics.workers import Request, make_workers


def hydroxide() -> Atoms:
    return Atoms("OH", [[0, 0, 0], [0, 0, 0.96]], info={"charge": -1})


def ammonium() -> Atoms:
    corners = [[0, 0, 0], [1, 1, 1], [-1, -1, 1], [1, -1, -1], [-1, 1, -1]]
    atoms = Atoms("NH4", 0.59 * np.array(corners))
    atoms.set_initial_charges([-0.4, 0.35, 0.35, 0.35, 0.35])
    return atoms


def methyl() -> Atoms:
    angles = np.radians([0, 120, 240])
    ring = 1.08 * np.array([np.cos(angles), np.sin(angles), 0 * angles]).T
    return Atoms("CH3", np.vstack([[0, 0, 0], ring]), info={"spin": 2, "total_charge": 0})


def magnesium_water() -> Atoms:
    """An even number of electrons whatever the charge: nothing but the energy tells."""
    atoms = Atoms("MgOH2", [[0, 0, -1.95], [0, 0, 0], [0, 0.77, 0.57], [0, -0.77, 0.57]])
    atoms.info["charge"] = 2
    return atoms


IONS = {
    "OH-": (hydroxide, -1, 1),
    "NH4+": (ammonium, 1, 1),
    "CH3": (methyl, 0, 2),
    "Mg(H2O)2+": (magnesium_water, 2, 1),
}


@pytest.fixture(params=IONS)
def ion(request) -> tuple[Atoms, float, np.ndarray]:
    """An ion, and energy and forces of tblite told by arguments."""
    from tblite.ase import TBLite

    make, charge, multiplicity = IONS[request.param]
    bare = Atoms(make().numbers, make().positions)
    polarized = {"spin_polarization": 1.0} if multiplicity > 1 else {}
    bare.calc = TBLite(method="GFN2-xTB", charge=charge, multiplicity=multiplicity, verbosity=0,
                       **polarized)  # fmt: skip
    return make(), bare.get_potential_energy(), bare.get_forces()


def made_for(atoms: Atoms) -> Calculator:
    return xtb_calculator()


def test_calculator_and_potential(ion):
    atoms, energy, forces = ion
    state = state_from_atoms(atoms)
    for potential in (
        CalculatorPotential(xtb_calculator()),
        SumPotential(CalculatorPotential(xtb_calculator())),
    ):
        found, _ = potential.bind(state)(state.positions, None)
        assert float(found.energy[0]) == pytest.approx(energy, abs=1e-5)
        assert found.require_forces().numpy() == pytest.approx(forces, abs=1e-4)
    atoms.calc = xtb_calculator()
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-5)


def test_runs_fallbacks_and_resumes(ion, tmp_path: Path):
    atoms, energy, _ = ion
    atoms.calc = xtb_calculator()
    run = KStepDynamics(
        atoms, CalculatorPotential(xtb_calculator()), k=2, checkpoint=tmp_path / "run.ckpt"
    )
    assert run.get_conserved_energy() == pytest.approx(energy, abs=1e-5)
    run.run(2)
    assert run.stats.residual_rms < 1e-3  # potential and physics are of one charge
    assert run.get_conserved_energy() == pytest.approx(energy, abs=0.02)
    going = KStepDynamics.resume(
        tmp_path / "run.ckpt", xtb_calculator(), CalculatorPotential(xtb_calculator())
    )
    going.run(2)
    assert going.stats.residual_rms < 1e-3
    assert going.stats.fallbacks == 0
    charge = {2: 0, 5: 0, 4: 1}[len(atoms)]
    atoms.set_initial_charges(None)
    atoms.info.clear()
    atoms.info.update(charge=charge, uhf=(sum(atoms.numbers) - charge) % 2)
    run.run(2)  # another charge from here on, of potential and physics
    assert run.stats.residual_rms < 1e-3
    assert abs(run.get_conserved_energy() - energy) > 0.5


@pytest.mark.parametrize("workers", [1, 2])
def test_ensembles_and_workers(workers):
    molecules = [make() for make, _, _ in IONS.values()]
    expected = []
    for atoms, (_, charge, multiplicity) in zip(molecules, IONS.values(), strict=True):
        bare = Atoms(atoms.numbers, atoms.positions)
        bare.calc = xtb_calculator(charge=charge, multiplicity=multiplicity)
        expected.append(bare.get_potential_energy())
    asked = make_workers(made_for, workers)
    try:
        answers = asked.evaluate([Request(i, atoms) for i, atoms in enumerate(molecules)])
    finally:
        asked.close()
    assert [answer.energy for answer in answers] == pytest.approx(expected, abs=1e-5)
    potential = CalculatorPotential(xtb_calculator())
    with Ensemble(molecules, potential, made_for, k=2, workers=workers) as ensemble:
        ensemble.run(2)
        replicas = ensemble.result().replicas
    for replica, energy, atoms in zip(replicas, expected, molecules, strict=True):
        assert replica.failure is None
        assert replica.stats.residual_rms < 1e-3
        total = replica.atoms.get_potential_energy() + replica.atoms.get_kinetic_energy()
        assert total == pytest.approx(energy, abs=0.03)
        assert {**atoms.info, **replica.atoms.info} == replica.atoms.info


class Watcher(Calculator):
    """A spring to the origin that notes all that its atoms are."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Atoms] = []

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        self.seen.append(self.atoms)
        x = self.atoms.positions
        self.results = {"energy": 0.5 * float((x**2).sum()), "forces": -x}


def decorated() -> Atoms:
    atoms = Atoms("OH2", [[0, 0, 0], [0, 0.8, 0.6], [0, -0.8, 0.6]], cell=[7, 8, 9], pbc=True)
    atoms.info.update(charge=1, label="mine", smiles="[OH2+]")
    atoms.set_tags([3, 4, 5])
    atoms.set_masses([15.9, 2.014, 1.008])
    atoms.set_initial_magnetic_moments([1.0, 0, 0])
    atoms.set_initial_charges([0.4, 0.3, 0.3])
    atoms.set_array("fragments", np.array([7, 7, 8]))
    return atoms


def test_potentials_see_all_that_the_atoms_are():
    given = decorated()
    potential, physics = Watcher(), Watcher()
    atoms = given.copy()
    atoms.calc = physics
    KStepDynamics(atoms, CalculatorPotential(potential), k=2).run(2)
    with Ensemble([given, given], CalculatorPotential(second := Watcher()), lambda _: Watcher(),
                  k=2) as ensemble:  # fmt: skip
        ensemble.run(1)
    for seen in (potential.seen[-1], physics.seen[-1], second.seen[-1]):
        assert seen.info == given.info
        assert seen.pbc.all()
        assert np.array_equal(seen.cell.array, given.cell.array)
        for name in ("tags", "masses", "initial_magmoms", "initial_charges", "fragments"):
            assert np.array_equal(seen.get_array(name), given.get_array(name)), name


def test_a_part_has_its_own_charges_and_not_those_of_the_whole():
    given = decorated()
    watcher = Watcher()
    state = state_from_atoms(given)
    SumPotential((CalculatorPotential(watcher), [0, 2])).bind(state)(state.positions, None)
    seen = watcher.seen[-1]
    assert seen.info == {"label": "mine", "smiles": "[OH2+]"}
    assert seen.get_tags().tolist() == [3, 5]
    assert seen.get_initial_charges().tolist() == [0.4, 0.3]


def test_files_and_commands(ion, tmp_path: Path):
    from kstep_training.inputs.models import read_model
    from kstep_training.inputs.molecules import read_molecule
    from kstep_training.inputs.physics import make_physics

    atoms, energy, _ = ion
    for name in ("x.traj", "x.xyz"):
        ase.io.write(tmp_path / name, atoms)
        read = read_molecule(tmp_path / name).atoms
        bare = read.copy()
        bare.info.clear()  # what a command makes is told by arguments
        bare.calc = make_physics("GFN2-xTB")(read)
        assert bare.get_potential_energy() == pytest.approx(energy, abs=1e-5)
        state = state_from_atoms(read)
        bound = read_model("GFN2-xTB", read).bind(state)
        assert float(bound(state.positions, None)[0].energy) == pytest.approx(energy, abs=1e-5)


def test_relaxed_and_copied(ion):
    atoms, energy, _ = ion
    atoms.calc = xtb_calculator()
    BFGS(atoms, logfile=None).run(fmax=0.1, steps=20)
    relaxed = atoms.get_potential_energy()
    assert energy - 1.0 < relaxed <= energy + 1e-6
    copied = atoms.copy()
    copied.calc = xtb_calculator()
    assert copied.get_potential_energy() == pytest.approx(relaxed, abs=1e-5)


def test_models_are_asked_in_openmm_too():
    openmm = pytest.importorskip("openmm")
    from kstep_integrators.openmm import KStepIntegrator, add_jump

    def system(*charges: float) -> Any:
        made, coulomb = openmm.System(), openmm.NonbondedForce()
        for mass, charge in zip((15.999, 1.008, 1.008), charges, strict=False):
            made.addParticle(mass)
            coulomb.addParticle(charge, 0.3, 0.1)
        made.addForce(coulomb)
        return made

    for use in (add_jump, functools.partial(KStepIntegrator, k=4)):
        with pytest.warns(KStepWarning, match=r"the System has charge -1 \(fitted to: 0\)"):
            use(system(-1.3, 0.3), "organic-gfn2")
        use(system(-0.8, 0.4, 0.4), "organic-gfn2")  # warnings are errors


def test_openmm_calculator_has_the_charges_of_its_system():
    openmm = pytest.importorskip("openmm")
    from kstep_integrators.calculators import OpenMMCalculator

    system, coulomb = openmm.System(), openmm.NonbondedForce()
    for mass, charge in ((15.999, -1.3), (1.008, 0.3)):
        system.addParticle(mass)
        coulomb.addParticle(charge, 0.1, 0.0)
    system.addForce(coulomb)
    atoms = hydroxide()
    atoms.calc = OpenMMCalculator(system)
    expected = -14.39964548 * 1.3 * 0.3 / 0.96  # e^2 / (4 pi epsilon_0), eV angstrom
    assert atoms.get_potential_energy() == pytest.approx(expected, rel=1e-4)
    atoms.info["charge"] = 0
    with pytest.raises(ValueError, match="charge 0, but the System has -1"):
        atoms.get_potential_energy()
    assert torch.get_default_dtype() == torch.float32
