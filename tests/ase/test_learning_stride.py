"""The stride of a run that learns, when its user sets another."""

from __future__ import annotations

import pytest
from ase import units

from kstep_integrators import KStepDynamics, Learning
from tests.conftest import cheap, hot, physics


@pytest.mark.parametrize(("grow", "first"), [(False, 6), (True, 2)])
def test_another_stride_is_the_one_of_the_next_step(grow: bool, first: int) -> None:
    atoms = hot()
    atoms.calc = physics()
    learn = Learning(refit=False, grow=grow)
    dynamics = KStepDynamics(atoms, cheap(), k=2, timestep=0.5 * units.fs, learn=learn)
    dynamics.run(1)
    dynamics.k = 6
    assert dynamics.k == first
    dynamics.run(1)
    assert dynamics.get_time() / units.fs == pytest.approx(0.5 * (2 + first))
    with pytest.raises(AttributeError, match="learn cannot be set to False"):
        dynamics.learn = False
