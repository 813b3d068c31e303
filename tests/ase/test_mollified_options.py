"""Options of mollified runs: defaults, refusals, changes and edits between steps."""

import numpy as np
import pytest
from ase.constraints import FixBondLengths

from kstep_integrators.correctors import Impulse, Mollified
from kstep_integrators.state import EvaluationFailed
from kstep_integrators.testing import BrokenCalculator
from tests.ase.mollified_runs import BATH, FS, run_of
from tests.conftest import hot, physics
from tests.direct_systems import silent


def test_what_it_cannot_go_with_is_refused():
    with pytest.raises(ValueError, match=r"metropolize=True with .*'mollified'.*'none'"):
        run_of(metropolize=True, **BATH)
    bonds = hot()
    bonds.set_constraint(FixBondLengths([[0, 3], [0, 4]]))
    with pytest.raises(ValueError, match=r"'mollified' with 2 bonds of fixed length.*use 'impu"):
        run_of(bonds)
    for corrector in ("impulse", "filtered", "none", None):
        run_of(corrector=corrector, k=8, verify_interval=0)  # none, as it is anyway
        with pytest.raises(ValueError, match=r"verify_interval=5 with .*corrector='mollified'"):
            run_of(corrector=corrector, k=8, verify_interval=5)
    for wrong in (-1, 2.5, True, "often"):
        with pytest.raises(ValueError, match=r"verify_interval is .*expected a whole number"):
            run_of(verify_interval=wrong)
    with pytest.raises(ValueError, match=r"cannot take the corrector 'mollified'; it takes"):
        run_of(model=silent(force_head=True), k=2)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"k": 8}, Impulse),
        ({"k": 16}, Impulse),
        ({"k": 18}, Mollified),
        ({"k": 32}, Mollified),
        ({"k": 32, "metropolize": True, **BATH}, Impulse),
        ({"k": 8, "timestep": 0.5 * FS}, Impulse),
        ({"k": 9, "timestep": 0.5 * FS}, Mollified),
    ],
)
def test_the_default_corrector_at_a_stride(options, expected):
    dynamics = run_of(corrector=None, verify_interval=None, **{"k": 8, **options})
    assert type(dynamics.scheme.corrector) is expected


def test_with_fixed_bonds_the_default_stays_that_of_impulses():
    bonds = hot()
    bonds.set_constraint(FixBondLengths([[0, 3], [0, 4]]))
    dynamics = run_of(bonds, corrector=None, verify_interval=None)
    assert type(dynamics.scheme.corrector) is Impulse
    dynamics.k = 40
    assert type(dynamics.scheme.corrector) is Impulse
    dynamics.run(1)


def test_the_default_follows_the_stride_that_is_set():
    dynamics = run_of(corrector=None, verify_interval=None, k=8)
    dynamics.run(2)
    dynamics.k = 32
    assert type(dynamics.scheme.corrector) is Mollified
    dynamics.run(2)
    assert dynamics.estimates() is not None
    dynamics.k = 8
    assert type(dynamics.scheme.corrector) is Impulse
    assert dynamics.estimates() is None
    # 1 + 2 strides, another at averaged positions, 2 strides, another at the positions
    assert dynamics.atoms.calc.evaluations == dynamics.stats.physics_evaluations == 3 + 1 + 2 + 1


CHANGES = {
    "impulse": {"corrector": "impulse"},
    "none": {"corrector": "none"},
    "tested": {"corrector": "none", "metropolize": True},
    "reach": {"corrector": Mollified(2.0)},
    "stride": {"k": 24},
    "timestep": {"timestep": 0.2 * FS},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_that_is_changed_is_evaluated_anew_and_goes_on_as_another_would(change):
    dynamics = run_of(rng=np.random.default_rng(1), verify_interval=None, **BATH)
    dynamics.run(3)
    assert dynamics.estimates() is not None
    dynamics.set_options(**CHANGES[change])
    assert dynamics.atoms.calc.evaluations == dynamics.stats.physics_evaluations == 5
    averages = dynamics.scheme.corrector.averages
    assert (dynamics.estimates() is not None) == averages
    generator = np.random.default_rng()
    generator.bit_generator.state = dynamics.rng.bit_generator.state
    other = run_of(
        dynamics.atoms.copy(), rng=generator, verify_interval=None, **BATH, **CHANGES[change]
    )
    dynamics.run(3)
    other.run(3)
    np.testing.assert_allclose(dynamics.atoms.positions, other.atoms.positions, atol=1e-10)
    np.testing.assert_allclose(dynamics.atoms.get_momenta(), other.atoms.get_momenta(), atol=1e-9)
    spent = other.atoms.calc.evaluations - 1
    assert dynamics.atoms.calc.evaluations == dynamics.stats.physics_evaluations == 5 + spent


def test_what_does_not_concern_the_corrector_costs_nothing():
    dynamics = run_of(rng=np.random.default_rng(1), **BATH)
    plain = run_of(rng=np.random.default_rng(1), **BATH)
    dynamics.attach(lambda: dynamics.set_options(verify_interval=0, temperature_K=300.0))
    dynamics.run(4)
    plain.run(4)
    assert dynamics.atoms.calc.evaluations == 5
    np.testing.assert_array_equal(dynamics.atoms.positions, plain.atoms.positions)


def test_a_change_whose_evaluation_fails_changes_nothing():
    dynamics = run_of(calculator=BrokenCalculator(physics(), [5]))
    plain = run_of()
    dynamics.run(3)
    with pytest.raises(EvaluationFailed, match="call 5 was told to fail"):
        dynamics.corrector = "impulse"
    assert dynamics.corrector == "mollified"
    dynamics.run(2)
    plain.run(5)
    np.testing.assert_array_equal(dynamics.atoms.positions, plain.atoms.positions)


@pytest.mark.parametrize("edit", ["positions", "momenta", "masses"])
def test_edits_between_steps_are_what_another_run_begins_with(edit):
    dynamics = run_of()
    dynamics.run(3)
    atoms = dynamics.atoms
    if edit == "positions":
        atoms.positions += 0.01 * np.sin(np.arange(27)).reshape(9, 3)
    elif edit == "momenta":
        atoms.set_momenta(0.9 * atoms.get_momenta())
    else:
        atoms.set_masses([14.0, *atoms.get_masses()[1:]])
    other = run_of(atoms.copy())
    dynamics.run(3)
    other.run(3)
    np.testing.assert_allclose(dynamics.atoms.positions, other.atoms.positions, atol=1e-11)
    anew = edit != "momenta"
    assert dynamics.atoms.calc.evaluations == dynamics.stats.physics_evaluations == 7 + anew
