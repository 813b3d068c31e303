"""The learning of one run: its labels on disk, its potential, and what has been said of both."""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ase import Atoms
from ase.data import chemical_symbols

from kstep_integrators import units
from kstep_integrators.fields import replaced
from kstep_integrators.jumps.base import Jump
from kstep_integrators.jumps.flow import FlowJump
from kstep_integrators.jumps.make import make_jump, record_jump
from kstep_integrators.learning.adapted import AdaptedPotential, adapt
from kstep_integrators.learning.gradient_check import check_gradient
from kstep_integrators.learning.label_file import LabelFile
from kstep_integrators.learning.label_sources import read_labels
from kstep_integrators.learning.labelled_physics import LabelledPhysics
from kstep_integrators.learning.labels import Label
from kstep_integrators.learning.learner import Learner, learn_pending, make_learner
from kstep_integrators.learning.lessons import Example
from kstep_integrators.learning.settings import Learning
from kstep_integrators.learning.shown_backbone import crowded
from kstep_integrators.learning.takeover import Refits
from kstep_integrators.notices import KStepWarning
from kstep_integrators.physics.protocol import Physics
from kstep_integrators.potentials.base import Potential
from kstep_integrators.state import PhaseState
from kstep_integrators.step.learning_scheme import begin_learning, frozen, rebound, under
from kstep_integrators.step.options import RunOptions
from kstep_integrators.step.run import Run
from kstep_integrators.step.scheme import Scheme

__all__ = ["RunLearning", "labels_path", "learning_jump", "potential_of", "recorded_jump"]

_log = logging.getLogger(__name__)

Say: TypeAlias = Callable[[str], None]
"""Takes lines for the log of a run."""

CHECKED = 6
"""Labels of each molecule along which forces are compared with energies."""
SOON = 3
"""Labels that are enough, if they leave no doubt that the physics is wrong."""


def learning_jump(model: Any, options: RunOptions, molecules: Sequence[Atoms]) -> FlowJump:
    """The flow of a run that learns, on a potential that can.

    Parameters
    ----------
    model : str, Path, Potential, FlowJump or None
        The base; None for none at all.
    options : RunOptions
    molecules : sequence of ase.Atoms

    Raises
    ------
    ValueError
        For a direct jump.
    """
    settings = options.learning or Learning()
    elements = [z for one in molecules for z in one.numbers.tolist()]
    cells = any(one.pbc.any() for one in molecules)
    packed = any(crowded(one.numbers.tolist(), bool(one.pbc.any())) for one in molecules)
    if model is None:
        timestep = 0.25 * units.FS if options.timestep is None else options.timestep
        device = "cpu" if options.device == "auto" else options.device
        made = adapt(None, elements, settings.backbone, timestep, device, cells, packed)
        return FlowJump(made, timestep)
    jump = make_jump(model, options.timestep, options.device)
    if not isinstance(jump, FlowJump):
        raise ValueError(
            f"learn={settings!r} with a jump that is no flow on a potential ({jump.describe()}): "
            "what it has learned of a stride cannot be set by single forces; use a potential such "
            "as load_model('organic-gfn2') or CalculatorPotential(calculator), or leave learn out"
        )
    base: Potential = jump.potential
    known = getattr(getattr(base, "header", None), "elements", elements)
    unknown = sorted({chemical_symbols[z] for z in elements if z not in known})
    if unknown:
        raise ValueError(
            f"the atoms have {unknown}, but the network of the model knows "
            f"{[chemical_symbols[z] for z in known]} and cannot be the base: pass model=None, or "
            "CalculatorPotential(a cheap calculator), and the run learns any element"
        )
    if not isinstance(base, AdaptedPotential):
        base = adapt(base, elements, settings.backbone, cells=cells, packed=packed)
    elif settings.backbone is not None:
        raise ValueError(
            f"backbone is {str(settings.backbone)!r}, but the potential has been learned on "
            "another already: leave backbone out"
        )
    else:
        base = AdaptedPotential(base.model, base.base, base, base.record)
        base = base.in_cells() if cells else base
    return FlowJump(base, jump.timestep)


def potential_of(jump: Jump) -> Potential:
    """The potential of a run.

    Raises
    ------
    AttributeError
        If its jump has none.
    """
    if not isinstance(jump, FlowJump):
        raise AttributeError(
            f"this run has no potential: its jump is none of a flow ({jump.describe()})"
        )
    return jump.potential


def recorded_jump(jump: Jump, learns: bool) -> dict[str, Any]:
    """Record of the jump that a run was given, for its checkpoint; empty if it began with none.

    Parameters
    ----------
    jump : Jump
    learns : bool
        What a learning run has made of its jump is in its lessons.

    Raises
    ------
    ValueError
        If that was the potential of another run, which no checkpoint could name.
    """
    potential = given = getattr(jump, "potential", None)
    if learns and isinstance(potential, AdaptedPotential):
        given = potential.start
        if given is None:
            return {}
        jump = FlowJump(given, jump.timestep)
    if isinstance(given, AdaptedPotential):
        raise ValueError(
            "the model is the potential that another run has learned, and a checkpoint could not "
            "find it again: write it to a file, potential.save(path), and pass load_model(path), "
            "with base=... if it has one; or leave checkpoint out"
        )
    return record_jump(jump)


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
        One for each molecule, with its template.
    options : RunOptions
    physics : mapping of str to str
        Settings of the physics.
    path : Path or None
        File of the labels; None: a temporary one.
    known : int or None
        Labels in the file that a run which goes on has; None for one that begins.
    """

    def __init__(
        self,
        jump: Jump,
        states: Sequence[PhaseState],
        options: RunOptions,
        physics: Mapping[str, str],
        path: Path | None,
        known: int | None = None,
    ) -> None:
        self.options = options
        self.settings = options.learning or Learning()
        potential = getattr(jump, "potential", None)
        if not isinstance(potential, AdaptedPotential):
            raise TypeError(f"jump is {jump!r}, expected one of learning_jump(...)")
        potential = potential.with_weights(potential.weights, {"method": name_of(physics)})
        self.learner: Learner = make_learner(potential, states)
        paths: Any = self.settings.labels
        molecules = [atoms for state in states for atoms in state.templates or ()]
        self._given = read_labels(paths, molecules, physics, forces=False) if paths else []
        if path is None:
            folder = tempfile.mkdtemp(prefix="kstep-labels-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            path = Path(folder) / "run.labels.traj"
        self.labels = LabelFile(path, physics, known or 0)
        self._refits = None
        if self.settings.refit:
            self._refits = Refits(path, self.settings.refit == "wait", known is not None)
        self._new: list[Example] = []
        self._first = self._unchecked(known or 0)
        self._nsteps = 0

    def labelled(self, physics: Physics, molecules: Sequence[int] | None = None) -> LabelledPhysics:
        """The physics, with its evaluations kept."""
        return LabelledPhysics(physics, self.labels, self._take, lambda: self._nsteps, molecules)

    def _take(self, label: Label) -> None:
        self._new.append(Example.of(label))
        if self._first is not None:
            self._first.append(label)

    def begin(self, run: Run, scheme: Scheme, say: Say) -> tuple[Run, Scheme]:
        """The run before its first step: with what given labels teach."""
        run = begin_learning(run, self.learner, self.options)
        if not self._given or run.lessons is None:
            return run, scheme
        pending = tuple(Example.of(label) for label in self._given)
        lessons = learn_pending(self.learner, replaced(run.lessons, pending=pending), now=True)
        self._say(f"{lessons.labels} labels learned before the first step", say)
        return rebound(replaced(run, lessons=lessons), scheme, self.learner)

    def under(self, options: RunOptions, run: Run | None, stride: float) -> Run | None:
        """The run when its user has changed its options; it has the scheme of these.

        Parameters
        ----------
        options : RunOptions
        run : Run or None
            None if it has not begun.
        stride : float
            Of now, ASE time units.
        """
        self.options, self.settings = options, options.learning or Learning()
        return None if run is None else under(run, options, stride)

    def after_step(self, run: Run, scheme: Scheme, say: Say) -> tuple[Run, Scheme]:
        """The run and its scheme, when the labels of a step have been learned.

        The potential changes between strides only: what is known of it where the run stands is
        then computed anew. It costs no physics.

        Parameters
        ----------
        run : Run
        scheme : Scheme
        say : callable
            Takes lines for the log of the run.
        """
        before, step = run.lessons, f"step {run.nsteps}"
        lessons = before
        if before is not None and before.learning:
            pending = (*before.pending, *self._new)
            lessons = learn_pending(self.learner, replaced(before, pending=pending))
        # Not before: interrupted, the step is made again.
        self._new, self._nsteps = [], run.nsteps
        self._say_pace(run, say)
        if before is None or lessons is None or not before.learning:
            return run, scheme
        if lessons.trusted != before.trusted:
            how = "better: it is used again" if lessons.trusted else "worse: the base is used"
            self._say(f"{step}: over the last labels, what was learned is {how}", say)
        learner = self.learner
        if self._refits is not None and lessons.labels > before.labels:
            self.learner, lessons, said = self._refits.take(learner, lessons)
            self._say(said and f"{step}: {said}", say)
            lessons, said = self._refits.begin(self.learner, lessons, self._learned())
            self._say(said and f"{step}: {said}", say)
        changed = lessons.weights is not before.weights or learner is not self.learner
        run = replaced(run, lessons=lessons)
        if self.settings.stop is not None and lessons.labels >= self.settings.stop:
            run, said = frozen(run)
            self._say(said, say)
            if self._refits is not None:
                self._refits.end()
            changed = True
        return rebound(run, scheme, self.learner) if changed else (run, scheme)

    def _learned(self) -> Iterator[Label]:
        """All labels so far."""
        yield from self._given
        yield from self.labels[: self.count]

    def _unchecked(self, known: int) -> list[Label] | None:
        """The labels so far, if the physics has not been checked with them; else None."""
        if known >= CHECKED * len(self.learner.states):
            return None
        first = self.labels[:known]
        verdict = check_gradient(first) if len(first) >= SOON * len(self.learner.states) else None
        return None if verdict and verdict.wrong else first

    def _say_pace(self, run: Run, say: Say) -> None:
        pace = run.pace
        if pace is not None and pace.step == run.nsteps and not pace.recent and run.nsteps:
            stride = pace.k * run.scheme.timestep / units.FS
            why = "the energy drifts: " if pace.drifted else ""
            self._say(f"step {run.nsteps}: {why}k = {pace.k} ({stride:g} fs) from here on", say)

    def check_physics(self, say: Say) -> None:
        """Compare forces with energy differences along the first displacements.

        Last in a step: a warning may have been made an error, and the step stands then too.
        """
        first = self._first
        if first is None or len(first) < SOON * len(self.learner.states):
            return
        verdict = check_gradient(first)
        if len(first) < CHECKED * len(self.learner.states) and not (verdict and verdict.wrong):
            return
        self._first = None
        if verdict is None:
            return
        self._say(verdict.text(), say)
        if verdict.wrong:
            warnings.warn(verdict.text(), KStepWarning, stacklevel=4)

    def _say(self, line: str | None, say: Say) -> None:
        if line:
            _log.info(line)
            say(line)

    def go_on(self, run: Run, scheme: Scheme) -> tuple[Run, Scheme]:
        """A run that goes on from a checkpoint, with what it had learned."""
        self._nsteps = run.nsteps
        if self._refits is not None and run.lessons is not None:
            self.learner = self._refits.restore(self.learner, run.lessons)
        point = run.point
        run, scheme = rebound(run, scheme, self.learner)
        return replaced(run, point=point), scheme

    @property
    def count(self) -> int:
        """Labels in the file that the run has."""
        return len(self.labels) - self.labels.pending

    def with_waiting(self, run: Run) -> Run:
        """The run with labels that no step has taken in yet, for a checkpoint."""
        lessons = run.lessons
        if lessons is None or not self._new:
            return run
        pending = (*lessons.pending, *self._new)
        return replaced(run, lessons=replaced(lessons, pending=pending))
