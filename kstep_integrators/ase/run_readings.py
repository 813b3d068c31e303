"""Totals and state of a run as attributes: what is read of it between two steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from ase import Atoms

from kstep_integrators.arguments import whole_number
from kstep_integrators.ase.estimates import estimated_frame
from kstep_integrators.ase.option_attributes import OptionAttributes
from kstep_integrators.fields import replaced
from kstep_integrators.learning.labels import Label
from kstep_integrators.learning.lessons import Lessons
from kstep_integrators.potentials.base import Potential
from kstep_integrators.step.metropolis import Verdict
from kstep_integrators.step.run_learning import potential_of
from kstep_integrators.step.stats import Stats
from kstep_integrators.units import G_PER_CM3

__all__ = ["RunReadings"]


class RunReadings(OptionAttributes):
    """Attributes for what a run has come to; none of them costs an evaluation."""

    _nsteps = 0

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
