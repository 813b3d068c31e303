"""Distribution of requests among workers, so that replicas stay and none waits for another."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence

from kstep_integrators.physics.workers.bench import Request

__all__ = ["Place", "deal"]

Place = int | str
"""Name of a worker."""


def deal(
    requests: Sequence[Request], homes: MutableMapping[int, Place], places: Sequence[Place]
) -> list[Place]:
    """Choose a worker for each request: the one it was at before, unless others would wait.

    No worker gets more than its share, so that a cluster that grows is used, and so are all
    workers for the few molecules of a later chance.

    Parameters
    ----------
    requests : sequence of Request
    homes : mapping of int to place
        Last worker of each replica. It is updated.
    places : sequence
        Names of the workers, at least one.
    """
    share = -(-len(requests) // len(places))
    counts = dict.fromkeys(places, 0)
    dealt: dict[int, Place] = {}
    for number, request in enumerate(requests):
        home = homes.get(request.replica)
        if home is not None and counts.get(home, share) < share:
            dealt[number] = home
            counts[home] += 1
    # Large molecules first, so that they are not all together.
    rest = sorted(set(range(len(requests))) - set(dealt), key=lambda i: -len(requests[i].atoms))
    for number in rest:
        dealt[number] = min(places, key=lambda place: counts[place])
        counts[dealt[number]] += 1
    for number, request in enumerate(requests):
        homes[request.replica] = dealt[number]
    return [dealt[number] for number in range(len(requests))]
