"""KStepDynamics: learned jumps as an ASE ``MolecularDynamics``."""

from __future__ import annotations

import dataclasses
import inspect
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from kstep_integrators.arguments import whole_number
from kstep_integrators.ase.atoms import (
    check_atoms,
    check_calculator,
    check_two,
    state_from_atoms,
    template_of,
)
from kstep_integrators.ase.checkpoint import (
    Checkpoint,
    make_generator,
)
from kstep_integrators.ase.checkpoint_file import read_checkpoint
from kstep_integrators.ase.edits import Written, check_learnable
from kstep_integrators.ase.estimates import estimated_frame, say_calls
from kstep_integrators.ase.longest_impulse import longest_impulse
from kstep_integrators.ase.option_attributes import OptionAttributes, check_names, check_one_bath
from kstep_integrators.ase.output_arguments import (
    check_apart,
    check_earlier,
    check_folder,
    check_interval,
    check_outputs,
    found_outputs,
    record_outputs,
)
from kstep_integrators.ase.outputs import Marks
from kstep_integrators.ase.restart_file import write_restart
from kstep_integrators.correctors import Corrector
from kstep_integrators.fields import replaced, to_device
from kstep_integrators.jumps.base import Jump
from kstep_integrators.jumps.make import restore_jump
from kstep_integrators.learning.labels import Label
from kstep_integrators.learning.lessons import Lessons
from kstep_integrators.learning.settings import Learning
from kstep_integrators.models.domain import warn_of_domain
from kstep_integrators.models.electrons import warn_of_electrons
from kstep_integrators.physics.calculation import forget
from kstep_integrators.physics.calculator_physics import CalculatorPhysics
from kstep_integrators.physics.counting import Meter
from kstep_integrators.physics.estimated import note_estimates
from kstep_integrators.physics.identity import settings_of
from kstep_integrators.potentials.base import Potential
from kstep_integrators.state import EvaluationFailed, PhaseState, kinetic_energy
from kstep_integrators.step.guard import DynamicsFailed, Guard
from kstep_integrators.step.make_scheme import make_scheme
from kstep_integrators.step.metropolis import Verdict
from kstep_integrators.step.options import RunOptions, make_rng
from kstep_integrators.step.run import Run, advance, begin, moved_to
from kstep_integrators.step.run_learning import (
    RunLearning,
    labels_path,
    learning_jump,
    potential_of,
    recorded_jump,
)
from kstep_integrators.step.scheme import BoundScheme, Scheme
from kstep_integrators.step.stats import Stats, warn_of_changes
from kstep_integrators.step.tuning import StrideTuning
from kstep_integrators.units import FS, G_PER_CM3

__all__ = ["KStepDynamics"]

_log = logging.getLogger(__name__)


class KStepDynamics(OptionAttributes):
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
    model : str, Path, Potential, Jump or None
        A bundled model name, a model file, ``load_model(...)``, or
        ``CalculatorPotential(any cheap calculator)``. None with ``learn``: nothing to start from.
    k : int or StrideTuning
        Base steps per stride, of a direct jump one of those it has learned; or numbers of them to
        choose from in a burn-in, under ``metropolize``.
    timestep : float, optional
        Base step in ASE time units; the model's own by default (0.25 fs for QM models).
    corrector : str or Corrector, optional
        ``"impulse"``, ``"filtered"``, ``"mollified"`` or ``"none"`` around a potential, ``"delta"``
        or ``"none"`` around a direct jump, as its baseline wants. By default ``"mollified"`` around
        a potential at strides beyond 4 fs (2 fs in periodic cells with hydrogen), unless bonds are
        fixed or jumps Metropolized, else the
        first that the jump takes.
        ``Filtered("quartic")`` of :mod:`kstep_integrators.correctors` chooses another filter.
    thermostat : str, optional
        ``"langevin"``, ``"bussi"`` (stochastic velocity rescaling), or None: Langevin if a friction
        is given, constant energy otherwise.
    temperature_K : float, optional
    friction : float, optional
        Of Langevin, inverse ASE time units: ``0.01 / units.fs`` is 10 per picosecond.
    taut : float, optional
        Relaxation time of Bussi, ASE time units, such as ``100 * units.fs``.
    pressure : float, optional
        eV/angstrom^3, such as ``1 * units.bar`` or ``0.1 * units.GPa``: a Monte Carlo barostat on
        the physical energy, beside a thermostat, in a cell that is periodic in all directions.
    barostat : str, optional
        ``"isotropic"`` by default, ``"anisotropic"`` (each cell vector on its own), or
        ``"semi-isotropic"`` (the first two together, the third on its own).
    barostat_scales : str, optional
        ``"molecules"`` (by default; their centres of mass follow the cell) or ``"atoms"``.
    barostat_interval : int, optional
        Strides between two moves of the volume, each one evaluation; 25 by default.
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
    verify_interval : int, optional
        Strides between two evaluations at the positions of the run, under
        ``corrector="mollified"``, whose energies there are estimates: ``stats.estimate_error`` is
        their rms error. 100 by default, 0 for none; counted in ``stats.verifications``.
    guard : Guard, optional
        Limits beyond which a jump is undone in any case. Neither guard nor tolerances have a say
        under ``metropolize``, where tolerances are refused.
    device : str
        ``"auto"`` leaves the model where it was loaded: by default the GPU, if there is one.
    learn : bool or Learning
        Learn the potential from the evaluations of the run, beginning with ``model``; the stride
        grows to k as the potential gets better. ``Learning(...)`` has settings.
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
        Outcome of the last step under ``metropolize``.
    stats : Stats
        Jumps, evaluations, fallbacks, residual, energy error, seconds.
    transferred_energy : float
        Heat that thermostat and moves of the volume have put in since the start, eV.
    potential : Potential
        Of the next stride, as far as it has been learned; ``save(path)`` writes its model file.
    labels : sequence of Label
        Every evaluation of a run that learns.
    lessons : Lessons or None
        What it has learned.

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

    _nsteps = 0

    def __init__(
        self,
        atoms: Atoms,
        model: Jump | Potential | str | Path | None,
        k: int | StrideTuning = 8,
        timestep: float | None = None,
        corrector: str | Corrector | None = None,
        *,
        thermostat: str | None = None,
        temperature_K: float | None = None,
        friction: float | None = None,
        taut: float | None = None,
        pressure: float | None = None,
        barostat: str | None = None,
        barostat_scales: str | None = None,
        barostat_interval: int | None = None,
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
        checkpoint: str | Path | None = None,
        checkpoint_interval: int | None = None,
        trajectory: str | Path | None = None,
        logfile: IO[str] | str | Path | None = None,
        loginterval: int = 1,
        _resumed: Checkpoint | None = None,
        **kwargs: Any,
    ) -> None:
        check_names(kwargs, (*_OWN, *_OF_ASE))
        options = RunOptions(
            k=k, timestep=timestep, corrector=corrector, thermostat=thermostat,
            temperature_K=temperature_K, friction=friction, taut=taut, pressure=pressure,
            barostat=barostat, barostat_scales=barostat_scales,
            barostat_interval=barostat_interval, metropolize=metropolize,
            extra_chances=extra_chances, on_error=on_error, energy_tolerance=energy_tolerance,
            force_tolerance=force_tolerance, verify_interval=verify_interval, guard=guard,
            device=device, learn=learn,
        )  # fmt: skip
        check_one_bath(options)
        check_atoms(atoms)
        note_estimates(atoms, False)  # of a frame that a run left, which this one computes anew
        check_outputs(trajectory, logfile, loginterval, checkpoint, **kwargs)
        check_folder(trajectory=trajectory, logfile=logfile or None, checkpoint=checkpoint)
        learning = options.learning
        labels = None if learning is None else labels_path(learning, checkpoint, trajectory)
        files = {"trajectory": trajectory, "logfile": logfile, "checkpoint": checkpoint}
        check_folder(**{"file of labels": labels})
        check_apart(**files, **{"file of labels": labels})
        if _resumed is None:
            check_earlier(trajectory, checkpoint, kwargs.get("append_trajectory", False))
        if learning is not None:
            model = learning_jump(model, options, [atoms])
        self.scheme = make_scheme(
            model, options if learning is None else options.of_jump(), longest_impulse([atoms])
        )
        self.rng = make_rng(rng)
        check_calculator(atoms)
        if learning is not None and "forces" in atoms.calc.implemented_properties:
            self.scheme = dataclasses.replace(self.scheme, label_forces=True)
        self.options, self.jump = options, self.scheme.jump
        check_two(self.jump, atoms.calc)
        say_calls(self.scheme.corrector, self.jump, options.first_k)
        self._run: Run | None = None
        self._written: Written | None = None
        self._physics: CalculatorPhysics | None = None
        named = trajectory if isinstance(trajectory, str | Path) else "kstep"
        self._restart = Path(named).absolute()
        interval = check_interval(checkpoint, checkpoint_interval)
        self._settings: dict[str, Any] = {}
        if checkpoint is not None:
            self._settings = record_outputs(checkpoint, trajectory, logfile, loginterval, interval)
            options.to_json()  # or say now what cannot be kept
            recorded_jump(self.jump, learning is not None)
            make_generator(self.rng.bit_generator.state)
        state = state_from_atoms(atoms)
        self.scheme.check(state)
        warn_of_electrons(self.jump, atoms)
        self._learning: RunLearning | None = None
        if learning is not None:
            known = None if _resumed is None else _resumed.settings["labels"]
            self._learning = RunLearning(
                self.jump, [state], options, settings_of(atoms.calc), labels, known
            )
        super().__init__(
            atoms,
            options.first_k * self.jump.timestep,
            trajectory=trajectory,
            logfile=logfile,
            loginterval=loginterval,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            checkpoint_interval=interval,
            resumed=_resumed,
            **kwargs,
        )
        self._made = True

    @classmethod
    def resume(
        cls,
        path: str | Path,
        physics: BaseCalculator,
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
        physics : ase Calculator
            As at the start. The atoms are ``.atoms`` of what is returned.
        model : str, Path, Potential or Jump, optional
            Needed if the run had a calculator or another package's model as its potential, or a
            jump of your own; or if its model file has been moved. Otherwise found by its name or
            path.

        Raises
        ------
        CheckpointError
            If the checkpoint is missing, damaged, of another program or of another version.
        ValueError
            If the model is another, or trajectory or log are missing, shorter than they were, or
            others. Nothing has been changed then.
        """
        kept = read_checkpoint(path)
        kept.require(path, ensemble=False)
        atoms = kept.atoms[0]
        atoms.calc = physics
        check_calculator(atoms)
        kept = kept.under(settings_of(physics))
        options = kept.options
        arguments = {name: getattr(options, name) for name in vars(options)}
        for given in ("timestep", "device") if kept.jump else ():  # the jump has them
            del arguments[given]
        return cls(
            atoms,
            restore_jump(kept.jump, model) if kept.jump else None,
            **arguments,
            **found_outputs({n: v for n, v in kept.settings.items() if n != "labels"}, path),
            rng=make_generator(kept.generators[0]),
            checkpoint=path,
            append_trajectory=True,
            _resumed=kept,
        )

    def _go_on(self, kept: Checkpoint) -> None:
        """Stand where the run of a checkpoint stood."""
        point = kept.run.point.to(self.jump.device)
        templates = (template_of(self.atoms),)
        point = replaced(point, state=point.state.replace(templates=templates))
        bonds = to_device(kept.run.bonds, self.jump.device)
        scheme = self._bind(point.state)
        run = replaced(kept.run, scheme=scheme, point=point, bonds=bonds)
        if self._learning is not None:
            run, learned = self._learning.go_on(run, self.scheme)
            self._follow(learned)
        self._run = run
        if self._physics is not None:
            self._physics.adopt(point.computed_at, point.computed, kept.results)
        if not kept.edited:
            self._remember()
        self._dt()

    def _state(self) -> object | None:
        return None if self._run is None else self._run.point

    def box(self) -> tuple[float, float, float] | None:
        """Volume, angstrom^3, density, g/cm^3, and the part of volume moves that was accepted.

        None without a barostat.
        """
        if self.scheme.barostat is None:
            return None
        stats, volume = self.stats, float(self.atoms.get_volume())
        density = float(self.atoms.get_masses().sum()) / volume / G_PER_CM3
        return volume, density, stats.volume_accepted / max(1, stats.volume_moves)

    def estimates(self) -> Atoms | None:
        """A copy of the atoms with estimated energy and forces; None if they are computed.

        Under ``corrector="mollified"`` the physics is computed at averaged positions, and this is
        what log and trajectory show of it. ``atoms.get_potential_energy()`` is an evaluation.
        """
        run = self._run
        if run is None or not bool(run.point.estimated.any()):
            return None
        return estimated_frame(self.atoms, run.point)

    def _is_edited(self) -> bool:
        written, atoms = self._written, self.atoms
        if written is None:
            return True
        return bool(written.changed(atoms)) or written.moved(atoms) or written.kicked(atoms)

    def _snapshot(self, marks: Marks) -> Checkpoint:
        run, physics = self._run, self._physics
        if run is None or physics is None:
            raise ValueError("this run has not begun: it has no state to write")
        settings = self._settings
        if self._learning is not None:
            run = self._learning.with_waiting(run)
            settings = {**settings, "labels": self._learning.count}
        return Checkpoint(
            run=run,
            options=self.options,
            atoms=(self.atoms,),
            results=physics.results(run.point.computed),
            generators=(self.rng.bit_generator.state,),
            nsteps=self.nsteps,
            settings=settings,
            jump=recorded_jump(self.jump, self._learning is not None),
            physics=settings_of(self.atoms.calc),
            marks=(marks,),
            edited=self._written is None or bool(self._written.changed(self.atoms)),
        )

    def todict(self) -> dict[str, Any]:
        """Description kept in trajectory files; ``timestep`` is the stride, as a step is a jump."""
        described: dict[str, Any] = {
            **super().todict(),  # type: ignore[no-untyped-call]
            "k": self.k,
            "base_timestep": self.jump.timestep,
            **self.scheme.corrector.describe(),
            **self.jump.describe(),
            **self.scheme.thermostat.describe(),
            "timestep": self.dt,
        }
        if self.scheme.metropolis is not None:
            described["extra_chances"] = self.scheme.metropolis.extra_chances
        if self.scheme.barostat is not None:
            described.update(self.scheme.barostat.describe())
        return described

    @property
    def stats(self) -> Stats:
        """Totals of the run."""
        return Stats() if self._run is None else self._run.stats[0]

    @property
    def potential(self) -> Potential:
        """The potential of the next stride; of a run that learns, as far as it has learned.

        Raises
        ------
        AttributeError
            If the run has a jump without a potential.
        """
        return potential_of(self.jump)

    @property
    def labels(self) -> Sequence[Label]:
        """Every evaluation of a run that learns, read from the file where they are kept."""
        return () if self._learning is None else self._learning.labels

    @property
    def lessons(self) -> Lessons | None:
        """State of learning: weights, labels, residuals on the way; None without ``learn``."""
        return None if self._run is None else self._run.lessons

    @property
    def production_start(self) -> int | None:
        """The step at which the stride was frozen after a burn-in."""
        return None if self._run is None else self._run.production_start

    @property
    def transferred_energy(self) -> float:
        """Heat that thermostat and moves of the volume have put in since the start, eV."""
        return 0.0 if self._run is None else self._run.heat[0]

    @property
    def last_verdict(self) -> Verdict | None:
        """Outcome of the last step under ``metropolize``."""
        return None if self._run is None else self._run.verdict

    @property
    def nsteps(self) -> int:
        """Steps made; set by hand, the clock shows as many strides of now, as in ASE."""
        return self._nsteps

    @nsteps.setter
    def nsteps(self, value: int) -> None:
        if value == self._nsteps + 1:
            self._nsteps = value
            return
        self._nsteps = whole_number("nsteps", value, "strides made")
        run = self.__dict__.get("_run")
        if run is not None:
            state = run.point.state
            state = state.replace(time=torch.full_like(state.time, value * self.dt))
            self._run = replaced(run, point=replaced(run.point, state=state))

    def get_time(self) -> float:
        """Simulated time in ASE units: the sum of the strides really travelled."""
        return 0.0 if self._run is None else float(self._run.point.state.time[0])

    def get_conserved_energy(self) -> float:
        """Total energy of the physics minus what has been put in from outside, eV.

        That is the heat of the thermostat, and what moves of the volume have changed the energy by.
        It is conserved to the error of the jumps; at constant energy it is the total energy. Of a
        corrector that averages positions it is that of which the motion is the true one: the
        potential's, and what the physics is above it at the averaged positions. Before the first
        step it costs the evaluation that the run starts with, afterwards none.
        """
        point = self._current().point
        total = point.potential_energy + kinetic_energy(point.state)
        return float(total.sum()) - self.transferred_energy

    def step(self) -> None:
        """Make one jump."""
        before, noise = self._current(), self.rng.bit_generator.state
        meter = Meter(before.scheme.physics, 1)
        try:
            after, (info,), changes = advance(before, self.rng, meter)
            scheme = self.scheme
            if self._learning is not None and not info.lost:
                after, scheme = self._learning.after_step(after, scheme, self._say)
        except BaseException:
            # The step is undone as a whole: made again, it is given the same noise.
            self.rng.bit_generator.state = noise
            self._run = before.charged(meter)
            if self._physics is not None:
                self._physics.serve(before.point.computed)
            raise
        if info.lost:
            self.rng.bit_generator.state = noise
            self._run = replaced(before, stats=after.stats)
            path = self._save() or write_restart(self.atoms, before.point, self._restart)
            raise DynamicsFailed(
                f"{info.lost[0]}. The last good state (step {self.nsteps}) is in {path}"
            )
        self._follow(scheme)
        self._run = after
        self._stand(after)
        self._dt()
        if before.burn_in is not None and after.burn_in is None:
            self._freeze()
        if before.stats[0].volume_frozen is None and after.stats[0].volume_frozen is not None:
            self._say_frozen(after)
        if info.estimate_error is not None and bool(info.estimate_error.isfinite()):
            self._say_verified(after.stats[0], float(info.estimate_error))
        # Last: a warning may have been made an error, and the jump stands then too.
        where = f"step {self.nsteps + 1}"
        old, new = before.stats[0].residual_sum, after.stats[0].residual_sum
        warn_of_domain(self.jump, self.atoms, old, new, 3 * len(self.atoms))
        warn_of_changes(before.stats[0], after.stats[0], where, changes.get(0), info.reason)
        if self._learning is not None:
            self._learning.check_physics(self._say)

    def _follow(self, scheme: Scheme) -> None:
        """Go on with the scheme that learning has come to."""
        self.__dict__.update(scheme=scheme, jump=scheme.jump)

    def _stand(self, run: Run) -> None:
        """Put the atoms and their calculator where the run is."""
        state = run.point.state
        positions, momenta = state.positions.cpu().numpy(), state.momenta.cpu().numpy()
        self.atoms.arrays["positions"][:] = positions
        if run.volume is not None:
            self.atoms.set_cell(state.cell[0].cpu().numpy())
        self.atoms.set_array("momenta", momenta, float, (3,))
        if self._physics is not None:
            self._physics.serve(run.point.computed)
        self._written = Written.of(self.atoms, positions, momenta)

    def _remember(self) -> None:
        """Keep what has been written to the atoms, to tell what their user changes."""
        if self._run is not None:
            state = self._run.point.state
            positions, momenta = state.positions.cpu().numpy(), state.momenta.cpu().numpy()
            self._written = Written.of(self.atoms, positions, momenta)

    def _freeze(self) -> None:
        """Say that the burn-in is over, in the log of the run too."""
        line = (
            f"step {self.production_start}: the burn-in is over, k = {self.k} "
            f"({self.dt / FS:g} fs) from here on; production starts here"
        )
        _log.info(line)
        self._say(line)

    def _say_frozen(self, run: Run) -> None:
        """Say that the sizes of volume moves are adapted, in the log of the run too."""
        moves, stats = run.volume, run.stats[0]
        if moves is None or stats.volume is None:
            return
        sizes = ", ".join(f"{100.0 * size / stats.volume:.3g}" for size in moves.sizes)
        line = (
            f"step {run.nsteps}: moves of the volume stay within {sizes} % of it from here on "
            f"({stats.volume_accepted} of {stats.volume_moves} accepted so far); the ensemble at "
            "constant pressure starts here"
        )
        _log.info(line)
        self._say(line)

    def _say_verified(self, stats: Stats, error: float) -> None:
        """Say how good the estimated energy is here, in the log of the run too."""
        per_atom = 1e3 / len(self.atoms)
        rms = per_atom * (stats.estimate_error or 0.0)
        line = (
            f"step {self.nsteps + 1}: the estimated energy is off by {per_atom * error:+.3f} "
            f"meV/atom (rms of {stats.verifications}: {rms:.3f}); conserved energy "
            f"{self.get_conserved_energy():.6f} eV"
        )
        _log.info(line)
        self._say(line)

    def _refresh_properties(self) -> None:
        """Evaluate the physics at the first geometry; every jump evaluates its own landing."""
        if self._written is None:
            self._current()

    def _current(self) -> Run:
        """The run at ``atoms`` as the user left them."""
        run, written, atoms = self._run, self._written, self.atoms
        if run is not None and written is not None:
            changed = written.changed(atoms)
            moved = written.moved(atoms)
            if not changed and not moved and not written.kicked(atoms):
                return run
            if changed:
                # It may not look at what has changed, and serve what it knew before.
                forget(atoms.calc)
                check_atoms(atoms)
                if self._learning is not None:
                    check_learnable(changed, bool(atoms.pbc.any()))
            if run.stats[0].jumps and changed:
                _log.info("step %d: %s changed, evaluated anew", self.nsteps, ", ".join(changed))
            check_calculator(atoms)
            check_two(self.jump, atoms.calc)
        state = state_from_atoms(atoms, self.jump.device, self.get_time())
        if state.bonds is not None:
            # They may have been projected: logs are to show those that the run starts with.
            atoms.set_momenta(state.momenta.cpu().numpy(), apply_constraint=False)
        if run is None:
            self._run = begin(state, self._bind(state), self.options)
            if self._learning is not None:
                self._run, scheme = self._learning.begin(self._run, self.scheme, self._say)
                self._follow(scheme)
        elif written is None or changed:
            self._run = moved_to(run, state, self._bind(state))
        elif moved:
            self._run = moved_to(run, state, run.scheme)
        else:
            self._run = replaced(run, point=replaced(run.point, state=state))
        run = self._run
        if run.point.physics.failures:
            self._written = None  # there is no run at these positions
            raise EvaluationFailed("; ".join(run.point.physics.failures.values()))
        if self._physics is not None:  # a label may have been in its place
            self._physics.serve(run.point.computed)
        self._remember()
        return run

    def _bind(self, state: PhaseState) -> BoundScheme:
        """The scheme of a step of these atoms, on a physics of their own."""
        rule = self.scheme.metropolis
        kept = 2 if rule is None else rule.extra_chances + 2
        kept += self.scheme.barostat is not None
        self._physics = CalculatorPhysics(self.atoms, self.atoms.calc, kept)
        if self._learning is not None:
            return self.scheme.bind(state, self._learning.labelled(self._physics))
        return self.scheme.bind(state, self._physics)


_OWN = tuple(inspect.signature(KStepDynamics).parameters)
_OF_ASE = ("append_trajectory", "master", "comm")
"""Arguments of a run, and those that it leaves to ASE."""
