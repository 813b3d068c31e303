"""Ensemble: many molecules or replicas that move in step."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from kstep_integrators.arguments import positive_integer, whole_number
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.ase.checkpoint import Checkpoint, make_generator
from kstep_integrators.ase.checkpoint_file import read_checkpoint
from kstep_integrators.ase.longest_impulse import longest_impulse
from kstep_integrators.ase.output_arguments import (
    check_apart,
    check_earlier,
    check_folder,
    check_interval,
    check_outputs,
    record_outputs,
)
from kstep_integrators.ase.resumed_arguments import resumed_arguments
from kstep_integrators.correctors import Corrector
from kstep_integrators.ensemble.exchange import check_exchange
from kstep_integrators.ensemble.files import ReplicaFiles
from kstep_integrators.ensemble.replicas import EnsembleResult, Replica
from kstep_integrators.ensemble.states import checked_molecules, join_states, with_baths
from kstep_integrators.ensemble.stepping import SteppingEnsemble
from kstep_integrators.jumps.base import Jump
from kstep_integrators.learning.settings import Learning
from kstep_integrators.models.electrons import warn_of_electrons
from kstep_integrators.physics.identity import settings_of
from kstep_integrators.physics.worker_physics import WorkerPhysics
from kstep_integrators.physics.workers import CalculatorFactory, make_workers
from kstep_integrators.potentials.base import Potential
from kstep_integrators.step.guard import Guard
from kstep_integrators.step.make_scheme import make_scheme
from kstep_integrators.step.options import RunOptions, Temperatures, make_rng
from kstep_integrators.step.run import Run
from kstep_integrators.step.run_learning import (
    RunLearning,
    labels_path,
    learning_jump,
    recorded_jump,
)
from kstep_integrators.step.stats import Stats
from kstep_integrators.step.tuning import StrideTuning

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Ensemble"]


class Ensemble(SteppingEnsemble):
    """Molecules or replicas that move in step: one network call for the jumps of all of them.

    Each follows the path that it would follow alone, to the rounding of the network in a batch of
    another size. The physics of each is a calculator of its own, in this process, in several, or in
    the workers of a Dask cluster. A replica that cannot go on leaves the others; so does one whose
    physics fails at the start.

    Parameters
    ----------
    atoms_list : sequence of ase.Atoms
        Different molecules, or copies of one. They are not changed.
    model : str, Path, Potential, Jump or None
        As for :class:`~kstep_integrators.KStepDynamics`. A ``CalculatorPotential`` takes the
        molecules one after another.
    physics : callable
        Makes the physics of one molecule: a function that takes its Atoms object and returns a new
        ASE calculator. It is called in the process where the calculator will work.
    k, timestep, corrector, thermostat, friction, taut, metropolize, extra_chances, on_error, \
energy_tolerance, force_tolerance, verify_interval, guard, device, learn
        As for :class:`~kstep_integrators.KStepDynamics`. A stride is tuned for all replicas
        together; so it grows, where they learn: all of them teach one potential, and need a
        physics with forces for it. ``on_error="shrink"`` shortens those of each on its own, and
        ``"stop"`` stops the one replica.
    temperature_K : float or sequence of float, optional
        One for all replicas, or one for each.
    pressure, barostat, barostat_scales, barostat_interval
        Refused: a barostat is that of one replica, of
        :class:`~kstep_integrators.KStepDynamics`.
    exchange_interval : int, optional
        Steps between two attempts of replica exchange, which swaps the baths of neighbouring
        temperatures; needs ``metropolize`` and copies of one molecule.
    rng : numpy.random.Generator, optional
        Replica i takes its noise from ``rng.spawn(n)[i]``, whatever becomes of the others.
    workers : int
        Local processes for the physics; with 0 or 1 it stays in this one. A script that asks for
        more needs ``if __name__ == "__main__":``.
    scheduler : str or distributed.Client, optional
        Address of a Dask scheduler whose workers do the physics (extra ``dask``).
    trajectory, logfile : str or Path, optional
        Folders for one ASE trajectory ``0000.traj`` and one log ``0000.log`` per replica.
    loginterval : int
        Steps between two frames, and between two lines.
    checkpoint : str or Path, optional
        File to write everything to that :meth:`resume` goes on from: at the start, at the end of
        each ``run``, in between, and when a run is interrupted between two steps.
    checkpoint_interval : int, optional
        Steps between two checkpoints, 100 by default.

    Attributes
    ----------
    nsteps : int
    production_start : int or None
        Step at which the stride was frozen after a burn-in.
    exchanges : tuple of int
        Pairs that were tried, and that swapped.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense; each message says what was given and what to do.

    Notes
    -----
    Use it as a context manager, or :meth:`close` it, so that the workers end.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from ase.calculators.lj import LennardJones
    >>> from kstep_integrators import CalculatorPotential, Ensemble
    >>> cheap = CalculatorPotential(LennardJones(sigma=0.8, epsilon=0.09))
    >>> def physics(atoms):
    ...     return LennardJones(sigma=0.8, epsilon=0.1)
    >>> with Ensemble([molecule("H2O"), molecule("H2O")], cheap, physics, k=4) as ensemble:
    ...     ensemble.run(3)
    ...     ensemble.result().physics_evaluations
    8
    """

    def __init__(
        self,
        atoms_list: Sequence[Atoms],
        model: Jump | Potential | str | Path | None,
        physics: CalculatorFactory,
        k: int | StrideTuning = 8,
        timestep: float | None = None,
        corrector: str | Corrector | None = None,
        *,
        thermostat: str | None = None,
        temperature_K: Temperatures | None = None,
        friction: float | None = None,
        taut: float | None = None,
        pressure: float | None = None,
        barostat: str | None = None,
        barostat_scales: str | None = None,
        barostat_interval: int | None = None,
        exchange_interval: int | None = None,
        rng: np.random.Generator | None = None,
        metropolize: bool = False,
        extra_chances: int = 3,
        on_error: str = "fallback",
        energy_tolerance: float | None = None,
        force_tolerance: float | None = None,
        verify_interval: int | None = None,
        guard: Guard | None = None,
        device: str = "auto",
        learn: bool | Learning = False,
        workers: int = 1,
        scheduler: str | Client | None = None,
        trajectory: str | Path | None = None,
        logfile: str | Path | None = None,
        loginterval: int = 1,
        checkpoint: str | Path | None = None,
        checkpoint_interval: int | None = None,
        _resumed: Checkpoint | None = None,
    ) -> None:
        self.options = RunOptions(
            k=k, timestep=timestep, corrector=corrector, thermostat=thermostat,
            temperature_K=temperature_K, friction=friction, taut=taut, pressure=pressure,
            barostat=barostat, barostat_scales=barostat_scales,
            barostat_interval=barostat_interval, metropolize=metropolize,
            extra_chances=extra_chances, on_error=on_error, energy_tolerance=energy_tolerance,
            force_tolerance=force_tolerance, verify_interval=verify_interval, guard=guard,
            device=device, learn=learn,
        )  # fmt: skip
        if pressure is not None:
            raise ValueError(
                f"pressure={pressure} in an Ensemble: each replica needs volumes of its own, and a "
                "barostat is that of one; make a KStepDynamics of each, or leave pressure out"
            )
        molecules = checked_molecules(atoms_list)
        check_outputs(trajectory, logfile, loginterval, checkpoint)
        if _resumed is None:
            check_earlier(None, checkpoint)
        learning = self.options.learning
        if learning is not None:
            model = learning_jump(model, self.options, molecules)
        options = self.options.of_jump() if learning else self.options
        self.scheme = make_scheme(model, options, longest_impulse(molecules))
        if learning is not None:
            self.scheme = dataclasses.replace(self.scheme, label_forces=True)
        self._begun = with_baths(
            join_states([state_from_atoms(one, self.scheme.jump.device) for one in molecules]),
            self.options.temperature_K,
        )
        if exchange_interval is not None:
            positive_integer("exchange_interval", exchange_interval, "steps between two attempts")
        check_exchange(molecules, self._begun, exchange_interval, metropolize)
        self.scheme.check(self._begun)
        for one in molecules:
            warn_of_electrons(self.scheme.jump, one)
        self._exchange_interval, self.exchanges = exchange_interval, (0, 0)
        *self._rngs, self._exchange_rng = make_rng(rng).spawn(len(molecules) + 1)
        self._templates = [atoms.copy() for atoms in molecules]
        self._replicas = [Replica(atoms, Stats()) for atoms in self._templates]
        self._loginterval = loginterval
        self._checkpoint = None if checkpoint is None else Path(checkpoint).absolute()
        self._checkpoint_interval = check_interval(checkpoint, checkpoint_interval)
        self._settings: dict[str, Any] = {}
        if checkpoint is not None:
            self._settings = record_outputs(
                checkpoint, trajectory, logfile, loginterval, self._checkpoint_interval
            )
            self._settings |= {"exchange_interval": exchange_interval, "ensemble": True}
            self.options.to_json()  # or say now what cannot be kept
            recorded_jump(self.scheme.jump, learning is not None)
            make_generator(self._exchange_rng.bit_generator.state)
        marks = None if _resumed is None else _resumed.marks
        self._files = ReplicaFiles(trajectory, logfile, len(molecules), marks)
        labels = None if learning is None else labels_path(learning, checkpoint, trajectory)
        check_folder(checkpoint=checkpoint, **{"file of labels": labels})
        check_apart(checkpoint=checkpoint, **{"file of labels": labels})
        self._workers = make_workers(physics, workers, scheduler)
        self._physics = WorkerPhysics(self._workers, molecules)
        self._identity = settings_of(physics)
        self._learning: RunLearning | None = None
        if learning is not None:
            self._learning = RunLearning(
                self.scheme.jump,
                [state_from_atoms(one) for one in molecules],
                self.options,
                self._identity,
                labels,
                None if _resumed is None else _resumed.settings["labels"],
            )
        self._run: Run | None = None
        self._ended: Run | None = None  # the last step of a run in which all replicas were lost
        self._closed = False
        self._saved_at: int | None = None
        if _resumed is not None:
            self._go_on(_resumed)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _ARGUMENTS:
            raise AttributeError(
                f"{name} cannot be set to {value!r}: an ensemble keeps the options that it began "
                "with; make another one from the atoms of ensemble.result()"
            )
        super().__setattr__(name, value)

    @classmethod
    def resume(
        cls,
        path: str | Path,
        physics: CalculatorFactory,
        model: Jump | Potential | str | Path | None = None,
        *,
        workers: int = 1,
        scheduler: str | Client | None = None,
    ) -> Ensemble:
        """Go on from a checkpoint, as if the ensemble had never stopped.

        With calculators that keep nothing from one call to the next, and the model on the CPU,
        every number is the same to the last bit. Frames and log lines that were written after the
        checkpoint are cut off and written again. ``run(n)`` makes n more steps.

        Parameters
        ----------
        path : str or Path
            Of the checkpoint; the run goes on writing to it.
        physics, workers, scheduler
            As at the start.
        model : str, Path, Potential or Jump, optional
            Needed if the run had a calculator or another package's model as its potential, or a
            jump of your own; or if its model file has been moved. Otherwise found by its name or
            path.

        Raises
        ------
        CheckpointError
            If the checkpoint is missing, damaged, of another program or of another version.
        ValueError
            If the model is another, or files are missing, shorter than they were, or others.
            Nothing has been changed then.
        """
        kept = read_checkpoint(path)
        kept.require(path, ensemble=True)
        kept = kept.under(settings_of(physics))
        return cls(
            kept.atoms,
            physics=physics,
            workers=workers,
            scheduler=scheduler,
            **resumed_arguments(kept, path, model),
            _resumed=kept,
        )

    def __enter__(self) -> Ensemble:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers. Results stay; there are no further steps."""
        self._closed = True
        self._workers.close()

    def run(self, steps: int, progress: bool = False) -> None:
        """Make some steps of all replicas that can still go on.

        After an interrupt, trajectories are whole and :meth:`result` is that of the last step that
        was finished.

        Parameters
        ----------
        steps : int
        progress : bool
            Show a bar, if standard error is a terminal.

        Raises
        ------
        ValueError
            If the number of steps is negative, or the ensemble is closed.
        DynamicsFailed
            If the physics of none of the molecules works at the start.
        """
        whole_number("steps", steps, "strides of every replica")
        if self._closed:
            raise ValueError("this ensemble is closed: its workers have ended; make another one")
        if self._last is None:
            self._begin()
        self._files.finish()  # an interrupt may have left some unwritten
        self._save()
        from rich.console import Console  # no one else pays for its import
        from rich.progress import Progress

        console = Console(stderr=True)
        with Progress(console=console, disable=not (progress and console.is_terminal)) as bar:
            try:
                for _ in bar.track(range(steps), description="ensemble"):
                    if self._run is None:
                        break
                    self._step(self._run)
                    if self.nsteps % self._checkpoint_interval == 0:
                        self._save()
            finally:
                self._save()

    def result(self) -> EnsembleResult:
        """The state and the statistics of every replica so far."""
        replicas = list(self._replicas)
        if self._run is not None:
            for number, replica in self._standing(self._run):
                replicas[number] = replica
        return EnsembleResult(tuple(replicas))


_ARGUMENTS = frozenset(
    name for name in inspect.signature(Ensemble).parameters if not name.startswith("_")
)
"""Arguments of an ensemble, which are no attributes."""
