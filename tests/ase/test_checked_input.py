"""Input that cannot be run is refused with what was given and what to do, in both hosts."""

import inspect

import ase.constraints
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.mixing import LinearCombinationCalculator, SumCalculator
from ase.constraints import FixAtoms, FixBondLengths, FixCom
from ase.filters import Filter

from kstep_integrators import (
    CalculatorPotential,
    DynamicsFailed,
    Ensemble,
    FlowJump,
    Guard,
    KStepDynamics,
    KStepWarning,
    load_model,
    named_molecule,
    run_ensemble,
)
from kstep_integrators.ase.atoms import state_from_atoms
from tests.conftest import cheap, hot


def lj(**parameters):
    return LennardJones(**{"sigma": 0.8, "epsilon": 0.1, **parameters})


def water(calculator=None):
    atoms = hot("water")
    atoms.calc = lj() if calculator is None else calculator
    return atoms


def run_of(atoms, **options):
    return KStepDynamics(atoms, CalculatorPotential(lj()), k=2, **options)


# Constraints: every class that ASE has is kept or refused.

CLASSES = [
    name for name in ase.constraints.__all__ if inspect.isclass(getattr(ase.constraints, name))
]
MADE = {
    "FixAtoms": lambda c: c([0]),
    "FixBondLengths": lambda c: c([[0, 1]]),
    "FixCartesian": lambda c: c([0], [True, False, False]),
    "FixCom": lambda c: c(),
    "FixConstraint": lambda c: c(),
    "FixInternals": lambda c: c(bonds=[[0.96, [0, 1]]]),
    "FixLinearTriatomic": lambda c: c([(0, 1, 2)]),
    "FixScaled": lambda c: c([0]),
    "FixSubsetCom": lambda c: c([0, 1]),
    "FixedLine": lambda c: c([0], [0, 0, 1]),
    "FixedPlane": lambda c: c([0], [0, 0, 1]),
    "Hookean": lambda c: c(0, 1, 5.0, rt=1.0),
    "MirrorForce": lambda c: c(0, 1),
}
KEPT = {"FixAtoms", "FixBondLengths", "FixCom"}


@pytest.mark.parametrize("name", CLASSES)
def test_every_constraint_of_ase_is_kept_or_refused(name):
    make = MADE.get(name)
    if make is None:  # those that need more than a molecule are refused by their class alone
        kind = getattr(ase.constraints, name)
        made = kind.__new__(kind)
    else:
        made = make(getattr(ase.constraints, name))
    atoms = water()
    atoms.constraints = [made]
    if name in KEPT:
        run_of(atoms)
    else:
        with pytest.raises(ValueError, match=f"cannot keep the constraint {name}"):
            run_of(atoms)


@pytest.mark.parametrize("base", [FixAtoms, FixBondLengths, FixCom])
def test_a_class_made_from_one_that_is_kept_is_refused(base):
    class Mine(base):
        """May hold more, or less."""

    made = {FixAtoms: lambda: Mine([0]), FixBondLengths: lambda: Mine([[0, 1]]), FixCom: Mine}
    atoms = water()
    atoms.set_constraint(made[base]())
    with pytest.raises(ValueError, match="cannot keep the constraint Mine"):
        run_of(atoms)


def test_a_constraint_set_between_runs_is_refused_before_a_step():
    atoms = water()
    dynamics = run_of(atoms)
    dynamics.run(1)
    before = atoms.get_positions()
    atoms.set_constraint(ase.constraints.FixSubsetCom([0, 1]))
    with pytest.raises(ValueError, match="FixSubsetCom"):
        dynamics.run(1)
    assert np.array_equal(atoms.get_positions(), before)


# Atoms and arguments


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: run_of([water()]), TypeError, "atoms is a list"),
        (lambda: run_of(Filter(water(), indices=[0])), TypeError, "atoms is a Filter"),
        (lambda: run_of(None), TypeError, "atoms is a NoneType"),
        (lambda: run_of(Atoms(calculator=lj())), ValueError, "no atoms in it"),
        (lambda: run_of(hot("water")), ValueError, "no calculator"),
        (lambda: run_of(water(LennardJones)), TypeError, "the class LennardJones"),
        (lambda: run_of(water("EMT")), TypeError, "atoms.calc is 'EMT'"),
        (lambda: run_of(water(), trajectory=3), TypeError, "trajectory is 3"),
        (lambda: run_of(water(), logfile=3.0), TypeError, "logfile is 3.0"),
        (lambda: run_of(water(), checkpoint=True), TypeError, "checkpoint is True"),
        (lambda: run_of(water(), loginterval=0), ValueError, "loginterval is 0"),
        (lambda: run_of(water(), loginterval=-5), ValueError, "loginterval is -5"),
        (lambda: run_of(water(), append_trajectory=1), TypeError, "append_trajectory is 1"),
        (lambda: run_of(water(), device="gpu"), ValueError, "device is 'gpu'"),
        (lambda: run_of(water(), device=0.5), TypeError, "device is 0.5"),
        (lambda: run_of(water(), device="meta"), ValueError, "stays where it is"),
        (lambda: run_of(water(), corrector="impuls"), ValueError, "unknown corrector 'impuls'"),
        (lambda: run_of(water(), guard="strict"), TypeError, "guard is 'strict', expected a Guard"),
        (lambda: Guard(max_energy_change=-1.0), ValueError, "max_energy_change is -1.0"),
        (lambda: Guard(max_speed="fast"), TypeError, "max_speed is 'fast'"),
        (lambda: run_of(water(), fixcm=True), TypeError, r"no argument 'fixcm': .*FixCom\(\)"),
        (lambda: run_of(water(), temperature=0.03, friction=1.0), TypeError,
         "no argument 'temperature': it is called temperature_K here"),
        (lambda: run_of(water(), trajektory="md.traj"), TypeError, "did you mean 'trajectory'"),
        (lambda: CalculatorPotential(None), TypeError, "potential is None, expected an ASE"),
        (lambda: CalculatorPotential(EMT), TypeError, "potential is the class EMT"),
        (lambda: CalculatorPotential("EMT"), TypeError, "potential is 'EMT', expected"),
        (lambda: CalculatorPotential(lj(), timestep=-1.0), ValueError, "timestep is -1.0"),
        (lambda: CalculatorPotential(lj(), timestep="1"), TypeError, "timestep is '1'"),
        (lambda: CalculatorPotential(lj(), timestep=np.nan), ValueError, "timestep is nan"),
        (lambda: FlowJump(None), TypeError, "potential is None"),
        (lambda: FlowJump(CalculatorPotential), TypeError, "potential is <class"),
        (lambda: KStepDynamics(water(lj()), CalculatorPotential), TypeError,
         "model is the class CalculatorPotential"),
        (lambda: KStepDynamics.resume(3, lj()), TypeError, "path is 3, expected a path"),
        (lambda: load_model(3), TypeError, "name_or_path is 3"),
        (lambda: load_model("organic-gfn2", device="gpu"), ValueError, "device is 'gpu'"),
        (lambda: named_molecule(3), TypeError, "name is 3"),
        (lambda: Ensemble(None, cheap(), lambda a: lj()), TypeError, "atoms_list is None"),
        (lambda: Ensemble([water()], cheap(), lambda a: lj(), scheduler=3), TypeError,
         "scheduler is 3, expected the address"),
        (lambda: run_ensemble([water()], cheap(), lambda a: None, steps=1), DynamicsFailed,
         "what the function of the calculators returned is None, expected an ASE calculator"),
        (lambda: run_of(water()).run(2.5), ValueError, "steps is 2.5"),
        (lambda: run_of(water()).run(-1), ValueError, "steps is -1"),
        (lambda: run_of(water()).run(True), ValueError, "steps is True"),
        (lambda: run_ensemble([], cheap(), lambda a: lj(), steps=1), ValueError, "no molecules"),
        (lambda: run_ensemble([[]], cheap(), lambda a: lj(), steps=1), TypeError, "is a list"),
        (lambda: run_ensemble([water()], CalculatorPotential(lj()), lambda a: lj(), steps=0.5),
         ValueError, "steps is 0.5"),
    ],
)  # fmt: skip
def test_it_says_what_is_wrong(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda a: a.set_constraint(FixAtoms([99])), r"FixAtoms holds atoms \[99\]"),
        (lambda a: a.set_constraint(FixAtoms([0, 1, 2])), "holds all 3 atoms"),
        (lambda a: a.set_cell([np.nan] * 3), "cell"),
        (lambda a: a.set_pbc(True), "vectors of its periodic directions are zero"),
        (lambda a: (a.set_cell([[5, 0, 0], [10, 0, 0], [0, 0, 5]]), a.set_pbc(True)), "one plane"),
        (lambda a: a.numbers.__setitem__(0, -1), "numbers of the atoms"),
        (lambda a: a.set_masses([0.0, 1.0, 1.0]), "masses of atoms"),
        (lambda a: a.positions.__setitem__((0, 0), np.nan), "positions of atoms"),
    ],
)
def test_atoms_that_cannot_move_are_refused_at_the_start_and_between_runs(edit, message):
    atoms = water()
    edit(atoms)
    with pytest.raises(ValueError, match=message):
        state_from_atoms(atoms)
    atoms = water()
    dynamics = run_of(atoms)
    dynamics.run(1)
    edit(atoms)
    with pytest.raises(ValueError, match=message):
        dynamics.run(1)


def test_a_slab_needs_vectors_in_its_periodic_directions_only():
    atoms = water()
    atoms.set_cell([[8, 0, 0], [0, 8, 0], [0, 0, 0]])
    atoms.set_pbc([True, True, False])
    assert state_from_atoms(atoms).pbc == (True, True, False)


def test_a_calculator_taken_away_is_missed():
    atoms = water()
    dynamics = run_of(atoms)
    dynamics.run(1)
    atoms.calc = None
    with pytest.raises(ValueError, match="no calculator"):
        dynamics.run(1)


# Answers of calculators


class Odd(LennardJones):
    """Answers otherwise than asked, from the call of a number on."""

    def __init__(self, change, since=1, **parameters):
        super().__init__(sigma=0.8, epsilon=0.1, **parameters)
        self.change, self.since, self.calls = change, since, 0

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.calls += 1
        if self.calls >= self.since:
            self.results.update(self.change(self.results))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: {"forces": r["forces"][:2]}, r"forces of shape \(2, 3\)"),
        (lambda r: {"forces": r["forces"].ravel()}, r"forces of shape \(9,\)"),
        (lambda r: {"forces": r["forces"].astype(complex)}, "type complex"),
        (lambda r: {"energy": np.array([1.0, 2.0])}, r"energy of shape \(2,\)"),
        (lambda r: {"energy": 1.0 + 0j}, "type complex"),
        (lambda r: {"energy": "low"}, "type <U3"),
    ],
)
def test_odd_answers_of_the_physics_are_said(change, message):
    with pytest.raises(RuntimeError, match=message):
        run_of(water(Odd(change))).run(1)


def test_an_energy_in_an_array_of_one_element_is_a_number():
    one = water(Odd(lambda r: {"energy": np.array([r["energy"]])}))
    other = water()
    for atoms in (one, other):
        potential = CalculatorPotential(Odd(lambda r: {"energy": np.array([[r["energy"]]])}))
        dynamics = KStepDynamics(atoms, potential, k=4, timestep=0.5 * units.fs)
        dynamics.run(5)
        assert dynamics.stats.fallbacks == 0
    assert np.array_equal(one.positions, other.positions)


def test_a_potential_that_always_fails_is_heard_now_and_then():
    def fail(results):
        raise RuntimeError("no licence")

    dynamics = KStepDynamics(water(), CalculatorPotential(Odd(fail)), k=2)
    with pytest.warns(KStepWarning, match="no licence.*physics") as told:
        dynamics.run(12)
    assert [str(one.message).split(":")[0] for one in told] == ["step 1", "step 10"]
    assert dynamics.stats.potential_failures == dynamics.stats.fallbacks == 12


def test_a_metropolized_run_that_stands_still_says_so():
    stiff = CalculatorPotential(lj(epsilon=5e3, sigma=2.5))
    dynamics = KStepDynamics(
        water(lj()), stiff, k=20, metropolize=True, temperature_K=300, friction=0.01 / units.fs,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    with pytest.warns(KStepWarning) as told:
        dynamics.run(25)
    assert (dynamics.stats.accepted, dynamics.stats.flips) == (0, 25)
    assert [str(one.message)[:55] for one in told] == [
        "step 10: none of the 10 strides so far was accepted, so"
    ]


def test_a_run_whose_jumps_are_all_undone_says_so():
    """It was counted, and cost k evaluations a stride, without a word."""
    dynamics = KStepDynamics(water(), CalculatorPotential(lj(epsilon=1e6, sigma=2.5)), k=2)
    with pytest.warns(KStepWarning) as told:
        dynamics.run(12)
    assert dynamics.stats.fallbacks == 12
    (message,) = [str(one.message) for one in told]
    assert message.startswith("step 10: 10 jumps in 10 strides were undone")
    assert "A/fs" in message


def test_positions_that_are_no_doubles_and_atoms_that_are_gone_are_refused():
    for kind in (np.float32, complex, int):
        atoms = water()
        atoms.arrays["positions"] = atoms.positions.astype(kind)
        with pytest.raises(TypeError, match=f"positions of atoms are {np.dtype(kind)}"):
            KStepDynamics(atoms, CalculatorPotential(lj()))
    dynamics = KStepDynamics(water(), CalculatorPotential(lj()), k=2)
    dynamics.run(1)
    del dynamics.atoms[:]
    with pytest.raises(ValueError, match="no atoms in it"):
        dynamics.run(1)


def test_a_metropolized_run_whose_physics_always_fails_says_why():
    calls = []

    def fail(results):
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("no convergence")
        return {}

    dynamics = KStepDynamics(
        water(Odd(fail)), CalculatorPotential(lj()), k=2, metropolize=True, temperature_K=300,
        friction=0.01 / units.fs, rng=np.random.default_rng(0), corrector="none",
    )  # fmt: skip
    with pytest.warns(KStepWarning, match="all of them failed, the last with .*no convergence"):
        dynamics.run(12)


def test_nan_of_a_combination_is_one_failure_and_no_more():
    """Its parts forget too, or the same would be served at the next call."""
    calls = []

    def hiccup(results):
        calls.append(1)
        return {"forces": results["forces"] * np.nan} if len(calls) == 4 else {}

    for combine in (SumCalculator, lambda parts: LinearCombinationCalculator(parts, [1.0, 0.5])):
        calls.clear()
        parts = [Odd(hiccup), lj(epsilon=0.01)]
        dynamics = run_of(water(combine(parts)))
        dynamics.run(10)
        assert dynamics.stats.fallbacks == 1


def test_frames_of_rejected_steps_have_the_forces_of_their_geometry(tmp_path):
    """EMT writes into the same array at every call."""
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.rattle(0.05, seed=1)
    atoms.calc = EMT()

    class Worse(EMT):
        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            self.results["forces"] = 3.0 * self.results["forces"]

    dynamics = KStepDynamics(
        atoms, CalculatorPotential(Worse()), k=10, timestep=4 * units.fs, metropolize=True,
        temperature_K=100.0, friction=0.01 / units.fs, rng=np.random.default_rng(0),
        corrector="none", extra_chances=0,
    )  # fmt: skip
    off = []

    def compare():
        fresh = atoms.copy()
        fresh.calc = EMT()
        off.append(np.abs(fresh.get_forces() - atoms.get_forces()).max())

    dynamics.attach(compare)
    with pytest.warns(KStepWarning, match="none of the 10 strides so far was accepted"):
        dynamics.run(15)
    assert dynamics.stats.flips >= 5
    assert max(off) < 1e-12
