"""Settings of calculators and functions as text: the same where the physics is, and only there."""

import functools
import os
import re
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.harmonic import HarmonicCalculator, HarmonicForceField
from ase.calculators.lj import LennardJones
from ase.calculators.mixing import LinearCombinationCalculator, SumCalculator
from ase.calculators.tip3p import TIP3P
from pyscf import dft, gto

from kstep_integrators import CalculatorPotential, KStepDynamics
from kstep_integrators.calculators import PySCFCalculator, xtb_calculator
from kstep_integrators.physics.content import content_of
from kstep_integrators.physics.content_text import text_of
from kstep_integrators.physics.identity import changed_settings, settings_of
from kstep_integrators.testing import CountingCalculator
from tests.conftest import cheap, hot, physics

CHARGE = 0


class Own(Calculator):
    """A calculator as users write them: constructor arguments become attributes, no parameters."""

    implemented_properties = ("energy", "forces")
    scale = 1.0

    def __init__(self, depth=1.0, charges=None, inner=None, rule=None):
        super().__init__()
        self.depth, self.charges, self.inner, self.rule = depth, charges, inner, rule
        self.calls = 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        forces = -self.depth * self.scale * self.atoms.positions
        energy = 0.5 * self.depth * self.scale * float((self.atoms.positions**2).sum())
        self.results = {"energy": energy, "forces": forces}


def differ(one, other):
    return changed_settings(settings_of(one), settings_of(other))


ALIKE = {
    "parameters": lambda: LennardJones(sigma=2.5),
    "attributes": lambda: TIP3P(rc=5.0),
    "own": lambda: Own(2.0, charges=np.arange(30.0)),
    "inside": lambda: SumCalculator([LennardJones(), Own(inner=EMT())]),
    "semiempirical": lambda: xtb_calculator("GFN2-xTB"),
    "network": lambda: Own(rule=torch.nn.Linear(2, 1).requires_grad_(False).apply(_zeros)),
    "function": lambda: lambda atoms: EMT(),
    "partial": lambda: functools.partial(LennardJones, sigma=2.0),
    "class": lambda: Own,
}


def _zeros(layer):
    for one in layer.parameters():
        one.data.zero_()


@pytest.mark.parametrize("kind", ALIKE)
def test_what_is_made_alike_is_the_same(kind):
    assert differ(ALIKE[kind](), ALIKE[kind]()) == []


def make(charge):
    return lambda atoms: Own(charge)


def reads_a_global(atoms):
    return Own(CHARGE)


def other_layer():
    layer = torch.nn.Linear(2, 1).apply(_zeros)
    layer.bias.data += 1.0
    return layer


def spring(stiffness):
    return HarmonicForceField(ref_atoms=Atoms("H"), ref_energy=0.0, hessian_x=stiffness * np.eye(3))


DIFFERENT = {
    "epsilon 1.5, now 2.0": (LennardJones(epsilon=1.5), LennardJones(epsilon=2.0)),
    "rc 5.0, now 6.0": (TIP3P(rc=5.0), TIP3P(rc=6.0)),
    "depth 1.0, now 2.0": (Own(), Own(2.0)),
    r"charges \[0.0, 1.0\], now \[0.0, -1.0\]": (
        Own(charges=np.array([0.0, 1])),
        Own(charges=np.array([0.0, -1])),
    ),
    r"charges array \(40,\) \w+, now array": (
        Own(charges=np.zeros(40)),
        Own(charges=np.array([*np.zeros(39), 1e-12])),
    ),
    "emt 1, asap_cutoff False, now True": (
        Own(inner=EMT()),
        Own(inner=EMT(asap_cutoff=True)),
    ),
    "lennardjones 2, epsilon 1.5, now 2.0": (
        SumCalculator([LennardJones(epsilon=1.5), LennardJones()]),
        SumCalculator([LennardJones(epsilon=2.0), LennardJones()]),
    ),
    r"weights \[1, 0.5\], now \[1, 0.25\]": (
        LinearCombinationCalculator([EMT(), EMT()], [1, 0.5]),
        LinearCombinationCalculator([EMT(), EMT()], [1, 0.25]),
    ),
    "method 'GFN2-xTB', now 'GFN1-xTB'": (xtb_calculator("GFN2-xTB"), xtb_calculator("GFN1-xTB")),
    r"harmonicforcefield HarmonicForceField\(.*\.\.\. \w+, now HarmonicForceField": (
        HarmonicCalculator(spring(1.0)),
        HarmonicCalculator(spring(2.0)),
    ),
    "rule Linear": (Own(rule=torch.nn.Linear(2, 1).apply(_zeros)), Own(rule=other_layer())),
    "^calculator 'emt', now 'lennardjones'$": (EMT(), LennardJones(sigma=2.0)),
    "function <lambda>|function make": (make(0), make(1)),
    "function .*2.0.*, now .*3.0": (
        functools.partial(Own, depth=2.0),
        functools.partial(Own, depth=3.0),
    ),
}


@pytest.mark.parametrize("message", DIFFERENT)
def test_what_differs_is_named(message):
    changes = differ(*DIFFERENT[message])
    assert len(changes) == 1
    assert re.search(message, changes[0]), changes


def test_a_function_is_known_by_what_its_code_takes_from_around(monkeypatch):
    before = settings_of(reads_a_global)
    monkeypatch.setattr(sys.modules[__name__], "CHARGE", 1)
    assert changed_settings(before, settings_of(reads_a_global))


def test_a_method_and_an_attribute_of_a_class_count(monkeypatch):
    def changed(name, value):
        return type("Own", (Own,), {"__module__": __name__, name: value})

    assert differ(Own(), changed("scale", 2.0)())
    assert differ(Own(), changed("calculate", lambda self, *arguments: None)())


STRENGTH = 1.0


def strengthened(energy):
    return STRENGTH * energy


class ReadsAround(Own):
    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        global TOTAL
        super().calculate(atoms, properties, system_changes)
        self.results["energy"] = strengthened(self.results["energy"])
        TOTAL += 1


class Private(Own):
    table = {"H": 1.0}  # noqa: RUF012

    def __init__(self, stiffness=1.0):
        super().__init__()
        self._stiffness = stiffness

    @property
    def doubled(self):
        return 2.0 * self._stiffness

    @staticmethod
    def rule():
        return 1.0


TOTAL = 0
"""Of a global that the code itself sets: a count, and no setting."""
results = []
"""Of the name of an attribute of calculators, and none of their globals."""


def test_code_of_a_class_is_known_by_what_it_takes_from_around(monkeypatch):
    """A constant of the module was edited, and the run went on without a word."""
    before = settings_of(ReadsAround())
    monkeypatch.setattr(sys.modules[__name__], "TOTAL", 7)
    monkeypatch.setattr(sys.modules[__name__], "results", [1])
    assert settings_of(ReadsAround()) == before
    monkeypatch.setattr(sys.modules[__name__], "STRENGTH", 2.0)
    assert changed_settings(before, settings_of(ReadsAround()))


def recording(calls, counts, strength):
    number = 0

    class Recording(Own):
        def calculate(self, atoms=None, properties=("energy",), system_changes=()):
            nonlocal number
            super().calculate(atoms, properties, system_changes)
            calls.append(1)
            counts["calls"] += 1
            number += 1
            self.results["energy"] *= strength["all"] * (1 if len(calls) else 2)

        def last(self):
            return calls[-1]

    return Recording()


def test_what_code_records_around_it_is_no_setting():
    calls, counts = [], {"calls": 0}
    calculator = recording(calls, counts, {"all": 1.0})
    before = settings_of(calculator)
    atoms = hot()
    atoms.calc = calculator
    atoms.get_forces()
    assert (len(calls), counts["calls"]) == (1, 1)
    assert settings_of(calculator) == before
    assert differ(calculator, recording([1, 1], {"calls": 5}, {"all": 1.0})) == []
    assert differ(calculator, recording([], {"calls": 0}, {"all": 2.0}))


def made_around(strength):
    class Around(Own):
        def calculate(self, atoms=None, properties=("energy",), system_changes=()):
            super().calculate(atoms, properties, system_changes)
            self.results["energy"] *= strength

    return Around()


def test_a_class_made_in_a_function_has_its_variables():
    assert differ(made_around(1.0), made_around(1.0)) == []
    assert differ(made_around(1.0), made_around(2.0))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("table", {"H": 2.0}),
        ("doubled", property(lambda self: 3.0)),
        ("rule", staticmethod(lambda: 2.0)),
    ],
)
def test_tables_properties_and_static_methods_of_a_class_count(name, value, monkeypatch):
    before = settings_of(Private())
    monkeypatch.setattr(Private, name, value)
    assert changed_settings(before, settings_of(Private()))


def test_an_argument_that_is_kept_under_a_private_name_counts():
    assert differ(Private(1.0), Private(2.0)) == ["stiffness 1.0, now 2.0"]
    assert differ(Own(inner={"one": EMT()}), Own(inner={"one": EMT(asap_cutoff=True)})) == [
        "emt 1, asap_cutoff False, now True"
    ]


def mean_field(xc="pbe", **changes):
    hydrogen = gto.M(atom="H 0 0 0; H 0 0 0.74", basis="sto-3g", verbose=0)
    built = dft.RKS(hydrogen, xc=xc).density_fit()
    for name, value in changes.items():
        setattr(built, name, value)
    return PySCFCalculator(built)


def test_a_mean_field_is_known_by_its_settings_and_not_by_where_it_has_been():
    """Each resume was warned of another calculator: geometry and results counted."""
    one = mean_field()
    before = settings_of(one)
    atoms = molecule("H2")
    atoms.positions[0] += 0.03
    atoms.calc = one
    atoms.get_forces()
    assert changed_settings(before, settings_of(one)) == []
    assert differ(one, mean_field()) == []
    for other in (mean_field("b3lyp"), mean_field(conv_tol=1e-11), mean_field(disp="d3bj")):
        assert differ(mean_field(), other)[0].startswith("method.")


def test_the_version_of_another_package_counts(monkeypatch):
    package = ModuleType("anothermodel")
    package.__version__ = "1.0"
    monkeypatch.setitem(sys.modules, "anothermodel", package)
    model = type("Model", (Own,), {"__module__": "anothermodel.calculators"})
    before = settings_of(model())
    package.__version__ = "2.0"
    (change,) = changed_settings(before, settings_of(model()))
    assert "of anothermodel 1.0" in change
    assert "of anothermodel 2.0" in change


def test_calls_and_results_do_not_count():
    one = CountingCalculator(Own())
    before = settings_of(one)
    atoms = hot()
    atoms.calc = one
    atoms.get_forces()
    assert settings_of(one) == before


def test_what_holds_itself_ends():
    own = Own()
    own.charges = [own.charges, 1.0]
    own.charges.append(own.charges)
    assert settings_of(own)["charges"] == "[None, 1.0, list]"


def test_it_is_the_same_in_another_process():
    """Sets, hashes and addresses differ there."""
    text = (
        "from tests.physics.test_identity import *; "
        "print(settings_of(reads_a_global), settings_of(Own(charges=frozenset('abcdef'))))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", text],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1


@pytest.mark.parametrize("where", ["itself", "inside"])
def test_an_attribute_changed_between_two_steps_is_noticed(where):
    """It was no parameter of ASE's, and the energy of before was served."""
    atoms = hot()
    own = Own(0.1)
    atoms.calc = own if where == "itself" else SumCalculator([own])
    dynamics = KStepDynamics(atoms, cheap(depth=0.2), k=2)
    dynamics.run(1)
    own.depth = 0.2
    dynamics.run(0)
    expected = 0.5 * 0.2 * float((atoms.positions**2).sum())
    assert dynamics.get_conserved_energy() - atoms.get_kinetic_energy() == pytest.approx(expected)


def test_one_calculator_cannot_be_potential_and_physics():
    atoms, shared = hot(), physics()
    atoms.calc = physics()
    dynamics = KStepDynamics(atoms, CalculatorPotential(shared), k=2)
    dynamics.run(1)
    atoms.calc = SumCalculator([shared, physics()])
    with pytest.raises(ValueError, match="or share one, a MorseNetwork; make two"):
        dynamics.run(1)
    atoms.calc = physics()
    dynamics.run(1)


def test_a_file_that_a_calculator_writes_to_is_left_open(tmp_path):
    """Buffers of files have a method ``detach`` as tensors do, and are of no use after it."""
    calculator = LennardJones(sigma=0.8, epsilon=0.1)
    with open(tmp_path / "log", "w") as log:
        calculator.log = log
        calculator.parameters["log"] = log.buffer
        settings_of(calculator)
        content_of({"held": log.buffer})
        text_of([log.buffer])
        log.write("still open")
    assert (tmp_path / "log").read_text() == "still open"
