"""Edits of a user between two steps are noticed, evaluated once, and nothing else is."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase import units
from ase.calculators.calculator import Calculator
from ase.constraints import FixAtoms, FixBondLengths

from kstep_integrators import KStepDynamics
from kstep_integrators.ase.edits import Written
from kstep_integrators.testing import CountingCalculator
from tests.conftest import cheap, hot, physics


def written(atoms):
    return Written.of(atoms, atoms.get_positions(), atoms.get_momenta())


EDITS = {
    "numbers": lambda atoms: atoms.numbers.__setitem__(3, 9),
    "masses": lambda atoms: atoms.set_masses([2.0] * len(atoms)),
    "initial_charges": lambda atoms: atoms.set_initial_charges([0.1] * len(atoms)),
    "initial_magmoms": lambda atoms: atoms.set_initial_magnetic_moments([1.0] * len(atoms)),
    "tags": lambda atoms: atoms.set_tags(range(len(atoms))),
    "own array": lambda atoms: atoms.new_array("own array", np.ones(len(atoms))),
    "cell": lambda atoms: atoms.set_cell([9.0, 9.0, 9.0]),
    "pbc": lambda atoms: atoms.set_pbc(True),
    "info": lambda atoms: atoms.info.update(charge=1),
    "constraints": lambda atoms: atoms.set_constraint(FixAtoms([0])),
    "parameters of the calculator": lambda atoms: atoms.calc.set(scale=2.0),
}


class Scaled(Calculator):
    """Springs whose strength is a parameter."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012
    default_parameters = {"scale": 1.0}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.inner = physics()

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.inner.calculate(self.atoms)
        scale = self.parameters["scale"]
        self.results = {name: scale * value for name, value in self.inner.results.items()}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_named(name):
    atoms = hot()
    atoms.calc = Scaled()
    before = written(atoms)
    assert before.changed(atoms) == []
    EDITS[name](atoms)
    assert before.changed(atoms) == [name]
    assert not before.moved(atoms)
    assert not before.kicked(atoms)


def test_edits_within_containers_are_noticed():
    atoms = hot()
    atoms.calc = physics()
    atoms.info["fields"] = {"outer": [np.zeros(3), float("nan")]}
    fixed = FixAtoms([0])
    atoms.set_constraint(fixed)
    before = written(atoms)
    assert before.changed(atoms) == []
    atoms.info["fields"]["outer"][0][1] = 0.1
    assert before.changed(atoms) == ["info"]
    atoms.info["fields"]["outer"][0][1] = 0.0
    fixed.index = np.array([1])
    assert before.changed(atoms) == ["constraints"]
    fixed.index = np.array([0])
    assert before.changed(atoms) == []
    atoms.calc = physics()
    assert before.changed(atoms) == ["calculator"]


def test_what_ase_writes_when_it_is_asked_is_no_edit():
    atoms = hot()
    atoms.set_constraint(FixBondLengths([[0, 3], [0, 4]]))
    atoms.calc = physics()
    atoms.get_forces()
    before = written(atoms)
    atoms.positions += 0.01
    atoms.get_forces()
    assert before.changed(atoms) == []


def test_positions_and_momenta():
    atoms = hot()
    before = written(atoms)
    atoms.positions[2, 1] += 1e-12
    assert before.moved(atoms)
    atoms.positions[:] = before.positions
    atoms.arrays["momenta"][0, 0] *= 1.0 + 1e-12
    assert (before.moved(atoms), before.kicked(atoms)) == (False, True)
    del atoms.arrays["momenta"]
    assert before.kicked(atoms)


@pytest.mark.parametrize("name", ["initial_charges", "tags", "info", "masses"])
def test_each_edit_costs_one_evaluation_and_no_more(name):
    atoms = hot()
    atoms.calc = CountingCalculator(physics())
    dynamics = KStepDynamics(atoms, cheap(depth=1.9), k=4)
    dynamics.run(2)
    EDITS[name](atoms)
    dynamics.run(3)
    assert atoms.calc.evaluations == dynamics.stats.physics_evaluations == 1 + 2 + 1 + 3


def test_another_parameter_is_another_physics():
    atoms, other = hot(), hot()
    atoms.calc, other.calc = Scaled(), Scaled()
    dynamics = KStepDynamics(atoms, cheap(depth=1.9), k=4)
    dynamics.run(2)
    atoms.calc.set(scale=1.1)
    dynamics.run(2)
    other.calc.set(scale=1.1)
    other.positions[:] = atoms.positions
    assert atoms.get_potential_energy() == pytest.approx(other.get_potential_energy(), rel=1e-14)
    assert dynamics.stats.physics_evaluations == 1 + 2 + 1 + 2


@dataclass
class Strength:
    value: float = 0.1


class Held(Calculator):
    """Springs whose strength is kept in an object, a network, a dict of calculators, a tensor."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, strength):
        super().__init__()
        self._strength = strength

    def value(self):
        kept = self._strength
        if isinstance(kept, dict):
            return kept["one"].value()
        if isinstance(kept, torch.nn.Module):
            return float(kept.weight.detach()[0, 0])
        if isinstance(kept, torch.Tensor):
            return float(kept.detach())
        return kept.value if hasattr(kept, "value") else kept

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        x = self.atoms.positions
        energy = 0.5 * self.value() * float((x**2).sum())
        self.results = {"energy": energy, "forces": -self.value() * x}


def linear(size):
    network = torch.nn.Linear(1, size)
    torch.nn.init.constant_(network.weight, 0.1)
    return network


def stronger(strength):
    if isinstance(strength, dict):
        strength["one"]._strength = 0.2
    elif isinstance(strength, torch.nn.Module):
        torch.nn.init.constant_(strength.weight, 0.2)
    elif isinstance(strength, torch.Tensor):
        strength.data.fill_(0.2)
    else:
        strength.value = 0.2


@pytest.mark.parametrize(
    "make",
    [
        Strength,
        lambda: SimpleNamespace(value=0.1),
        lambda: linear(1),
        lambda: linear(200_000),
        lambda: torch.tensor(0.1, requires_grad=True),
        lambda: {"one": Held(0.1)},
    ],
    ids=["dataclass", "namespace", "network", "large network", "tensor", "dict of calculators"],
)
def test_what_a_calculator_holds_is_looked_into(make):
    """It was compared with itself, and the energy of before was served."""
    atoms, strength = hot(), make()
    atoms.calc = CountingCalculator(Held(strength))
    dynamics = KStepDynamics(atoms, cheap(depth=0.2), k=2)
    dynamics.run(2)
    assert atoms.calc.evaluations == 3
    stronger(strength)
    dynamics.run(0)
    expected = 0.5 * 0.2 * float((atoms.positions**2).sum())
    energy = dynamics.get_conserved_energy() - atoms.get_kinetic_energy()
    assert energy == pytest.approx(expected, rel=1e-6)  # a tensor is in single precision
    assert atoms.calc.evaluations == 4


def test_an_observer_that_reads_costs_nothing():
    atoms = hot()
    atoms.calc = CountingCalculator(physics())
    dynamics = KStepDynamics(atoms, cheap(depth=1.9), k=4, timestep=0.25 * units.fs)
    seen = []
    dynamics.attach(
        lambda: seen.append(
            (atoms.get_total_energy(), atoms.get_forces().sum(), atoms.get_temperature())
        )
    )
    dynamics.run(5)
    assert len(seen) == 6
    assert atoms.calc.evaluations == dynamics.stats.physics_evaluations == 6


class Charged(Calculator):
    """Springs and an energy that ASE's own check of changes does not see."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.inner = physics()

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.inner.calculate(self.atoms)
        self.results = dict(self.inner.results)
        self.results["energy"] += atoms.info.get("field", 0.0)


def test_an_edit_that_the_calculator_does_not_look_at_is_computed_anew():
    atoms = hot()
    atoms.calc = Charged()
    dynamics = KStepDynamics(atoms, cheap(depth=1.9), k=4)
    dynamics.run(2)
    before = dynamics.get_conserved_energy()
    atoms.info["field"] = 0.5
    assert dynamics.get_conserved_energy() == pytest.approx(before + 0.5, rel=1e-12)


@pytest.mark.parametrize("name", ["constraints", "masses", "initial_charges", "info"])
def test_an_edit_in_an_observer_is_in_the_checkpoint_of_that_step(name, tmp_path):
    def begun(folder):
        atoms = hot()
        atoms.calc = Charged()
        dynamics = KStepDynamics(
            atoms, cheap(depth=1.9), k=4, checkpoint=folder / "run.ckpt", checkpoint_interval=5
        )
        dynamics.attach(lambda: EDITS[name](atoms) if dynamics.nsteps == 5 else None)
        return dynamics

    for folder in ("through", "cut"):
        (tmp_path / folder).mkdir()
    through = begun(tmp_path / "through")
    through.run(10)
    begun(tmp_path / "cut").run(5)
    again = KStepDynamics.resume(tmp_path / "cut" / "run.ckpt", Charged(), cheap(depth=1.9))
    again.run(5)
    np.testing.assert_array_equal(again.atoms.positions, through.atoms.positions)
    np.testing.assert_array_equal(again.atoms.get_momenta(), through.atoms.get_momenta())
    assert again.stats.physics_evaluations == through.stats.physics_evaluations


def test_an_interrupt_in_the_first_step_doubles_no_frame(tmp_path):
    class Interrupting(Calculator):
        implemented_properties = ["energy", "forces"]  # noqa: RUF012
        calls = 0

        def __init__(self):
            super().__init__()
            self.inner = physics()

        def calculate(self, atoms=None, properties=("energy",), system_changes=()):
            self.calls += 1
            if self.calls == 2:
                raise KeyboardInterrupt
            super().calculate(atoms, properties, system_changes)
            self.inner.calculate(self.atoms)
            self.results = dict(self.inner.results)

    atoms = hot()
    atoms.calc = Interrupting()
    log = tmp_path / "md.log"
    dynamics = KStepDynamics(atoms, cheap(depth=1.9), k=4, logfile=log)
    with pytest.raises(KeyboardInterrupt):
        dynamics.run(3)
    dynamics.run(3)
    assert len(log.read_text().splitlines()) == 1 + 4


def test_objects_that_compare_element_by_element_are_no_trouble():
    torch = pytest.importorskip("torch")
    atoms = hot()
    atoms.info["x"] = torch.tensor([1.0, 2.0])
    before = written(atoms)
    assert before.changed(atoms) == []
    atoms.info["x"] = torch.tensor([1.0, 3.0])
    assert before.changed(atoms) == ["info"]
