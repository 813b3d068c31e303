"""Refits of all weights while a run goes on: when one begins, and whether its model is taken."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from kstep_integrators.fields import replaced
from kstep_integrators.files import write_text_atomically
from kstep_integrators.learning.adapted import AdaptedPotential
from kstep_integrators.learning.labels import Label
from kstep_integrators.learning.learner import (
    Learner,
    base_at,
    learn_pending,
    make_learner,
    relearned,
)
from kstep_integrators.learning.lessons import Example, Lessons
from kstep_integrators.learning.refit import Refit, have_trainer, write_refit
from kstep_integrators.models.model_file import read_model
from kstep_integrators.nn.energy.network import EnergyNetwork

__all__ = ["Refits", "refit_potential"]

FIRST = 60
"""Labels at which the first refit begins; each further one at twice as many."""
UNSEEN = 8
"""Labels that a refit has not seen, with which it is compared."""


def refit_potential(potential: AdaptedPotential, path: Path) -> AdaptedPotential:
    """A potential with the network that a refit has made of its own.

    Raises
    ------
    ModelFileError
        If there is no sound model file.
    """
    network, _, digest = read_model(path)
    if not isinstance(network, EnergyNetwork):
        raise ValueError(f"{path} holds a model of direct jumps, expected that of a potential")
    return AdaptedPotential(
        potential.model.with_network(network, digest),
        potential.base,
        potential.start,
        potential.record,
    )


class Refits:
    """The refits of one run, in folders beside its labels.

    A refit that was taken over, or not, leaves a note in its folder at how many labels that was: a
    run that goes on from an earlier checkpoint does the same at the same step.

    Parameters
    ----------
    path : Path
        File of the labels; refits are in ``NAME.refit-1``, ``NAME.refit-2``, ...
    wait : bool
        Take over at fixed numbers of labels, and wait for it.
    resumed : bool
        Whether folders that are there belong to the run.
    """

    def __init__(self, path: Path, wait: bool, resumed: bool) -> None:
        stem = path.name.removesuffix(".traj").removesuffix(".labels")
        self._parent, self._stem = path.parent, stem
        self.wait, self._resumed = wait, resumed
        self._running: Refit | None = None
        self._without = False

    def folder(self, number: int) -> Path:
        """Folder of a refit, counted from 1."""
        return self._parent / f"{self._stem}.refit-{number}"

    def begin(
        self, learner: Learner, lessons: Lessons, labels: Iterable[Label]
    ) -> tuple[Lessons, str | None]:
        """Begin a refit, if it is time.

        Parameters
        ----------
        learner : Learner
        lessons : Lessons
        labels : iterable of Label
            All that have been learned.

        Returns
        -------
        Lessons
        str or None
            A line for the log.
        """
        due = FIRST * 2**lessons.refits_begun
        if lessons.refit_from or lessons.labels < due or math.isnan(lessons.grades[-1].residual):
            return lessons, None
        if not have_trainer():
            said, self._without = self._without, True
            line = "no refits of all weights: the extra 'train' is not installed"
            return lessons, None if said else line
        number = lessons.refits_begun + 1
        folder = self.folder(number)
        if (folder / "settings.json").exists() and not self._resumed:
            shutil.rmtree(folder)  # of an earlier run with the same files
        if not (folder / "settings.json").exists():
            potential = learner.potential.with_weights(lessons.weights)
            network = potential.model.network
            targets = _targets(learner, labels)
            write_refit(folder, network, potential.header("refit"), targets)
        lessons = replaced(
            lessons, refits_begun=number, refit_from=lessons.labels, refit_grade=len(lessons.grades)
        )
        self._look(number)
        return lessons, f"a refit of all weights to {lessons.labels} labels begins"

    def _look(self, number: int) -> Refit:
        """The worker of a refit, started if it is not."""
        if self._running is None or self._running.folder != self.folder(number):
            self._running = Refit(self.folder(number))
            self._running.start()
        return self._running

    def take(self, learner: Learner, lessons: Lessons) -> tuple[Learner, Lessons, str | None]:
        """Take over the model of a refit, if it is made and wins on labels it has not seen.

        Returns
        -------
        Learner, Lessons
        str or None
            A line for the log.
        """
        unseen = lessons.labels - lessons.refit_from
        if not lessons.refit_from or unseen < UNSEEN:
            return learner, lessons, None
        number = lessons.refits_begun
        refit, verdict = self._look(number), self.folder(number) / "verdict.json"
        if verdict.exists():
            if lessons.labels < json.loads(verdict.read_text())["labels"]:
                return learner, lessons, None
        elif self.wait and unseen < max(UNSEEN, lessons.refit_from // 5):
            return learner, lessons, None
        news = refit.poll()
        while news.state == "running" and (self.wait or verdict.exists()):
            refit.wait()
            news = refit.poll()
        if news.state == "running":
            return learner, lessons, None
        after = replaced(lessons, refit_from=0)
        if news.state != "finished":
            said: str | None = f"the refit to {lessons.refit_from} labels failed: {news.reason}"
        else:
            learner, after, said = _compared(learner, lessons, after, number, refit.model)
        write_text_atomically(verdict, json.dumps({"labels": lessons.labels, "said": said}))
        return learner, after, said

    def restore(self, learner: Learner, lessons: Lessons) -> Learner:
        """The learner of a run that goes on from a checkpoint, after the refits it had taken."""
        if not lessons.refit_taken:
            return learner
        path = Refit(self.folder(lessons.refit_taken)).model
        return make_learner(refit_potential(learner.potential, path), learner.states)

    def end(self) -> None:
        """End a worker that nobody waits for any more."""
        if self._running is not None:
            self._running.terminate()
            self._running = None


def _compared(
    learner: Learner, lessons: Lessons, after: Lessons, number: int, path: Path
) -> tuple[Learner, Lessons, str]:
    """Take the model of a refit if it beats what was learned, label by label as they came."""
    examples = lessons.held[-(lessons.labels - lessons.refit_from) :]
    squares, count = 0.0, 0
    for grade in reversed(lessons.grades[lessons.refit_grade :]):
        if count >= len(examples):
            break
        squares, count = squares + grade.count * grade.residual**2, count + grade.count
    learned = math.sqrt(squares / count)
    made = make_learner(refit_potential(learner.potential, path), learner.states)
    found = _residual(made, examples)
    count = len(examples)
    figures = f"{1e3 * found:.1f} against {1e3 * learned:.1f} meV/angstrom on {count} labels since"
    if not found < learned:
        return learner, after, f"the refit to {lessons.refit_from} labels is not taken: {figures}"
    fresh = replaced(relearned(made, after), refit_taken=number, pending=examples)
    fresh = replaced(learn_pending(made, fresh, now=True), labels=after.labels, grades=after.grades)
    return made, fresh, f"the refit to {lessons.refit_from} labels is taken over: {figures}"


def _residual(learner: Learner, examples: Sequence[Example]) -> float:
    """Rms component of physics minus a potential at some labels, eV/angstrom."""
    squares, count = 0.0, 0
    for example in examples:
        if example.forces is None:
            continue
        known = base_at(learner, learner.state_of(example))
        if known is None:
            return math.inf
        left = example.forces - known.require_forces().to(example.forces)
        squares, count = squares + float(left.square().sum()), count + left.numel()
    return math.sqrt(squares / count) if count and math.isfinite(squares) else math.inf


def _targets(learner: Learner, labels: Iterable[Label]) -> Iterable[Atoms]:
    """Labels as the network of a potential is to have them: without what a base beside it gives."""
    for label in labels:
        atoms = label.atoms()
        base = learner.potential.base
        if base is not None and label.forces is not None:
            state = learner.state_of(Example.of(label))
            known, _ = base.bind(state)(state.positions.to(base.device), None)
            atoms.calc = SinglePointCalculator(
                atoms,
                energy=label.energy - float(known.energy[0]),
                forces=label.forces - known.require_forces().cpu().numpy(),
            )
        yield atoms
