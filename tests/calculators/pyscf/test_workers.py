"""Copies, pickles, processes, threads and Dask workers. The real PySCF."""

import copy
import multiprocessing
import pickle

import numpy as np
import pytest
from ase.build import molecule
from pyscf import gto, lib

from kstep_integrators.calculators import PySCFCalculator
from kstep_integrators.calculators.pyscf import threads
from tests.calculators.pyscf.systems import water


def test_copies_and_pickles_carry_the_settings():
    atoms = water(conv_tol=1e-10, guess="last")
    forces = atoms.get_forces()
    for twin in (copy.deepcopy(atoms.calc), pickle.loads(pickle.dumps(atoms.calc))):  # noqa: S301
        assert twin.settings == atoms.calc.settings
        assert twin.totals.calls == 0
        other = atoms.copy()
        other.calc = twin
        np.testing.assert_allclose(other.get_forces(), forces, atol=1e-4)
    assert len(pickle.dumps(atoms.calc)) < 3000


def _energy(atoms):
    return atoms.get_potential_energy(), atoms.calc.totals.scf_runs, lib.num_threads()


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_worker_processes(start):
    systems = [water(seed, threads=1) for seed in range(4)]
    expected = [atoms.get_potential_energy() for atoms in systems]
    context = multiprocessing.get_context(start)
    with context.Pool(2) as pool:
        found = pool.map_async(_energy, systems).get(timeout=120)
    np.testing.assert_allclose([e for e, *_ in found], expected, atol=1e-6)
    assert [runs for _, runs, _ in found] == [1] * 4


def _forked(calculator):
    atoms = molecule("H2O")
    atoms.calc = calculator
    with threads.openmp_threads(2) as used:
        return atoms.get_potential_energy(), used


def test_a_fork_after_many_threads_does_not_hang(caplog):
    atoms = molecule("H2O")
    atoms.calc = water(threads=2).calc
    energy = atoms.get_potential_energy()
    context = multiprocessing.get_context("fork")
    with context.Pool(1) as pool:
        found, used = pool.apply_async(_forked, (atoms.calc,)).get(timeout=120)
    assert found == pytest.approx(energy, abs=1e-6)
    assert used == 1


def test_threads_are_set_for_the_call_only():
    before = lib.num_threads()
    seen = []
    mean_field = gto.M(atom="O 0 0 0; H 0 0 1; H 0 1 0", basis="sto-3g", verbose=0).RHF()
    mean_field.callback = lambda local: seen.append(lib.num_threads())
    atoms = water()
    atoms.calc = PySCFCalculator(mean_field, device="cpu", threads=2)
    atoms.get_potential_energy()
    assert set(seen) == {2}  # and the user's own callback was called
    assert len(seen) == atoms.calc.last_call.scf_cycles
    assert lib.num_threads() == before


@pytest.mark.parametrize("processes", [False, True])
def test_dask_workers(processes):
    from distributed import Client, LocalCluster

    systems = [water(seed, threads=1) for seed in range(4)]
    expected = [atoms.get_potential_energy() for atoms in systems]
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=1 if processes else 2,
            processes=processes,
            dashboard_address=None,
        ) as cluster,
        Client(cluster) as client,
    ):
        found = client.gather(client.map(_energy, systems, pure=False))
    np.testing.assert_allclose([e for e, *_ in found], expected, atol=1e-6)
