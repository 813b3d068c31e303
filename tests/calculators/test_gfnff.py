"""GFN-FF: one topology for one molecule, wherever the calculator is used."""

import copy
import functools
import pickle

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from kstep_integrators import (
    CalculatorPotential,
    Ensemble,
    KStepDynamics,
    KStepWarning,
)
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.testing import BrokenCalculator, CountingCalculator
from tests.conftest import hot

pytest.importorskip("xtb", reason="xtb has no wheel for this Python")

gfnff = functools.partial(xtb_calculator, "GFN-FF")


def energy(atoms: Atoms, calculator) -> float:
    alone = atoms.copy()
    alone.calc = calculator
    return alone.get_potential_energy()


def sorted_molecule(name: str) -> Atoms:
    """A molecule with its atoms in the order of their elements, the same for isomers."""
    atoms = molecule(name)
    return atoms[np.argsort(atoms.numbers, kind="stable")]


def ammonium() -> Atoms:
    corners = [[0, 0, 0], [1, 1, 1], [-1, -1, 1], [1, -1, -1], [-1, 1, -1]]
    return Atoms("NH4", 0.6 * np.array(corners), info={"charge": 1})


def stretched(atoms: Atoms, by: float) -> Atoms:
    """Atom 1 moved away from atom 0."""
    moved = atoms.copy()
    bond = atoms.positions[1] - atoms.positions[0]
    moved.positions[1] += by * bond / np.linalg.norm(bond)
    return moved


def far_from(start: Atoms, by: float) -> Atoms:
    """Stretched in small steps, on a calculator that has seen them all."""
    moved = start.copy()
    moved.calc = gfnff()
    for way in np.linspace(0.0, by, 5):
        moved.positions[:] = stretched(start, way).positions
        moved.get_potential_energy()
    return moved


@pytest.mark.parametrize(("one", "other"), [("CH3CH2OH", "CH3OCH3"), ("cyclobutane", "isobutene")])
def test_isomers_have_their_own_bonds_in_one_calculator(one, other):
    isomers = [sorted_molecule(one), sorted_molecule(other)]
    assert isomers[0].numbers.tolist() == isomers[1].numbers.tolist()
    expected = [energy(atoms, gfnff()) for atoms in isomers]
    calculator = gfnff()
    assert energy(isomers[0], calculator) == pytest.approx(expected[0], abs=1e-9)
    with pytest.warns(KStepWarning, match="not its bonds .*computed as another molecule"):
        second = energy(isomers[1], calculator)
    assert second == pytest.approx(expected[1], abs=1e-9)
    again = [energy(atoms, calculator) for atoms in isomers]
    assert again == pytest.approx(expected, abs=1e-9)


def test_atoms_that_become_an_isomer_at_once_are_refused_until_the_reset():
    ether = sorted_molecule("CH3OCH3")
    atoms = sorted_molecule("CH3CH2OH")
    atoms.calc = gfnff()
    atoms.get_potential_energy()
    atoms.positions = ether.positions
    with pytest.raises(ValueError, match=r"have lost the bonds .*Call reset\(\)"):
        atoms.get_potential_energy()
    atoms.calc.reset()
    assert atoms.get_potential_energy() == pytest.approx(energy(ether, gfnff()), abs=1e-9)


def test_a_motion_keeps_the_bonds_that_it_breaks_until_the_reset():
    for start in (ammonium(), molecule("CH3CH2OH")):
        moved = far_from(start, 1.2)
        other = moved.calc.get_potential_energy(molecule("H2O"))  # in between
        assert other == pytest.approx(energy(molecule("H2O"), gfnff()), abs=1e-9)
        kept = moved.get_potential_energy()
        assert kept == pytest.approx(energy(moved, gfnff(reference=start)), abs=1e-8)
        moved.calc.calculate(moved)
        assert moved.calc.results["energy"] == pytest.approx(kept, abs=1e-9)
        moved.calc.reset()
        assert abs(moved.get_potential_energy() - kept) > 0.3


def test_a_dissociation_at_once_keeps_the_bonds():
    atoms = molecule("H2O")
    atoms.calc = gfnff()
    atoms.get_potential_energy()
    atoms.positions[:] = stretched(atoms, 2.0).positions
    reference = gfnff(reference=molecule("H2O"))
    assert atoms.get_potential_energy() == pytest.approx(energy(atoms, reference), abs=1e-9)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])  # noqa: S301
def test_copies_keep_the_bonds(duplicate):
    moved = far_from(molecule("H2O"), 1.0)
    kept = moved.get_potential_energy()
    assert energy(moved, duplicate(moved.calc)) == pytest.approx(kept, abs=1e-9)
    assert abs(energy(moved, gfnff()) - kept) > 0.05


def test_edits_of_a_run_do_not_make_new_bonds():
    atoms = hot("water")
    start = atoms.copy()
    atoms.calc = gfnff()
    dynamics = KStepDynamics(atoms, CalculatorPotential(gfnff()), k=1)
    dynamics.run(1)
    for way in (0.3, 0.6, 0.9):
        atoms.positions[:] = stretched(start, way).positions
        atoms.get_potential_energy()
    atoms.info["note"] = "an edit"  # for which results are forgotten
    assert dynamics.get_conserved_energy() - atoms.get_kinetic_energy() == pytest.approx(
        energy(atoms, gfnff(reference=start)), abs=1e-9
    )


def test_fallbacks_keep_the_bonds():
    start = molecule("H2O")
    atoms = far_from(start, 1.0)
    atoms.set_momenta(np.zeros((3, 3)))
    counter = atoms.calc = CountingCalculator(atoms.calc)
    failing = CalculatorPotential(BrokenCalculator(gfnff(), broken=range(100)))
    dynamics = KStepDynamics(atoms, failing, k=4)
    with pytest.warns(KStepWarning):
        dynamics.run(3)
    assert dynamics.stats.fallbacks == 3
    assert counter.evaluations > 3
    wanted = energy(atoms, gfnff(reference=start))
    assert atoms.get_potential_energy() == pytest.approx(wanted, abs=1e-8)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_have_the_bonds_of_a_reference(workers):
    start = molecule("H2O")
    moved = stretched(start, 1.0)
    factory = functools.partial(_factory, start)
    with Ensemble([moved, start.copy()], CalculatorPotential(gfnff(reference=start)), factory,
                  k=2, workers=workers) as ensemble:  # fmt: skip
        ensemble.run(2)
    for replica in ensemble.result().replicas:
        wanted = energy(replica.atoms, gfnff(reference=start))
        assert replica.atoms.get_potential_energy() == pytest.approx(wanted, abs=1e-8)


def _factory(reference: Atoms, atoms: Atoms):
    return gfnff(reference=reference)


def test_an_ensemble_of_isomers_on_one_potential():
    isomers = [sorted_molecule("CH3CH2OH"), sorted_molecule("CH3OCH3")]
    potential = CalculatorPotential(gfnff())
    ensemble = Ensemble(isomers, potential, lambda atoms: gfnff(), k=4)
    with pytest.warns(KStepWarning, match="not its bonds"):
        ensemble.run(3)
    for replica, atoms in zip(ensemble.result().replicas, isomers, strict=True):
        wanted = energy(replica.atoms, gfnff(reference=atoms))
        assert replica.atoms.get_potential_energy() == pytest.approx(wanted, abs=1e-8)
        assert replica.stats.residual_rms < 1e-6  # potential and physics have the same bonds


def test_a_run_that_is_gone_on_with_has_the_bonds_of_its_reference(tmp_path):
    start = molecule("H2O")
    atoms = far_from(start, 1.0)
    atoms.calc = gfnff(reference=start)
    cheap = CalculatorPotential(gfnff(reference=start))
    KStepDynamics(atoms, cheap, k=2, checkpoint=tmp_path / "run.ckpt").run(2)
    going = KStepDynamics.resume(
        tmp_path / "run.ckpt", gfnff(reference=start), CalculatorPotential(gfnff(reference=start))
    )
    going.run(2)
    assert going.stats.residual_rms < 1e-6
    wanted = energy(going.atoms, gfnff(reference=start))
    assert going.atoms.get_potential_energy() == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("pbc", [True, [True, True, False], [True, False, False]])
def test_cells_are_refused(pbc):
    atoms = molecule("H2O", cell=[8, 8, 8], pbc=pbc)
    atoms.calc = gfnff()
    with pytest.raises(ValueError, match="GFN-FF of xtb's library has no cells"):
        atoms.get_potential_energy()


def test_a_reference_has_bonds_for_every_charge():
    start = ammonium()
    neutral = Atoms(start.numbers, start.positions)  # says nothing of a charge
    moved = far_from(start, 1.2)
    kept = energy(moved, gfnff(reference=neutral))
    assert moved.get_potential_energy() == pytest.approx(kept, abs=1e-8)


def test_what_cannot_be_set_is_refused():
    with pytest.raises(TypeError, match="GFN-FF has a charge and nothing else"):
        gfnff().set(solvent="water")
    with pytest.raises(ValueError, match=r"charge is 0\.5, expected a whole number"):
        gfnff(charge=0.5)
    with pytest.raises(ValueError, match=r"the atoms are OH2, but the reference .* is CH4"):
        energy(molecule("H2O"), gfnff(reference=molecule("CH4")))
    with pytest.raises(TypeError, match="reference is 'water', expected an Atoms object"):
        gfnff(reference="water")
    with pytest.raises(ValueError, match="there are no atoms"):
        energy(Atoms(), gfnff())
    with pytest.raises(ValueError, match="reference is for GFN-FF"):
        xtb_calculator("GFN2-xTB", reference=molecule("H2O"))
    atoms = Atoms("OH", [[0, 0, 0], [0, 0, 0.96]])
    atoms.calc = gfnff(charge=-1)
    anion = atoms.get_potential_energy()
    atoms.calc.set(charge=0)
    assert abs(atoms.get_potential_energy() - anion) > 0.1
