"""run_ensemble: many molecules or replicas that move in step."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase import Atoms
from rich.console import Console
from rich.progress import Progress

from kstep_integrators.arguments import positive_integer
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.correctors import Corrector
from kstep_integrators.ensemble.batch import join, select, select_bonds, split_info
from kstep_integrators.ensemble.replicas import EnsembleResult, Replica, ReplicaFiles, atoms_of
from kstep_integrators.jumps.base import Jump
from kstep_integrators.mechanics.bond_watch import Topology, bond_changes, find_bonds
from kstep_integrators.physics.worker_physics import WorkerPhysics
from kstep_integrators.physics.workers import CalculatorFactory, make_workers
from kstep_integrators.potentials.base import Potential
from kstep_integrators.state import Carry, Reasons, mask_of
from kstep_integrators.step.guard import DynamicsFailed, Guard
from kstep_integrators.step.method import make_method, make_rng
from kstep_integrators.step.scheme import Scheme, StepInfo
from kstep_integrators.step.stats import Stats, warn_of_changes
from kstep_integrators.step.stepper import step

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Ensemble", "run_ensemble"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Run:
    """Where the molecules that are left stand, and how they go on."""

    carry: Carry
    scheme: Scheme
    bonds: Topology


class Ensemble:
    """Molecules or replicas that move in step: one network call for the jumps of all of them.

    Each follows the path that it would follow alone, to the rounding of the network in a batch of
    another size. The physics of each is a calculator of its own, in this process, in several, or in
    the workers of a Dask cluster. A replica that cannot go on leaves the others; so does one whose
    physics fails at the start.

    Parameters
    ----------
    atoms_list : sequence of ase.Atoms
        Different molecules, or copies of one. They are not changed.
    model : str, Path, Potential or Jump
        As for :class:`~kstep_integrators.ase.KStepDynamics`. A ``CalculatorPotential`` takes the
        molecules one after another.
    calculator : callable
        Makes the physics of one molecule: a function that takes its Atoms object and returns a new
        ASE calculator. It is called in the process where the calculator will work.
    k, timestep, corrector, thermostat, temperature_K, friction, taut, metropolize, extra_chances, \
on_error, energy_tolerance, force_tolerance, guard, device
        As for :class:`~kstep_integrators.ase.KStepDynamics`; ``on_error="shrink"`` is refused, and
        ``"stop"`` stops the one replica.
    rng : numpy.random.Generator, optional
        Replica i takes its noise from ``rng.spawn(n)[i]``, whatever becomes of the others.
    workers : int
        Local processes for the physics; with 0 or 1 it stays in this one. A script that asks for
        more needs ``if __name__ == "__main__":``.
    scheduler : str or distributed.Client, optional
        Address of a Dask scheduler whose workers do the physics (extra ``dask``).
    trajectory : str or Path, optional
        Folder for one ASE trajectory per replica, ``0000.traj``, ``0001.traj``, ...
    loginterval : int
        Steps between two frames.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense; each message says what was given and what to do.

    Notes
    -----
    Use it as a context manager, or :meth:`close` it, so that the workers end.
    """

    def __init__(
        self,
        atoms_list: Sequence[Atoms],
        model: Jump | Potential | str | Path,
        calculator: CalculatorFactory,
        k: int = 8,
        timestep: float | None = None,
        corrector: str | Corrector | None = None,
        *,
        thermostat: str | None = None,
        temperature_K: float | None = None,
        friction: float | None = None,
        taut: float | None = None,
        rng: np.random.Generator | None = None,
        metropolize: bool = False,
        extra_chances: int = 3,
        on_error: str = "fallback",
        energy_tolerance: float | None = None,
        force_tolerance: float | None = None,
        guard: Guard | None = None,
        device: str = "auto",
        workers: int = 1,
        scheduler: str | Client | None = None,
        trajectory: str | Path | None = None,
        loginterval: int = 1,
    ) -> None:
        if on_error == "shrink":
            raise ValueError(
                "on_error='shrink' shortens the strides of one replica, and an ensemble moves in "
                "step; use 'fallback', 'warn' or 'stop'"
            )
        positive_integer("loginterval", loginterval, "steps between two frames")
        self.method = make_method(
            model,
            k,
            timestep,
            corrector,
            thermostat,
            temperature_K,
            friction,
            taut,
            metropolize,
            extra_chances,
            on_error,
            energy_tolerance,
            force_tolerance,
            guard,
            device,
        )
        if self.method.tuning is not None:
            raise ValueError(
                "k=StrideTuning(...) tunes the stride of one run, and an ensemble moves in step; "
                "tune it with KStepDynamics and pass the integer found"
            )
        molecules = list(atoms_list)
        self._rngs = make_rng(rng).spawn(len(molecules))
        self._state = join(
            [state_from_atoms(atoms, self.method.jump.device) for atoms in molecules]
        )
        self.method.check(self._state)
        self._templates = [atoms.copy() for atoms in molecules]
        self._replicas = [Replica(atoms, Stats()) for atoms in self._templates]
        self._loginterval = loginterval
        self.nsteps = 0
        self._files = None if trajectory is None else ReplicaFiles(trajectory, len(molecules))
        self._workers = make_workers(calculator, workers, scheduler)
        self._physics = WorkerPhysics(self._workers, molecules)
        self._run: _Run | None = None

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
            If the number of steps is negative.
        DynamicsFailed
            If the physics of none of the molecules works at the start.
        """
        if steps < 0:
            raise ValueError(f"steps is {steps}, expected a number >= 0")
        if self._run is None:
            self._begin()
        console = Console(stderr=True)
        with Progress(console=console, disable=not (progress and console.is_terminal)) as bar:
            for _ in bar.track(range(steps), description="ensemble"):
                if self._run is None or not self._physics.replicas:
                    break
                self._step(self._run)

    def result(self) -> EnsembleResult:
        """What became of every replica so far."""
        replicas = list(self._replicas)
        if self._run is not None and self._physics.replicas:
            for number, atoms in zip(self._physics.replicas, self._atoms(self._run), strict=True):
                replicas[number] = dataclasses.replace(replicas[number], atoms=atoms)
        return EnsembleResult(tuple(replicas))

    def _begin(self) -> None:
        """Evaluate the physics at the start; replicas without an energy there leave at once."""
        scheme = self.method.bind(self._state, self._physics)
        physics = self._physics(self._state, scheme.needs_forces)
        count = self._state.n_molecules
        if len(physics.failures) == count:
            raise DynamicsFailed(
                f"none of the {count} molecules has an energy at the start; the first: "
                f"{physics.failures[0]}"
            )
        self._run = _Run(Carry(self._state, physics, None), scheme, find_bonds(self._state))
        for number in range(count):
            self._spend(number, self._physics.seconds / count)
        self._drop({i: f"no energy at the start: {why}" for i, why in physics.failures.items()})
        self._write()

    def _step(self, run: _Run) -> None:
        """One stride of all replicas that are left."""
        noise = [rng.bit_generator.state for rng in self._rngs]
        try:
            carry, info = step(run.carry, run.scheme, self.method.k, self._rngs)
        except BaseException:
            # Made again, after an interrupt, the step is to be the same.
            for rng, state in zip(self._rngs, noise, strict=True):
                rng.bit_generator.state = state
            raise
        bonds, changes = bond_changes(run.bonds, carry.state)
        self._run = _Run(carry, run.scheme, bonds)
        self.nsteps += 1
        for i, part in enumerate(split_info(info, carry.state.batch)):
            number = self._physics.replicas[i]
            self._spend(number, part.physics_seconds)
            if not part.lost:
                self._note(number, part, changes.get(i))
        self._drop(info.lost)
        if self.nsteps % self._loginterval == 0:
            self._write()

    def _spend(self, number: int, seconds: float) -> None:
        """Keep the books of the physics."""
        replica = self._replicas[number]
        stats = dataclasses.replace(
            replica.stats,
            physics_evaluations=self._physics.counts[number],
            physics_seconds=replica.stats.physics_seconds + seconds,
        )
        self._replicas[number] = dataclasses.replace(replica, stats=stats)

    def _note(self, number: int, info: StepInfo, bonds: str | None) -> None:
        """Count what a step was for a replica, and warn of what the user should know."""
        replica = self._replicas[number]
        old, new = replica.stats, replica.stats.add(info)
        new = dataclasses.replace(new, bond_changes=new.bond_changes + bool(bonds))
        heat = 0.0 if info.heat is None else float(info.heat.sum())
        self._replicas[number] = dataclasses.replace(
            replica, stats=new, transferred_energy=replica.transferred_energy + heat
        )
        where = f"replica {number}, step {self.nsteps}"
        warn_of_changes(old, new, where, bonds, info.reason)

    def _drop(self, lost: Reasons) -> None:
        """Go on without some molecules of the batch, which stay at their last good state."""
        if not lost or self._run is None:
            return
        run, atoms = self._run, self._atoms(self._run)
        for i, reason in lost.items():
            number = self._physics.replicas[i]
            self._replicas[number] = dataclasses.replace(
                self._replicas[number], atoms=atoms[i], failure=f"step {self.nsteps}: {reason}"
            )
            kept = "" if self._files is None else str(self._files.restart(number, atoms[i]))
            _log.warning(
                "replica %d is lost at step %d: %s; the others go on%s",
                number,
                self.nsteps,
                reason,
                f". Its last good state is in {kept}" if kept else "",
            )
        keep = ~mask_of(lost, run.carry.physics.energy)
        left = torch.nonzero(keep).flatten().tolist()
        self._physics.replicas = [self._physics.replicas[i] for i in left]
        self._rngs = [self._rngs[i] for i in left]
        if left:
            bonds = select_bonds(run.bonds, keep[run.carry.state.batch])
            carry = select(run.carry, keep)
            self._run = _Run(carry, self.method.bind(carry.state, self._physics), bonds)

    def _atoms(self, run: _Run) -> list[Atoms]:
        """The replicas that are left, as they are."""
        return atoms_of(run.carry, [self._templates[number] for number in self._physics.replicas])

    def _write(self) -> None:
        """A frame of each replica that is left."""
        if self._files is not None and self._run is not None and self._physics.replicas:
            for number, atoms in zip(self._physics.replicas, self._atoms(self._run), strict=True):
                self._files.add(number, atoms)


def run_ensemble(
    atoms_list: Sequence[Atoms],
    model: Jump | Potential | str | Path,
    calculator: CalculatorFactory,
    steps: int,
    *,
    progress: bool = False,
    **arguments: Any,
) -> EnsembleResult:
    """Run molecules or replicas for a number of steps, and end the workers.

    Parameters
    ----------
    atoms_list, model, calculator, **arguments
        As for :class:`Ensemble`.
    steps : int
        One step is one jump.
    progress : bool
        Show a bar, if standard error is a terminal.

    Returns
    -------
    EnsembleResult
        Final atoms, statistics, and for each replica that was lost the reason.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense.
    DynamicsFailed
        If the physics of none of the molecules works at the start.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from ase.calculators.lj import LennardJones
    >>> from kstep_integrators import CalculatorPotential, run_ensemble
    >>> def physics(atoms):
    ...     return LennardJones(sigma=0.8, epsilon=0.1)
    >>> cheap = CalculatorPotential(LennardJones(sigma=0.8, epsilon=0.09))
    >>> result = run_ensemble([molecule("H2O"), molecule("SH2")], cheap, physics, steps=5, k=4)
    >>> [replica.stats.physics_evaluations for replica in result.replicas]
    [6, 6]
    >>> result.failures
    {}
    """
    with Ensemble(atoms_list, model, calculator, **arguments) as ensemble:
        ensemble.run(steps, progress)
        return ensemble.result()
