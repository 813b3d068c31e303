"""The learning of one run: its labels on disk, its potential, and what has been said of both."""

from __future__ import annotations

import logging
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kstep_integrators import units
from kstep_integrators.fields import replaced
from kstep_integrators.jumps.base import Jump
from kstep_integrators.jumps.flow import FlowJump
from kstep_integrators.jumps.make import make_jump, record_jump
from kstep_integrators.learning.adapted import AdaptedPotential, adapt
from kstep_integrators.learning.label_file import LabelFile
from kstep_integrators.learning.labelled_physics import LabelledPhysics
from kstep_integrators.learning.labels import Label
from kstep_integrators.learning.learner import Learner, make_learner
from kstep_integrators.learning.lessons import Example
from kstep_integrators.learning.settings import Learning
from kstep_integrators.physics.protocol import Physics
from kstep_integrators.potentials.base import Potential
from kstep_integrators.state import PhaseState
from kstep_integrators.step.learn import begin_learning, learn, rebound
from kstep_integrators.step.options import RunOptions
from kstep_integrators.step.run import Run
from kstep_integrators.step.scheme import Scheme

__all__ = ["RunLearning", "labels_path", "learning_jump", "recorded_jump"]

_log = logging.getLogger(__name__)


def learning_jump(model: Any, options: RunOptions, elements: Sequence[int]) -> FlowJump:
    """The flow of a run that learns, on a potential that can.

    Parameters
    ----------
    model : str, Path, Potential, FlowJump or None
        The base; None for none at all.
    options : RunOptions
    elements : sequence of int
        Atomic numbers of the molecules.

    Raises
    ------
    ValueError
        For a direct jump.
    """
    settings = options.learning or Learning()
    if model is None:
        timestep = 0.25 * units.FS if options.timestep is None else options.timestep
        device = "cpu" if options.device == "auto" else options.device
        return FlowJump(adapt(None, elements, settings.backbone, timestep, device), timestep)
    jump = make_jump(model, options.timestep, options.device)
    if not isinstance(jump, FlowJump):
        raise ValueError(
            f"learn={settings!r} with a jump that is no flow on a potential ({jump.describe()}): "
            "what it has learned of a stride cannot be set by single forces; use a potential such "
            "as load_model('organic-gfn2') or CalculatorPotential(calculator), or leave learn out"
        )
    base: Potential = jump.potential
    if not isinstance(base, AdaptedPotential):
        base = adapt(base, elements, settings.backbone)
    elif settings.backbone is not None:
        raise ValueError(
            f"backbone is {str(settings.backbone)!r}, but the potential has been learned on "
            "another already: leave backbone out"
        )
    return FlowJump(base, jump.timestep)


def recorded_jump(jump: Jump) -> dict[str, Any]:
    """Record of the jump that a run was given, for its checkpoint; empty if it began with none.

    What a learning run has made of it is in its lessons.
    """
    potential = getattr(jump, "potential", None)
    if not isinstance(potential, AdaptedPotential):
        return record_jump(jump)
    start = potential.start
    return {} if start is None else record_jump(FlowJump(start, jump.timestep))


def labels_path(
    settings: Learning, checkpoint: str | Path | None, trajectory: object
) -> Path | None:
    """File of the labels: as set, or named after checkpoint or trajectory; None if nothing is."""
    if settings.file is not None:
        return Path(settings.file).absolute()
    named = checkpoint if checkpoint is not None else trajectory
    if not isinstance(named, str | Path):
        return None
    return Path(named).absolute().with_suffix(".labels.traj")


def name_of(physics: Mapping[str, str]) -> str:
    """Settings of a physics in one line, as the method of a model file."""
    return ", ".join(f"{name} {value}" for name, value in physics.items())


class RunLearning:
    """The learning of one run.

    Parameters
    ----------
    jump : Jump
        From :func:`learning_jump`.
    states : sequence of PhaseState
        One for each molecule.
    options : RunOptions
    physics : mapping of str to str
        Settings of the physics.
    path : Path or None
        File of the labels; None: a temporary one.
    known : int
        Labels in the file that the run has learned, or that wait to be.
    """

    def __init__(
        self,
        jump: Jump,
        states: Sequence[PhaseState],
        options: RunOptions,
        physics: Mapping[str, str],
        path: Path | None,
        known: int = 0,
    ) -> None:
        self.options = options
        self.settings = options.learning or Learning()
        potential = getattr(jump, "potential", None)
        if not isinstance(potential, AdaptedPotential):
            raise TypeError(f"jump is {jump!r}, expected one of learning_jump(...)")
        potential = potential.with_weights(potential.weights, {"method": name_of(physics)})
        self.learner: Learner = make_learner(potential, states)
        if path is None:
            folder = tempfile.mkdtemp(prefix="kstep-labels-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            path = Path(folder) / "run.labels.traj"
        self.labels = LabelFile(path, physics, known)
        self._new: list[Example] = []
        self._nsteps = 0

    def labelled(self, physics: Physics, molecules: Sequence[int] | None = None) -> LabelledPhysics:
        """The physics, with its evaluations kept."""
        return LabelledPhysics(physics, self.labels, self._take, lambda: self._nsteps, molecules)

    def _take(self, label: Label) -> None:
        self._new.append(Example.of(label))

    def begin(self, run: Run) -> Run:
        """The run before its first step."""
        return begin_learning(run, self.learner, self.options)

    def after_step(
        self, run: Run, scheme: Scheme, say: Callable[[str], None]
    ) -> tuple[Run, Scheme]:
        """The run and its scheme, when the labels of a step have been learned.

        Parameters
        ----------
        run : Run
        scheme : Scheme
        say : callable
            Takes lines for the log of the run.
        """
        pace = run.pace
        if pace is not None and pace.step == run.nsteps and not pace.recent and run.nsteps:
            stride = pace.k * run.scheme.timestep / units.FS
            self._say(f"step {run.nsteps}: k = {pace.k} ({stride:g} fs) from here on", say)
        taught = learn(run, scheme, self.learner, self.settings, self._new)
        self._new = []
        for note in taught.notes:
            self._say(note, say)
        self._nsteps = taught.run.nsteps
        return taught.run, taught.scheme

    def _say(self, line: str, say: Callable[[str], None]) -> None:
        _log.info(line)
        say(line)

    def go_on(self, run: Run, scheme: Scheme) -> tuple[Run, Scheme]:
        """A run that goes on from a checkpoint, with what it had learned."""
        self._nsteps = run.nsteps
        point = run.point
        run, scheme = rebound(run, scheme, self.learner)
        return replaced(run, point=point), scheme

    @property
    def count(self) -> int:
        """Labels in the file that the run has."""
        return len(self.labels) - self.labels.pending

    def with_waiting(self, run: Run) -> Run:
        """The run with these among its own, for a checkpoint."""
        lessons = run.lessons
        if lessons is None or not self._new:
            return run
        pending = (*lessons.pending, *self._new)
        return replaced(run, lessons=replaced(lessons, pending=pending))
