"""KStepDynamics: learned jumps as an ASE ``MolecularDynamics``."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import IO, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from kstep_integrators.ase.atoms import (
    check_atoms,
    check_calculator,
    check_two,
    state_from_atoms,
)
from kstep_integrators.ase.checkpoint import Checkpoint, make_generator
from kstep_integrators.ase.checkpoint_file import read_checkpoint
from kstep_integrators.ase.edits import Written
from kstep_integrators.ase.estimates import say_calls
from kstep_integrators.ase.longest_impulse import longest_impulse
from kstep_integrators.ase.option_attributes import check_names, check_one_bath
from kstep_integrators.ase.output_arguments import (
    check_apart,
    check_earlier,
    check_folder,
    check_interval,
    check_outputs,
    record_outputs,
)
from kstep_integrators.ase.resumed_arguments import resumed_arguments
from kstep_integrators.ase.stepping import SteppingDynamics
from kstep_integrators.correctors import Corrector
from kstep_integrators.jumps.base import Jump
from kstep_integrators.learning.settings import Learning
from kstep_integrators.models.electrons import warn_of_electrons
from kstep_integrators.physics.calculator_physics import CalculatorPhysics
from kstep_integrators.physics.estimated import note_estimates
from kstep_integrators.physics.identity import settings_of
from kstep_integrators.potentials.base import Potential
from kstep_integrators.step.guard import Guard
from kstep_integrators.step.make_scheme import make_scheme
from kstep_integrators.step.options import RunOptions, make_rng
from kstep_integrators.step.run import Run
from kstep_integrators.step.run_learning import (
    RunLearning,
    labels_path,
    learning_jump,
    recorded_jump,
)
from kstep_integrators.step.tuning import StrideTuning

__all__ = ["KStepDynamics"]


class KStepDynamics(SteppingDynamics):
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
        fixed or jumps Metropolized, else the first that the jump takes.
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
        return cls(
            atoms,
            **resumed_arguments(kept, path, model),
            rng=make_generator(kept.generators[0]),
            append_trajectory=True,
            _resumed=kept,
        )


_OWN = tuple(inspect.signature(KStepDynamics).parameters)
_OF_ASE = ("append_trajectory", "master", "comm")
"""Arguments of a run, and those that it leaves to ASE."""
