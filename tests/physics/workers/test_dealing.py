"""Replicas keep their workers, and no worker waits for another."""

from ase import Atoms

from kstep_integrators.physics.workers import Request
from kstep_integrators.physics.workers.dealing import deal


def requests(*replicas, sizes=None):
    return [Request(i, Atoms("H" * (sizes or {}).get(i, 1))) for i in replicas]


def test_replicas_stay_where_they_are():
    homes = {}
    first = deal(requests(0, 1, 2, 3), homes, ["a", "b"])
    assert first == ["a", "b", "a", "b"]
    assert deal(requests(3, 2, 1, 0), homes, ["b", "a"]) == first[::-1]
    assert homes == {0: "a", 1: "b", 2: "a", 3: "b"}


def test_large_molecules_are_dealt_first():
    sizes = {1: 9, 3: 8}
    assert deal(requests(0, 1, 2, 3, sizes=sizes), {}, [0, 1]) == [0, 0, 1, 1]


def test_a_lost_worker_leaves_its_replicas_to_the_others():
    homes = {0: "a", 1: "b", 2: "c", 3: "a"}
    assert deal(requests(0, 1, 2, 3), homes, ["b", "c"]) == ["b", "b", "c", "c"]


def test_a_new_worker_gets_its_share():
    homes = dict.fromkeys(range(4), "a")
    assert deal(requests(0, 1, 2, 3), homes, ["a", "b"]) == ["a", "a", "b", "b"]


def test_a_few_of_one_worker_are_shared_out():
    homes = {0: 0, 1: 1, 2: 0, 3: 1}
    assert deal(requests(0, 2), homes, [0, 1]) == [0, 1]
    assert homes == {0: 0, 1: 1, 2: 1, 3: 1}
