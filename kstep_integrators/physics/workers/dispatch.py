"""Requests dealt to workers, wherever they are, and dealt again when workers are lost."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kstep_integrators.physics.calculation import Answer
from kstep_integrators.physics.workers.bench import Request
from kstep_integrators.physics.workers.dealing import Place, deal

__all__ = ["ATTEMPTS", "Crew", "Dispatcher", "Lost"]

ATTEMPTS = 3
"""Workers that a geometry may cost before it is given up."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lost:
    """News that a worker is gone, with what was sent to it.

    Attributes
    ----------
    reason : str
    """

    reason: str


class Crew(Protocol):
    """Workers of one kind, and the way in which requests are sent and answers come back.

    Each keeps a :class:`~kstep_integrators.physics.workers.bench.Bench` and computes one list of
    requests at a time.
    """

    def places(self) -> Sequence[Place]:
        """Names of the workers that are there; those that can be started again are.

        Raises
        ------
        ConnectionError
            If there will be none any more.
        """
        ...

    def send(self, place: Place, requests: Sequence[Request]) -> None:
        """Hand a list of requests to a worker that has nothing to do.

        Raises
        ------
        ConnectionError
            If there will be no workers any more. A single one that is gone is news.
        """
        ...

    def receive(self) -> list[tuple[Place, list[Answer] | Lost]]:
        """Wait for news of workers, but not for ever; empty if there are none.

        Raises
        ------
        ConnectionError
            If there will be no workers any more.
        """
        ...

    def abandon(self) -> None:
        """End all that is under way."""
        ...

    def close(self) -> None:
        """Let go of processes and connections."""
        ...


class Dispatcher:
    """Evaluation of many geometries by a crew.

    A replica stays with its worker, so that its calculator goes on from where it was. What was sent
    to a worker that is lost is sent to others, which make new calculators: each geometry on its
    own, so that the one that cost a worker does not cost the others theirs; one that costs
    :data:`ATTEMPTS` workers is given up. Without any worker, the run waits until one comes.

    Parameters
    ----------
    crew : Crew
    """

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self._homes: dict[int, Place] = {}

    def evaluate(self, requests: Sequence[Request]) -> list[Answer]:
        """Answers in the order of the requests."""
        answers: dict[int, Answer] = {}
        losses = Counter[int]()
        sent: dict[Place, list[int]] = {}
        try:
            while len(answers) < len(requests):
                under_way = {index for indices in sent.values() for index in indices}
                waiting = [i for i in range(len(requests)) if i not in answers.keys() | under_way]
                if waiting:
                    self._send(requests, waiting, losses, sent)
                for place, news in self.crew.receive():
                    indices = sent.pop(place)
                    if isinstance(news, Lost):
                        answers.update(_give_up(requests, indices, losses, news.reason))
                    else:
                        answers.update(zip(indices, news, strict=True))
        except ConnectionError as error:
            gone = Answer(failure=str(error))
            return [answers.get(index, gone) for index in range(len(requests))]
        except BaseException:
            # An interrupt: answers on their way would be taken for those of the next requests.
            self.crew.abandon()
            raise
        return [answers[index] for index in range(len(requests))]

    def _send(
        self,
        requests: Sequence[Request],
        waiting: Sequence[int],
        losses: Counter[int],
        sent: dict[Place, list[int]],
    ) -> None:
        """Give workers that have nothing to do their share of what is waiting."""
        idle = [place for place in self.crew.places() if place not in sent]
        if not idle:
            return
        shares: dict[Place, list[int]] = {place: [] for place in idle}
        fresh = [i for i in waiting if not losses[i]]
        dealt = deal([requests[i] for i in fresh], self._homes, idle)
        for index, place in zip(fresh, dealt, strict=True):
            shares[place].append(index)
        suspects = [i for i in waiting if losses[i]]
        for place, share in shares.items():
            if not share and suspects:
                share.append(suspects.pop(0))
                self._homes[requests[share[0]].replica] = place
            if share:
                self.crew.send(place, [requests[i] for i in share])
                sent[place] = share

    def close(self) -> None:
        """Let go of processes and connections; they cannot be used any more."""
        self.crew.close()


def _give_up(
    requests: Sequence[Request], indices: Sequence[int], losses: Counter[int], reason: str
) -> dict[int, Answer]:
    """Count a lost worker, and answer for geometries that have cost too many."""
    replicas = ", ".join(str(requests[i].replica) for i in indices)
    _log.warning("a worker was lost (%s) with replicas %s; others go on", reason, replicas)
    losses.update(indices)
    failure = f"{ATTEMPTS} workers were lost with it, the last: {reason}"
    return {i: Answer(failure=failure) for i in indices if losses[i] >= ATTEMPTS}
