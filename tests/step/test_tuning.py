"""The stride is picked in a burn-in by what it reaches for one evaluation, and then kept."""

import numpy as np
import pytest
import torch
from ase import units

from kstep_integrators import KStepDynamics
from kstep_integrators.step.metropolis import Verdict
from kstep_integrators.step.tuning import StrideTuning, begin_tuning
from kstep_integrators.testing import CountingCalculator
from tests.conftest import cheap, physics


def verdict(*chances):
    found = torch.tensor(chances)
    return Verdict(found, torch.zeros(len(chances), dtype=torch.float64), int(found.max()))


def test_candidates_take_turns_and_the_farthest_reach_wins():
    burn_in = begin_tuning(StrideTuning((10, 100, 1000), jumps=2))
    strides = []
    # 10 is always accepted, 100 at its second chance or not at all, 1000 never
    outcomes = [(1, 1), (2, 2), (0, 4), (1, 1), (0, 4), (0, 4)]
    for accepted_at, evaluations in outcomes:
        assert not burn_in.over
        strides.append(burn_in.k)
        burn_in = burn_in.add(verdict(accepted_at), evaluations)
    assert strides == [10, 100, 1000, 10, 100, 1000]
    assert burn_in.over
    assert burn_in.reach == (10.0, 200 / 6, 0.0)
    assert burn_in.best == 100


def test_molecules_of_a_batch_count_together():
    burn_in = begin_tuning(StrideTuning((10, 20), jumps=1)).add(verdict(1, 0, 2), 7)
    assert burn_in.reach == (30 / 7, 0.0)


def test_if_nothing_was_accepted_the_shortest_is_taken():
    burn_in = begin_tuning(StrideTuning((40, 20), jumps=1))
    for _ in range(2):
        burn_in = burn_in.add(verdict(0), 4)
    assert burn_in.best == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((10,),), r"candidates are \(10,\), expected at least two"),
        (((10, 10),), "expected at least two different"),
        (((10, 0),), "an entry of candidates is 0, expected an integer >= 1"),
        (((10, 2.5),), "an entry of candidates is 2.5"),
        (((10, 20), 0), "jumps is 0"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        StrideTuning(*arguments)


def tuned(atoms, folder=None, **settings):
    written = {} if folder is None else {
        "logfile": str(folder / "md.log"), "trajectory": str(folder / "md.traj"),
        "checkpoint": folder / "md.ckpt", "checkpoint_interval": 1,
    }  # fmt: skip
    return KStepDynamics(
        atoms, cheap(depth=1.7), k=StrideTuning((2, 8, 400), jumps=4), timestep=1.0 * units.fs,
        corrector="none", metropolize=True, temperature_K=300, friction=0.05 / units.fs,
        rng=np.random.default_rng(4), **written, **settings,
    )  # fmt: skip


def test_a_run_tunes_its_stride_freezes_it_and_says_so(atoms, tmp_path, caplog):
    dynamics = tuned(atoms, tmp_path)
    strides = []
    with caplog.at_level("INFO", logger="kstep_integrators"):
        for _ in range(16):
            strides.append(dynamics.k)
            dynamics.run(1)
    assert strides[:12] == [2, 8, 400] * 4
    assert strides[12:] == [dynamics.k] * 4
    assert dynamics.dt == pytest.approx(dynamics.k * units.fs)
    assert dynamics.production_start == 12
    told = f"step 12: the burn-in is over, k = {dynamics.k} ({dynamics.k} fs) from here on"
    assert told in caplog.text
    lines = (tmp_path / "md.log").read_text().splitlines()
    assert [i for i, line in enumerate(lines) if line.startswith("#")] == [1 + 12]
    assert told in lines[13]
    assert atoms.calc.evaluations == dynamics.stats.physics_evaluations
    assert len(np.loadtxt(tmp_path / "md.log", skiprows=1)) == 17


def test_a_burn_in_goes_on_from_a_checkpoint(atoms, tmp_path):
    other = atoms.copy()
    other.calc = physics()
    whole = tuned(other)
    whole.run(16)
    (tmp_path / "md").mkdir()
    first = tuned(atoms, tmp_path / "md")
    first.run(7)
    again = KStepDynamics.resume(
        tmp_path / "md" / "md.ckpt", CountingCalculator(physics()), cheap(depth=1.7)
    )
    assert again.k == 8
    again.run(9)
    np.testing.assert_array_equal(again.atoms.positions, whole.atoms.positions)
    assert (again.k, again.production_start) == (whole.k, whole.production_start)
    last = KStepDynamics.resume(
        tmp_path / "md" / "md.ckpt", CountingCalculator(physics()), cheap(depth=1.7)
    )
    assert (last.k, last.production_start) == (whole.k, whole.production_start)


def test_only_metropolized_strides_are_tuned(atoms):
    with pytest.raises(ValueError, match=r"StrideTuning\(...\) without metropolize=True"):
        KStepDynamics(atoms, cheap(), k=StrideTuning())
