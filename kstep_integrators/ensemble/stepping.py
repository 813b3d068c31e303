"""Steps of an ensemble: all replicas that are left, without those that cannot go on."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms

from kstep_integrators.ase.checkpoint import Checkpoint, make_generator
from kstep_integrators.ase.checkpoint_file import write_checkpoint
from kstep_integrators.ase.output_arguments import check_earlier
from kstep_integrators.ensemble.exchange import exchange
from kstep_integrators.ensemble.files import ReplicaFiles
from kstep_integrators.ensemble.replicas import Replica, atoms_of
from kstep_integrators.ensemble.snapshot import lost_replicas, snapshot
from kstep_integrators.fields import replaced, to_device
from kstep_integrators.learning.labels import Label
from kstep_integrators.learning.lessons import Lessons
from kstep_integrators.models.domain import warn_of_domain
from kstep_integrators.physics.counting import Meter
from kstep_integrators.physics.protocol import Physics
from kstep_integrators.physics.worker_physics import WorkerPhysics
from kstep_integrators.potentials.base import Potential
from kstep_integrators.state import PhaseState, Reasons, mask_of
from kstep_integrators.step.guard import DynamicsFailed
from kstep_integrators.step.options import RunOptions
from kstep_integrators.step.run import Run, advance, begin, moved_to
from kstep_integrators.step.run_learning import RunLearning, potential_of, recorded_jump
from kstep_integrators.step.scheme import Scheme
from kstep_integrators.step.stats import warn_of_changes

__all__ = ["SteppingEnsemble"]

_log = logging.getLogger(__name__)


def _unheard(_: str) -> None:
    """No log of its own: an ensemble has those of its replicas, and Python's."""


class SteppingEnsemble:
    """Makes the steps of an ensemble, and keeps the replicas that were lost on the way."""

    options: RunOptions
    scheme: Scheme
    exchanges: tuple[int, int]
    _begun: PhaseState
    _templates: list[Atoms]
    _replicas: list[Replica]
    _rngs: list[np.random.Generator]
    _exchange_rng: np.random.Generator
    _exchange_interval: int | None
    _physics: WorkerPhysics
    _identity: dict[str, str]
    _learning: RunLearning | None
    _files: ReplicaFiles
    _loginterval: int
    _checkpoint: Path | None
    _settings: dict[str, Any]
    _saved_at: int | None
    _run: Run | None
    _ended: Run | None

    @property
    def production_start(self) -> int | None:
        """The step at which the stride was frozen after a burn-in."""
        return None if self._last is None else self._last.production_start

    @property
    def k(self) -> int:
        """Base steps of the next stride."""
        return self.options.first_k if self._last is None else self._last.next_k

    @property
    def potential(self) -> Potential:
        """The potential of the next stride; where replicas learn, as far as they have learned.

        Raises
        ------
        AttributeError
            If the ensemble has a jump without a potential.
        """
        return potential_of(self.scheme.jump)

    @property
    def labels(self) -> Sequence[Label]:
        """Every evaluation of replicas that learn, read from the file where they are kept."""
        return () if self._learning is None else self._learning.labels

    @property
    def lessons(self) -> Lessons | None:
        """State of learning: weights, labels, residuals on the way; None without ``learn``."""
        return None if self._last is None else self._last.lessons

    @property
    def nsteps(self) -> int:
        """Steps made."""
        return 0 if self._last is None else self._last.nsteps

    @property
    def _last(self) -> Run | None:
        """The run after its last step, also if it ended there; None before it has begun."""
        return self._run or self._ended

    def _begin(self) -> None:
        """Evaluate the physics at the start; replicas without an energy there leave at once."""
        physics = self._asked(tuple(range(len(self._templates))))
        run = begin(self._begun, self.scheme.bind(self._begun, physics), self.options)
        if self._learning is not None:
            run, self.scheme = self._learning.begin(run, self.scheme, _unheard)
        self._start(run)
        self._write()

    def _start(self, run: Run) -> None:
        """Stand at an evaluation that no step has made, without the replicas where it failed."""
        failures, count = run.point.physics.failures, len(run.molecules)
        if len(failures) == count:
            raise DynamicsFailed(
                f"none of the {count} molecules has an energy at the start; the first: "
                f"{failures[0]}"
            )
        self._run = run
        self._drop({i: f"no energy at the start: {why}" for i, why in failures.items()})

    def _step(self, run: Run) -> None:
        """One stride of all replicas that are left."""
        noise = [rng.bit_generator.state for rng in self._rngs]
        meter = Meter(run.scheme.physics, len(run.molecules))
        try:
            after, parts, changes = advance(run, self._rngs, meter)
            if self._learning is not None:
                after, self.scheme = self._learning.after_step(after, self.scheme, _unheard)
        except BaseException:
            # Made again, after an interrupt, the step is to be the same.
            for rng, state in zip(self._rngs, noise, strict=True):
                rng.bit_generator.state = state
            self._run = run.charged(meter)
            raise
        self._run = after
        if run.burn_in is not None and after.burn_in is None:
            _log.info(
                "step %d: the burn-in is over, k = %d from here on; production starts here",
                after.nsteps,
                after.k,
            )
        self._drop({i: part.lost[0] for i, part in enumerate(parts) if part.lost})
        self._exchange()
        if after.nsteps % self._loginterval == 0:
            self._write()
        for i, number in enumerate(run.molecules):
            if not parts[i].lost:
                where = f"replica {number}, step {after.nsteps}"
                old, new = run.stats[i], after.stats[i]
                template = self._templates[number]
                warn_of_domain(
                    self.scheme.jump,
                    template,
                    old.residual_sum,
                    new.residual_sum,
                    3 * len(template),
                )
                warn_of_changes(old, new, where, changes.get(i), parts[i].reason)
        if self._learning is not None:
            self._learning.check_physics(_unheard)

    def _exchange(self) -> None:
        """Try to swap temperatures, if it is time."""
        run, interval = self._run, self._exchange_interval
        if run is None or interval is None or run.nsteps % interval:
            return
        odd = bool(run.nsteps // interval % 2)
        self._run, tried, made = exchange(run, self._exchange_rng, odd)
        self.exchanges = (self.exchanges[0] + tried, self.exchanges[1] + made)

    def _drop(self, lost: Reasons) -> None:
        """Go on without some molecules of the batch, which stay at their last good state."""
        run = self._run
        if not lost or run is None:
            return
        standing = self._standing(run)
        for i, reason in lost.items():
            number, replica = standing[i]
            failure = f"step {run.nsteps}: {reason}"
            self._replicas[number] = dataclasses.replace(replica, failure=failure)
            path = self._files.restart(number, replica.atoms)
            _log.warning(
                "replica %d is lost at step %d: %s; the others go on%s",
                number,
                run.nsteps,
                reason,
                f". Its last good state is in {path}" if path else "",
            )
        left = [i for i in range(len(run.molecules)) if i not in lost]
        self._rngs = [self._rngs[i] for i in left]
        if not left:
            self._run, self._ended = None, run
            return
        keep = ~mask_of(lost, run.point.physics.energy)
        self._physics = self._physics.select(keep)
        numbers = tuple(run.molecules[i] for i in left)
        self._run = run.without(lost, self.scheme, self._asked(numbers))

    def _asked(self, numbers: tuple[int, ...]) -> Physics:
        """The physics of the replicas that are left, whose evaluations a learning run keeps."""
        if self._learning is None:
            return self._physics
        return self._learning.labelled(self._physics, numbers)

    def _standing(self, run: Run) -> list[tuple[int, Replica]]:
        """The replicas that are left, as they are, with their numbers."""
        frames = atoms_of(run.point, [self._templates[number] for number in run.molecules])
        return [
            (number, Replica(atoms, stats, heat))
            for number, atoms, stats, heat in zip(
                run.molecules, frames, run.stats, run.heat, strict=True
            )
        ]

    def _write(self) -> None:
        """Write a frame and a line of each replica that is left."""
        if self._run is not None and self._files.any:
            self._files.write({number: one.atoms for number, one in self._standing(self._run)})

    def _save(self) -> None:
        """Write the checkpoint, if there is one, something has happened, and files are whole."""
        run = self._last
        if self._checkpoint is None or run is None or run.nsteps == self._saved_at:
            return
        if not self._files.whole:
            return
        settings = {**self._settings, "exchanges": list(self.exchanges)}
        if self._learning is not None:
            run = self._learning.with_waiting(run)
            settings["labels"] = self._learning.count
        checkpoint = snapshot(
            run,
            self.options,
            self._templates,
            self._replicas,
            [*self._rngs, self._exchange_rng],
            settings,
            recorded_jump(self.scheme.jump, self._learning is not None),
            self._identity,
            self._files.mark(),
        )
        if self._saved_at is None:  # another run may have begun since this one was made
            check_earlier(None, self._checkpoint)
        write_checkpoint(self._checkpoint, checkpoint)
        self._saved_at = run.nsteps

    def _go_on(self, kept: Checkpoint) -> None:
        """Stand where the run of a checkpoint stood."""
        for number, replica in lost_replicas(kept).items():
            self._replicas[number] = replica
        *self._rngs, self._exchange_rng = [make_generator(state) for state in kept.generators]
        tried, made = kept.settings["exchanges"]
        self.exchanges = (tried, made)
        device = self.scheme.jump.device
        run = replaced(
            kept.run,
            point=to_device(kept.run.point, device),
            bonds=to_device(kept.run.bonds, device),
        )
        molecules = torch.zeros(len(self._replicas), dtype=torch.bool)
        molecules[list(run.molecules)] = True
        self._physics = self._physics.select(molecules)
        begun = self._begun.templates or ()
        state = run.point.state.replace(templates=tuple(begun[i] for i in run.molecules))
        run = replaced(
            run,
            point=replaced(run.point, state=state),
            scheme=self.scheme.bind(state, self._asked(run.molecules)),
        )
        if self._learning is not None:
            run, self.scheme = self._learning.go_on(run, self.scheme)
        self._saved_at = run.nsteps
        if set(run.molecules) <= kept.lost.keys():
            self._ended = run
        elif kept.edited:
            self._start(moved_to(run, run.point.state, run.scheme))
        else:
            self._run = run
