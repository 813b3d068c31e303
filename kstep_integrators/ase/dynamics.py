"""KStepDynamics: learned jumps as an ASE ``MolecularDynamics``."""

from __future__ import annotations

import dataclasses
import logging
import warnings
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from kstep_integrators.ase.atoms import same_system, state_from_atoms
from kstep_integrators.ase.checkpoint import (
    Checkpoint,
    calculator_name,
    make_generator,
    read_checkpoint,
)
from kstep_integrators.ase.outputs import Marks
from kstep_integrators.ase.restart_file import write_restart
from kstep_integrators.ase.resumable import ResumableDynamics
from kstep_integrators.ase.run_settings import check_interval, record_settings, restore_settings
from kstep_integrators.correctors import Corrector
from kstep_integrators.jumps.base import Jump
from kstep_integrators.jumps.make import record_jump, restore_jump
from kstep_integrators.mechanics.bond_watch import find_bonds
from kstep_integrators.physics.evaluation import CalculatorPhysics
from kstep_integrators.potentials.base import Potential
from kstep_integrators.potentials.calculator import CalculatorPotential
from kstep_integrators.state import Carry, PhaseState, kinetic_energy
from kstep_integrators.step.guard import DynamicsFailed, Guard
from kstep_integrators.step.method import make_method, make_rng
from kstep_integrators.step.metropolis import Verdict
from kstep_integrators.step.run import Progress, advance
from kstep_integrators.step.scheme import Scheme
from kstep_integrators.step.stats import Stats, warn_of_changes
from kstep_integrators.step.stepper import start
from kstep_integrators.step.tuning import StrideTuning, begin
from kstep_integrators.units import FS

__all__ = ["KStepDynamics"]

_log = logging.getLogger(__name__)


class KStepDynamics(ResumableDynamics):
    """Molecular dynamics in strides of k base steps, one physics evaluation each.

    One ASE step is one jump: ``run(n)`` makes n jumps of stride ``k * timestep`` and n + 1
    evaluations of ``atoms.calc`` (n, if it is run on). A jump that ends in nonsense, or where the
    physics fails, is undone and its stride made with velocity Verlet on the physics;
    ``stats.fallbacks`` counts that. With tolerances, ``on_error`` says what else is undone and what
    is done instead. A bond that breaks or forms is warned of.

    Parameters
    ----------
    atoms : ase.Atoms
        With the physics as its calculator. Positions and momenta are read anew at each step.
    model : str, Path, Potential or Jump
        A bundled model name, a model file, ``load_model(...)``, or
        ``CalculatorPotential(any cheap calculator)``.
    k : int or StrideTuning
        Base steps per stride, of a direct jump one of those it has learned; or strides to choose
        from in a burn-in, under ``metropolize``.
    timestep : float, optional
        Base step in ASE time units; the model's own by default (0.25 fs for QM models).
    corrector : str or Corrector, optional
        ``"impulse"``, ``"filtered"`` or ``"none"`` around a potential, ``"delta"`` or ``"none"``
        around a direct jump, as its baseline wants; by default the first that the jump takes.
        ``Filtered("quartic")`` of :mod:`kstep_integrators.correctors` chooses another filter.
    thermostat : str, optional
        ``"langevin"``, ``"bussi"`` (stochastic velocity rescaling), or None: Langevin if a friction
        is given, constant energy otherwise.
    temperature_K : float, optional
    friction : float, optional
        Of Langevin, inverse ASE time units: ``0.01 / units.fs`` is 10 per picosecond.
    taut : float, optional
        Relaxation time of Bussi, ASE time units, such as ``100 * units.fs``.
    rng : numpy.random.Generator, optional
        Source of the thermostat's noise; a fresh one by default.
    metropolize : bool
        Accept or reject each jump by the change of the *physical* energy, at ``temperature_K``: the
        canonical ensemble of the physics, exactly, whatever the model and at any stride.
    extra_chances : int
        How often a rejected trajectory is followed on and tested again before the momenta are
        reversed.
    on_error : str
        What is done about jumps beyond the tolerances: ``"fallback"`` (undo it and make the stride
        with Verlet), ``"shrink"`` (undo it, make the stride in shorter jumps, and the following
        ones for a while), ``"warn"`` or ``"stop"``.
        See :class:`~kstep_integrators.step.guard.Control`.
    energy_tolerance : float, optional
        Error of the change of energy that the potential predicts for one jump, eV.
    force_tolerance : float, optional
        Largest residual force on an atom at a landing, eV/angstrom.
    guard : Guard, optional
        Limits beyond which a jump is undone in any case. Neither guard nor tolerances have a say
        under ``metropolize``, where tolerances are refused.
    device : str
        ``"auto"`` leaves the model where it was loaded: by default the GPU, if there is one.
    checkpoint : str or Path, optional
        File to write everything to that :meth:`resume` goes on from: at the start, at the end of
        each ``run``, in between, and when a run is stopped by an error or Ctrl-C between two steps.
    checkpoint_interval : int, optional
        Steps between two checkpoints, 100 by default.
    trajectory, logfile, loginterval, append_trajectory, **kwargs
        As in :class:`ase.md.md.MolecularDynamics`.

    Attributes
    ----------
    k : int
        Base steps of the next stride.
    production_start : int or None
        The step at which the stride was frozen after a burn-in.
    last_verdict : Verdict or None
        What became of the last step under ``metropolize``.
    stats : Stats
        Jumps, evaluations, fallbacks, residual, energy error, seconds.
    transferred_energy : float
        Heat that the thermostat has put in since the start, eV.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense; each message says what was given and what to do.
    DynamicsFailed
        While running, if a jump and the physics steps in its place fail. The last good state is in
        ``atoms`` and in the checkpoint or else a restart file, named in the message.

    Examples
    --------
    >>> from ase.calculators.lj import LennardJones
    >>> from ase.build import molecule
    >>> from kstep_integrators import CalculatorPotential, KStepDynamics
    >>> atoms = molecule("H2O")
    >>> atoms.calc = LennardJones(sigma=0.8, epsilon=0.1)
    >>> cheap = CalculatorPotential(LennardJones(sigma=0.8, epsilon=0.09))
    >>> dynamics = KStepDynamics(atoms, cheap, k=4)
    >>> dynamics.run(5)
    True
    >>> dynamics.stats.jumps, dynamics.stats.physics_evaluations
    (5, 6)
    """

    def __init__(
        self,
        atoms: Atoms,
        model: Jump | Potential | str | Path,
        k: int | StrideTuning = 8,
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
        checkpoint: str | Path | None = None,
        checkpoint_interval: int | None = None,
        trajectory: str | Path | None = None,
        logfile: IO[str] | str | Path | None = None,
        loginterval: int = 1,
        _resumed: Checkpoint | None = None,
        **kwargs: Any,
    ) -> None:
        method = make_method(
            model, k, timestep, corrector, thermostat, temperature_K, friction, taut, metropolize,
            extra_chances, on_error, energy_tolerance, force_tolerance, guard, device,
        )  # fmt: skip
        self.rng = make_rng(rng)
        if atoms.calc is None:
            raise ValueError(
                "atoms has no calculator; set atoms.calc to the physics to be followed"
            )
        self.method, self.jump = method, method.jump
        potential = getattr(self.jump, "potential", None)
        if isinstance(potential, CalculatorPotential) and potential.calculator is atoms.calc:
            raise ValueError(
                "the potential and atoms.calc are the same calculator object; make two, or each "
                "evaluation of one discards the results of the other"
            )
        self._progress = Progress(method.k, None if method.tuning is None else begin(method.tuning))
        self.production_start: int | None = None
        self._scheme: Scheme | None = None
        self._trajectory_name = trajectory if isinstance(trajectory, str | Path) else None
        interval = check_interval(checkpoint, checkpoint_interval)
        self._settings: dict[str, Any] = {}
        if checkpoint is not None:
            self._settings = record_settings(
                method,
                trajectory=trajectory,
                logfile=logfile,
                loginterval=loginterval,
                checkpoint_interval=interval,
            )
            make_generator(self.rng.bit_generator.state)  # or say now that it cannot be kept
        method.check(state_from_atoms(atoms))
        super().__init__(
            atoms,
            method.k * self.jump.timestep,
            trajectory=trajectory,
            logfile=logfile,
            loginterval=loginterval,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            checkpoint_interval=interval,
            resumed=_resumed,
            **kwargs,
        )

    @classmethod
    def resume(
        cls,
        path: str | Path,
        calculator: BaseCalculator,
        model: Jump | Potential | str | Path | None = None,
    ) -> KStepDynamics:
        """Go on from a checkpoint, as if the run had never stopped.

        With a calculator that keeps nothing from one call to the next, and the model on the CPU,
        every number is the same to the last bit, and no evaluation is made that the uninterrupted
        run would not make. Frames and log lines that were written after the checkpoint are cut off
        and written again. ``run(n)`` makes n more steps. Observers of your own have to be attached
        again.

        Parameters
        ----------
        path : str or Path
            Of the checkpoint; the run goes on writing to it.
        calculator : ase Calculator
            The physics, as at the start. The atoms are ``.atoms`` of what is returned.
        model : str, Path, Potential or Jump, optional
            Needed if the run had a calculator as its potential, or a jump of your own; or if its
            model file has been moved. Otherwise found by its name or path.

        Raises
        ------
        CheckpointError
            If the checkpoint is missing, damaged, of another program or of another version.
        ValueError
            If the model is another, or trajectory or log are missing, shorter than they were, or
            others. Nothing has been changed then.
        """
        found = read_checkpoint(path)
        changes = found.changes(calculator)
        if changes:
            warnings.warn(
                f"the checkpoint was written with {'; '.join(changes)}: the run may not go on as "
                "it would have",
                stacklevel=2,
            )
        found.atoms.calc = calculator
        return cls(
            found.atoms,
            restore_jump(found.jump, model),
            **restore_settings(found.settings),
            rng=make_generator(found.generator),
            checkpoint=path,
            append_trajectory=True,
            _resumed=found,
        )

    def _go_on(self, found: Checkpoint) -> None:
        """Stand where the run of a checkpoint stood."""
        carry = found.carry.to(self.jump.device)
        bonds = dataclasses.replace(
            find_bonds(carry.state), bonded=found.bonded.to(self.jump.device)
        )
        self._progress = dataclasses.replace(found.progress, carry=carry, bonds=bonds)
        self._scheme = self._make_scheme(carry.state)
        if isinstance(self._scheme.physics, CalculatorPhysics):
            self._scheme.physics.adopt(carry.state, carry.physics, found.results)
        self.production_start, self.dt = found.production_start, self.k * self.jump.timestep

    def _state(self) -> object | None:
        return self._progress.carry

    def _snapshot(self, marks: Marks) -> Checkpoint:
        carry, bonds, scheme = self._progress.carry, self._progress.bonds, self._scheme
        if carry is None or bonds is None or scheme is None:
            raise ValueError("this run has not begun: it has no state to write")
        physics = scheme.physics
        known = physics.results(carry.physics) if isinstance(physics, CalculatorPhysics) else {}
        return Checkpoint(
            carry=carry,
            progress=dataclasses.replace(self._progress, carry=None, bonds=None),
            bonded=bonds.bonded,
            atoms=self.atoms,
            results=known,
            generator=self.rng.bit_generator.state,
            nsteps=self.nsteps,
            production_start=self.production_start,
            settings=self._settings,
            jump=record_jump(self.jump),
            calculator=calculator_name(self.atoms.calc),
            marks=marks,
        )

    def todict(self) -> dict[str, Any]:
        """Description kept in trajectory files; ``timestep`` is the stride, as a step is a jump."""
        described: dict[str, Any] = {
            **super().todict(),  # type: ignore[no-untyped-call]
            "k": self.k,
            "base_timestep": self.jump.timestep,
            **self.method.corrector.describe(),
            **self.jump.describe(),
            **self.method.thermostat.describe(),
            "timestep": self.dt,
        }
        if self.method.metropolis is not None:
            described["extra_chances"] = self.method.metropolis.extra_chances
        return described

    @property
    def k(self) -> int:
        """Base steps of the next stride."""
        return self._progress.stride

    @property
    def stats(self) -> Stats:
        """Totals of the run."""
        return self._progress.stats

    @property
    def transferred_energy(self) -> float:
        """Heat that the thermostat has put in since the start, eV."""
        return self._progress.transferred_energy

    @property
    def last_verdict(self) -> Verdict | None:
        """What became of the last step under ``metropolize``."""
        return self._progress.verdict

    def get_time(self) -> float:
        """Simulated time in ASE units: the sum of the strides really travelled."""
        return self._progress.time

    def get_conserved_energy(self) -> float:
        """Total energy of the physics minus the heat that the thermostat has put in, eV.

        It is conserved to the error of the jumps; at constant energy it is the total energy. Before
        the first step it costs the evaluation that the run starts with, afterwards none.
        """
        carry, _ = self._current()
        total = carry.physics.energy + kinetic_energy(carry.state)
        return float(total.sum()) - self.transferred_energy

    def step(self) -> None:
        """Make one jump."""
        carry, scheme = self._current()
        before, noise = self._progress, self.rng.bit_generator.state
        try:
            after, info, changes = advance(before, scheme, self.rng)
        except BaseException:
            # The step is undone as a whole: made again, it is given the same noise.
            self.rng.bit_generator.state = noise
            self._count_evaluations(scheme)
            raise
        self._progress = after
        self._count_evaluations(scheme)
        if info.lost:
            self.rng.bit_generator.state = noise
            path = self._save() or write_restart(self.atoms, carry, self._trajectory_name)
            raise DynamicsFailed(
                f"{info.lost[0]}. The last good state (step {self.nsteps}) is in {path}"
            )
        self._stand(scheme)
        self.dt = self.k * self.jump.timestep
        if before.burn_in is not None and after.burn_in is None:
            self._freeze()
        # Last: a warning may have been made an error, and the jump stands then too.
        where = f"step {self.nsteps + 1}"
        warn_of_changes(before.stats, after.stats, where, "; ".join(changes), info.reason)

    def _stand(self, scheme: Scheme) -> None:
        """Put the atoms and their calculator where the run is."""
        carry = self._progress.carry
        if carry is None:
            return
        self.atoms.set_positions(carry.state.positions.cpu().numpy(), apply_constraint=False)
        self.atoms.set_momenta(carry.state.momenta.cpu().numpy(), apply_constraint=False)
        if isinstance(scheme.physics, CalculatorPhysics):
            scheme.physics.serve(carry.physics)

    def _freeze(self) -> None:
        """Say that the burn-in is over, in the log of the run too."""
        self.production_start = self.nsteps + 1
        said = (
            f"step {self.production_start}: the burn-in is over, k = {self.k} "
            f"({self.dt / FS:g} fs) from here on; production starts here"
        )
        _log.info(said)
        self._say(said)

    def _refresh_properties(self) -> None:
        """Evaluate the physics at the first geometry; every jump evaluates its own landing."""
        if self._progress.carry is None:
            self._current()

    def _current(self) -> tuple[Carry, Scheme]:
        """The carry that belongs to ``atoms`` as the user left them, and how to advance it."""
        state = state_from_atoms(self.atoms, self.jump.device, self._progress.time)
        if state.bonds is not None:
            # They may have been projected: logs are to show those that the run starts with.
            self.atoms.set_momenta(state.momenta.cpu().numpy(), apply_constraint=False)
        carry, scheme = self._progress.carry, self._scheme
        if scheme is None or carry is None or self._other_system(carry.state, state):
            scheme = self._scheme = self._make_scheme(state)
            carry = None
        if carry is None or not torch.equal(carry.state.positions, state.positions):
            try:
                carry = start(state, scheme)
            finally:
                self._count_evaluations(scheme)
            self._progress = dataclasses.replace(
                self._progress, carry=carry, bonds=find_bonds(state)
            )
        elif not torch.equal(carry.state.momenta, state.momenta):
            carry = dataclasses.replace(carry, state=state)
            self._progress = dataclasses.replace(self._progress, carry=carry)
        return carry, scheme

    def _other_system(self, old: PhaseState, new: PhaseState) -> bool:
        physics = self._scheme.physics if self._scheme is not None else None
        if isinstance(physics, CalculatorPhysics) and physics.atoms.calc is not self.atoms.calc:
            return True
        return not same_system(old, new)

    def _make_scheme(self, state: PhaseState) -> Scheme:
        rule = self.method.metropolis
        kept = 2 if rule is None else rule.extra_chances + 2
        return self.method.bind(state, CalculatorPhysics(self.atoms, self.atoms.calc, kept))

    def _count_evaluations(self, scheme: Scheme) -> None:
        """Move the physics' own counters into the statistics."""
        made, seconds = scheme.physics.evaluations, scheme.physics.seconds
        scheme.physics.evaluations, scheme.physics.seconds = 0, 0.0
        stats = dataclasses.replace(
            self.stats,
            physics_evaluations=self.stats.physics_evaluations + made,
            physics_seconds=self.stats.physics_seconds + seconds,
        )
        self._progress = dataclasses.replace(self._progress, stats=stats)
