"""The options of a run: one set for ASE, ensembles, OpenMM, commands and checkpoints."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from kstep_integrators.arguments import positive_integer
from kstep_integrators.correctors import Corrector
from kstep_integrators.learning.settings import Learning
from kstep_integrators.step.barostat import Barostat
from kstep_integrators.step.guard import Control, Guard
from kstep_integrators.step.option_checks import check_option_values, kelvin_of
from kstep_integrators.step.options_json import options_from_json, options_to_json
from kstep_integrators.step.tuning import StrideTuning
from kstep_integrators.thermostats import Thermostat, make_thermostat

__all__ = ["RunOptions", "Temperatures", "make_rng"]

STOP = 200
"""Labels after which the potential of a Metropolized run is frozen, if nothing else is said."""

Temperatures: TypeAlias = float | Sequence[float]
"""Kelvin: one for all molecules, or one for each."""


def _option(default: Any, meaning: str, unit: str = "") -> Any:
    """A field with what a list of options says of it; ``unit`` is one of ASE's."""
    return field(default=default, metadata={"meaning": meaning, "unit": unit})


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of a run, checked as far as they can be without its model and atoms.

    :class:`~kstep_integrators.KStepDynamics`, :class:`~kstep_integrators.Ensemble`, the OpenMM
    integrator, ``kstep run`` and checkpoints share it. ``metadata`` of each field has its
    ``meaning`` and ``unit``.

    Attributes
    ----------
    k : int or StrideTuning
        Base steps per stride, or numbers of them to choose from in a burn-in.
    timestep : float or None
        Base step, ASE time units; None: the model's own.
    corrector : str, Corrector or None
        None: the first that the jump takes; beyond 4 fs, or 2 fs in periodic cells with hydrogen,
        ``"mollified"``, where it can be.
    thermostat : str or None
        ``"langevin"``, ``"bussi"``; None: Langevin if a friction is given, else constant energy.
    temperature_K : float, sequence of float or None
        One for all molecules, or one for each.
    friction : float or None
        Of Langevin, inverse ASE time units.
    taut : float or None
        Relaxation time of Bussi, ASE time units.
    pressure : float or None
        eV/angstrom^3; None: a cell that stays.
    barostat : str or None
        ``"isotropic"``, ``"anisotropic"`` (each cell vector on its own) or ``"semi-isotropic"``
        (the first two together, the third on its own); None: isotropic, if a pressure is given.
    barostat_scales : str or None
        ``"molecules"`` or ``"atoms"``: what moves of the volume move as a whole; None: molecules.
    barostat_interval : int or None
        Strides between two of them; None: 25.
    metropolize : bool
        Accept or reject each jump by the change of the physical energy.
    extra_chances : int
        How often a rejected trajectory is followed on before the momenta are reversed.
    on_error : str
        One of :data:`~kstep_integrators.step.guard.ON_ERROR`.
    energy_tolerance : float or None
        eV, of the predicted change of energy over a jump.
    force_tolerance : float or None
        eV/angstrom, of the residual force on an atom.
    verify_interval : int or None
        Strides between two evaluations at positions where the physics is estimated, under a
        corrector that averages positions; None: 100, 0: never.
    guard : Guard or None
        Limits beyond which a jump is undone in any case; None: the default ones.
    device : str
        ``"auto"``: where the model was loaded.
    learn : bool or Learning
        Learn the potential from the evaluations of the run; True: with the default settings.

    Raises
    ------
    ValueError, TypeError
        For values that make no sense, or that do not go together.

    Examples
    --------
    >>> from ase import units
    >>> RunOptions(k=4, temperature_K=300.0, friction=0.002 / units.fs).thermostat_of().describe()[
    ...     "thermostat"
    ... ]
    'langevin'
    """

    k: int | StrideTuning = _option(8, "base steps per stride, each stride one physics evaluation")
    timestep: float | None = _option(None, "base step; the model's own if not given", "time")
    corrector: str | Corrector | None = _option(
        None, "how the physics corrects a jump: impulse, filtered, mollified, delta or none"
    )
    thermostat: str | None = _option(None, "langevin, bussi, or none for constant energy")
    temperature_K: Temperatures | None = _option(None, "temperature of the heat bath", "K")
    friction: float | None = _option(None, "friction of the langevin thermostat", "1/time")
    taut: float | None = _option(None, "relaxation time of the bussi thermostat", "time")
    pressure: float | None = _option(None, "pressure of the Monte Carlo barostat", "eV/angstrom^3")
    barostat: str | None = _option(
        None, "isotropic, anisotropic or semi-isotropic; isotropic if a pressure is given"
    )
    barostat_scales: str | None = _option(
        None, "what volume moves move as a whole: molecules or atoms"
    )
    barostat_interval: int | None = _option(
        None, "strides between two volume moves, each one physics evaluation; 25"
    )
    metropolize: bool = _option(False, "accept or reject each jump by the physical energy")
    extra_chances: int = _option(3, "how often a rejected trajectory is followed on and tested")
    on_error: str = _option("fallback", "fallback, shrink, warn or stop: about jumps too far off")
    energy_tolerance: float | None = _option(
        None, "largest error of the energy change that a jump predicts", "eV"
    )
    force_tolerance: float | None = _option(
        None, "largest residual force on an atom at a landing", "eV/angstrom"
    )
    verify_interval: int | None = _option(
        None, "strides between checks of estimated energies, under mollified"
    )
    guard: Guard | None = _option(None, "limits beyond which a jump is undone in any case")
    device: str = _option("auto", "where the model runs: auto, cpu, cuda")
    learn: bool | Learning = _option(False, "learn the potential from the evaluations of the run")

    def __post_init__(self) -> None:
        check_option_values(vars(self))
        if not isinstance(self.k, StrideTuning):
            meaning = "base steps per jump; or pass a StrideTuning"
            object.__setattr__(self, "k", positive_integer("k", self.k, meaning))
        elif not self.metropolize:
            raise ValueError(
                "k=StrideTuning(...) without metropolize=True: a stride is tuned by the acceptance "
                "of a Metropolis test; pass an integer, or metropolize=True"
            )
        if self.timestep is not None and not (math.isfinite(self.timestep) and self.timestep > 0):
            raise ValueError(
                f"timestep is {self.timestep}, expected a positive number of ASE time units"
            )
        object.__setattr__(self, "temperature_K", kelvin_of(self.temperature_K))
        self._check_learning()
        self.thermostats()
        self.barostat_of()
        self.control_of()

    def _check_learning(self) -> None:
        """Bring ``learn`` to a Learning or False, and refuse what does not go with it."""
        learn: object = vars(self)["learn"]
        if learn is True:
            learn = Learning()
        if not isinstance(learn, Learning):
            if learn is not False:
                raise TypeError(f"learn is {learn!r}, expected True, False or Learning(...)")
            return
        if isinstance(self.k, StrideTuning):
            raise ValueError(
                f"learn={learn!r} with k={self.k!r}: the stride of a run that learns grows to k as "
                "far as its potential allows; pass an integer, or leave learn out"
            )
        if self.metropolize and learn.stop is None:
            learn = dataclasses.replace(learn, stop=STOP)
        object.__setattr__(self, "learn", learn)

    @property
    def learning(self) -> Learning | None:
        """Settings of learning; None for a run that does not."""
        return self.learn if isinstance(self.learn, Learning) else None

    def of_jump(self) -> RunOptions:
        """The options without those that a jump has taken: base step and device."""
        return dataclasses.replace(self, timestep=None, device="auto")

    @property
    def first_k(self) -> int:
        """Base steps of the first stride."""
        return self.k.candidates[0] if isinstance(self.k, StrideTuning) else self.k

    @property
    def tuning(self) -> StrideTuning | None:
        """Strides to be tried in a burn-in."""
        return self.k if isinstance(self.k, StrideTuning) else None

    def thermostats(self) -> tuple[Thermostat, ...]:
        """The heat baths that the options ask for: one for each temperature.

        Raises
        ------
        ValueError
            If the name is unknown, options do not go together, or a number is out of range.
        """
        kelvin = self.temperature_K
        return tuple(
            make_thermostat(self.thermostat, one, self.friction, self.taut)
            for one in (kelvin if isinstance(kelvin, tuple) else (kelvin,))
        )

    def thermostat_of(self) -> Thermostat:
        """The heat bath of a run; that of the first temperature, if there are several."""
        return self.thermostats()[0]

    def barostat_of(self) -> Barostat | None:
        """The barostat that the options ask for; None without a pressure.

        Raises
        ------
        ValueError
            If options do not go together, or a value is out of range.
        """
        given = {
            "barostat": self.barostat,
            "barostat_scales": self.barostat_scales,
            "barostat_interval": self.barostat_interval,
        }
        if self.pressure is None:
            alone = {name: value for name, value in given.items() if value is not None}
            if alone:
                raise ValueError(
                    f"{alone} without a pressure: they belong to a barostat; pass pressure too, "
                    "such as 1 * ase.units.bar, or leave them out"
                )
            return None
        kelvin = self.temperature_K
        if kelvin is None or isinstance(kelvin, Sequence) or not kelvin > 0:
            raise ValueError(
                f"pressure={self.pressure} with thermostat={self.thermostat!r} and temperature_K="
                f"{kelvin}: moves of the volume are accepted at the temperature of a thermostat; "
                "ask for one, thermostat='langevin' or 'bussi', at a temperature above 0, or leave "
                "pressure out"
            )
        return Barostat(
            float(self.pressure),
            float(kelvin),
            self.barostat or "isotropic",
            self.barostat_scales or "molecules",
            25 if self.barostat_interval is None else int(self.barostat_interval),
        )

    def control_of(self) -> Control:
        """Tolerances, limits, and what is done about jumps beyond them."""
        guard = Guard() if self.guard is None else self.guard
        return Control(self.on_error, self.energy_tolerance, self.force_tolerance, guard)

    def to_json(self) -> dict[str, Any]:
        """The options as a checkpoint keeps them.

        Raises
        ------
        ValueError
            If a resumed run could not have them: a corrector or guard of the user's own class.
        """
        return options_to_json(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> RunOptions:
        """The options that :meth:`to_json` was called on."""
        return cls(**options_from_json(kept))


def make_rng(rng: np.random.Generator | None) -> np.random.Generator:
    """The generator given, or a fresh one.

    Raises
    ------
    TypeError
        If it is not a generator of numpy.
    """
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng is a {type(rng).__name__}, expected numpy.random.default_rng(seed)")
    return np.random.default_rng() if rng is None else rng
