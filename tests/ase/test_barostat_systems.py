"""Systems at constant pressure: molecules, metals, and those that are refused."""

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms, FixBondLengths

from kstep_integrators import CalculatorPotential, Ensemble, KStepDynamics, KStepWarning, load_model
from tests.ase.barostat_runs import BATH, FS, Plain, run_of_crystal
from tests.periodic_systems import IdealGas, dimers, gas


def test_rigid_molecules_keep_their_bonds():
    atoms = dimers()
    atoms.set_constraint(FixBondLengths([(i, i + 1) for i in range(0, 10, 2)]))
    lengths = atoms.get_all_distances(mic=True)[range(0, 10, 2), range(1, 10, 2)]
    atoms.calc = IdealGas()
    dynamics = KStepDynamics(
        atoms, CalculatorPotential(Plain(), 2 * FS), k=2, rng=np.random.default_rng(0),
        pressure=0.0, barostat_interval=1, **BATH,
    )  # fmt: skip
    dynamics.run(20)
    assert dynamics.stats.volume_accepted > 5
    assert dynamics.stats.fallbacks == 0
    after = atoms.get_all_distances(mic=True)[range(0, 10, 2), range(1, 10, 2)]
    np.testing.assert_allclose(after, lengths, rtol=0.0, atol=1e-9)


def copper():
    return bulk("Cu", cubic=True)


@pytest.mark.parametrize(
    ("atoms", "options", "message"),
    [
        (gas(), {"friction": None, "temperature_K": None}, "accepted at the temperature of a"),
        (Atoms("Ar2", [[0, 0, 0], [4, 0, 0]]), {}, r"atoms.pbc = \[False, False, False\]"),
        (Atoms("Ar", cell=[9, 9, 9], pbc=[1, 1, 0]), {}, r"atoms.pbc = \[True, True, False\]"),
        (copper(), {}, "use barostat_scales='atoms'"),
        (gas(), {"corrector": "mollified"}, "the corrector 'mollified', which has the physics"),
    ],
)
def test_what_has_no_meaning_is_refused(atoms, options, message):
    atoms = atoms.copy()
    atoms.calc = Plain()
    given = {"pressure": 1 * units.bar, **BATH, **options}
    with pytest.raises(ValueError, match=message):
        KStepDynamics(atoms, CalculatorPotential(Plain()), k=4, **given)


def test_a_slip_of_the_unit_is_warned_of():
    with pytest.warns(KStepWarning, match="is 160 GPa: pressures are in ASE's units"):
        run_of_crystal(pressure=1.0)


@pytest.mark.parametrize(
    ("constraint", "scales", "message"),
    [
        (FixAtoms([0]), "molecules", "FixAtoms of 1 atoms: a change of the cell would move"),
        (FixBondLengths([(0, 1)]), "atoms", "would not keep them; use barostat_scales='molecules'"),
    ],
)
def test_constraints_that_it_would_break_are_refused(constraint, scales, message):
    atoms = dimers()
    atoms.set_constraint(constraint)
    atoms.calc = Plain()
    with pytest.raises(ValueError, match=message):
        KStepDynamics(
            atoms, CalculatorPotential(Plain()), k=4, pressure=0.0, barostat_scales=scales, **BATH
        )


def test_models_without_cells_and_ensembles_refuse_it():
    atoms = dimers()
    atoms.calc = Plain()
    with pytest.raises(ValueError, match="fitted to isolated molecules only"):
        KStepDynamics(atoms, load_model("organic-gfn2"), k=4, pressure=0.0, **BATH)
    with pytest.raises(ValueError, match="each replica needs volumes of its own"):
        Ensemble([gas()], CalculatorPotential(Plain()), lambda _: Plain(), pressure=0.0, **BATH)


def test_copper_of_emt_on_lennard_jones():
    atoms = copper() * (2, 2, 1)
    atoms.calc = EMT()
    inner = CalculatorPotential(LennardJones(sigma=2.27, epsilon=0.4, rc=4.5), 4 * FS)
    dynamics = KStepDynamics(
        atoms, inner, k=2, rng=np.random.default_rng(0), pressure=1 * units.bar,
        barostat="anisotropic", barostat_scales="atoms", barostat_interval=2, **BATH,
    )  # fmt: skip
    dynamics.run(40)
    assert dynamics.stats.volume_accepted > 5
    again = atoms.copy()
    again.calc = EMT()
    assert float(dynamics._run.point.physics.energy[0]) == pytest.approx(
        again.get_potential_energy(), abs=1e-9
    )
    assert torch.allclose(
        dynamics._run.point.physics.forces, torch.from_numpy(again.get_forces()), atol=1e-9
    )
