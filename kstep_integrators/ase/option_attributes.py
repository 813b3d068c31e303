"""Options of a run as attributes that can be changed while it goes on, or are refused."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from kstep_integrators.ase.longest_impulse import longest_impulse
from kstep_integrators.ase.resumable import ResumableDynamics
from kstep_integrators.fields import replaced
from kstep_integrators.jumps.base import Jump
from kstep_integrators.state import EvaluationFailed
from kstep_integrators.step.make_scheme import changed_scheme
from kstep_integrators.step.options import RunOptions, make_rng
from kstep_integrators.step.run import Run, moved_to, under_barostat
from kstep_integrators.step.run_learning import RunLearning
from kstep_integrators.step.scheme import Scheme

__all__ = ["CHANGEABLE", "FIXED", "OptionAttributes", "check_names", "check_one_bath"]

CHANGEABLE: Final = (
    "k", "timestep", "corrector", "thermostat", "temperature_K", "friction", "taut", "pressure",
    "barostat", "barostat_scales", "barostat_interval", "metropolize",
    "extra_chances", "on_error", "energy_tolerance", "force_tolerance", "verify_interval", "guard",
)  # fmt: skip
"""Options that a run may be given another value of between two steps."""

_IN_KELVIN = "it is called temperature_K here; use dyn.set_temperature(temperature_K=...)"
_OF_FILES = "files are opened at the start; make another run from its atoms"
FIXED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "model": "make another run, KStepDynamics(dyn.atoms, model, ...)",
        "jump": "make another run, KStepDynamics(dyn.atoms, model, ...)",
        "scheme": "it follows the options; use dyn.set_options(...)",
        "options": "use dyn.set_options(...)",
        "device": "the model is there already; make another run, KStepDynamics(..., device=...)",
        "learn": "make another run, KStepDynamics(dyn.atoms, dyn.potential, ..., learn=...)",
        "dt": "it is the stride, k * timestep; set dyn.timestep or dyn.k",
        "temp": _IN_KELVIN,
        "temperature": _IN_KELVIN,
        "atoms": "make another run of them, KStepDynamics(atoms, model, ...)",
        "fixcm": "the bath moves the centre of mass too; atoms.set_constraint(FixCom()) keeps it",
        "fr": "it is called friction here; use dyn.set_friction(...)",
        "checkpoint": _OF_FILES,
        "checkpoint_interval": _OF_FILES,
        "logfile": _OF_FILES,
        "loginterval": _OF_FILES,
        "append_trajectory": _OF_FILES,
        "trajectory": _OF_FILES,
    }
)
"""Names that cannot be set once a run has been made, and what to do instead."""
_LONG_NAMES = tuple(name for name in (*CHANGEABLE, *FIXED) if len(name) > 5)
"""Names that can be told misspelt; those near ``temp`` or ``fr`` may be a user's own."""


def check_names(given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse arguments that a run does not have, such as those of ASE's own thermostats.

    Parameters
    ----------
    given : iterable of str
    known : iterable of str
        All that there are.

    Raises
    ------
    TypeError
        The message says what is done instead, or which name is near.
    """
    known = tuple(known)
    for name in given:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        hint = FIXED.get(name) or (f"did you mean {near[0]!r}?" if near else f"it has {known}")
        raise TypeError(f"KStepDynamics has no argument {name!r}: {hint}")


def check_one_bath(options: RunOptions) -> None:
    """Refuse several temperatures.

    Raises
    ------
    ValueError
        A run of one molecule has one heat bath.
    """
    if isinstance(options.temperature_K, tuple):
        raise ValueError(
            f"temperature_K is {list(options.temperature_K)}, expected one number: a run has one "
            "heat bath; several belong to an Ensemble"
        )


class OptionAttributes(ResumableDynamics):
    """Attributes for the options of a run.

    Setting one is :meth:`set_options` with it alone, from the next step on. What cannot be changed
    is refused with the reason, and so is a name that is nearly one of them.
    """

    options: RunOptions
    scheme: Scheme
    jump: Jump
    _run: Run | None
    _learning: RunLearning | None
    _made = False

    @property
    def k(self) -> int:
        """Base steps of the next stride."""
        return self.options.first_k if self._run is None else self._run.next_k

    def __getattr__(self, name: str) -> Any:
        """Options as they are now: ``timestep``, ``temperature_K``, ``friction`` and the like."""
        options = self.__dict__.get("options")
        told = getattr(type(self), name, None)
        if isinstance(told, property) and told.fget is not None:
            return told.fget(self)  # it has been asked in vain, and says why
        if options is None or name not in CHANGEABLE:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self.jump.timestep if name == "timestep" else getattr(options, name)

    def set_options(self, **changes: Any) -> None:
        """Change options together, from the next step on; the next checkpoint has them.

        Parameters
        ----------
        **changes
            Any of the arguments from ``k`` to ``guard``, ``device`` excepted. One alone can be
            set as an attribute, ``dyn.temperature_K = 350``. ``timestep=None`` is the model's own.

        Raises
        ------
        TypeError, ValueError
            For an unknown name, or values that make no sense or do not go together: a direct jump
            has a base step of its own, say. Nothing has been changed then.

        Examples
        --------
        Heating by 10 K every hundred strides, from an observer:

        >>> from ase import units
        >>> from ase.build import molecule
        >>> from ase.calculators.lj import LennardJones
        >>> from kstep_integrators import CalculatorPotential, KStepDynamics
        >>> atoms = molecule("H2O")
        >>> atoms.calc = LennardJones(sigma=0.8, epsilon=0.1)
        >>> cheap = CalculatorPotential(LennardJones(sigma=0.8, epsilon=0.09))
        >>> bath = {"temperature_K": 300, "friction": 0.01 / units.fs}
        >>> dynamics = KStepDynamics(atoms, cheap, k=4, **bath)
        >>> def heat():
        ...     dynamics.set_temperature(temperature_K=dynamics.temperature_K + 10)
        >>> dynamics.attach(heat, interval=100)
        >>> dynamics.set_options(thermostat="bussi", friction=None, taut=100 * units.fs)
        """
        unknown = sorted({*changes} - {*CHANGEABLE})
        if unknown:
            raise TypeError(f"{unknown} cannot be changed, expected some of {list(CHANGEABLE)}")
        options, scheme = changed_scheme(
            self.scheme, self.options, changes, longest_impulse([self.atoms])
        )
        check_one_bath(options)
        run = self._run
        if run is not None:
            if "k" in changes and run.burn_in is not None:
                raise ValueError(
                    f"k={changes['k']!r} while the stride is being tuned; wait for the end of the "
                    "burn-in, dyn.production_start"
                )
            scheme.thermostat.check(run.point.state)
            bonds = run.point.state.bonds
            scheme.check_constraints(0 if bonds is None else len(bonds))
            if scheme.barostat is not None:
                scheme.barostat.check(run.point.state)
        observed = self._observed is self._state()
        if run is not None:
            k = options.first_k if "k" in changes else run.k
            run = self._under(run, scheme, scheme.jump is self.jump, k)
        if self._learning is not None:
            run = self._learning.under(options, run, self.k * self.jump.timestep)
        if run is not None:
            self._run = run
        self.__dict__.update(options=options, scheme=scheme, jump=scheme.jump)
        self._dt()
        self._saved = None
        if observed and run is not None:  # no observer is at work: what they have seen still is so
            self._observed = self._state()
            self._save()

    def _under(self, run: Run, scheme: Scheme, same_jump: bool, k: int) -> Run:
        """The run with another scheme; evaluated anew only where it needs what is not known.

        Raises
        ------
        EvaluationFailed
            If the physics fails then.
        """
        if same_jump:
            names = (
                "corrector", "thermostat", "control", "metropolis", "shortest_k", "verify_interval",
                "barostat",
            )  # fmt: skip
            parts = {name: getattr(scheme, name) for name in names}
            bound = dataclasses.replace(run.scheme, **parts)
        else:
            bound = scheme.bind(run.point.state, run.scheme.physics)
        after = under_barostat(replaced(run, scheme=bound, k=k), run.scheme.barostat)
        lacks_forces = bound.needs_forces and not run.scheme.needs_forces
        if lacks_forces or _aims_elsewhere(run, after):
            moved = moved_to(after, run.point.state, bound)
            if moved.point.physics.failures:
                raise EvaluationFailed("; ".join(moved.point.physics.failures.values()))
            return moved
        if scheme.corrector.describe() != run.scheme.corrector.describe():
            after = replaced(after, point=replaced(run.point, correction=None))
        return after

    def _dt(self) -> None:
        """Let ASE's ``dt`` be the next stride."""
        self.__dict__["dt"] = self.k * self.jump.timestep

    def set_temperature(
        self, temperature: float | None = None, *, temperature_K: float | None = None
    ) -> None:
        """Set the temperature of the heat bath, and of a Metropolis test, K.

        Raises
        ------
        TypeError
            For a temperature that is not named ``temperature_K``: ASE takes it as an energy in eV.
        """
        if temperature is not None or temperature_K is None:
            raise TypeError(
                f"set_temperature was given {temperature!r}, which ASE takes as an energy in eV, "
                "expected kelvin by name: dyn.set_temperature(temperature_K=300)"
            )
        self.set_options(temperature_K=temperature_K)

    def set_friction(self, friction: float) -> None:
        """Set the friction of the Langevin thermostat, inverse ASE time units."""
        self.set_options(friction=friction)

    def set_taut(self, taut: float) -> None:
        """Set the relaxation time of the Bussi thermostat, ASE time units."""
        self.set_options(taut=taut)

    def set_timestep(self, timestep: float) -> None:
        """Set the base step, ASE time units; the stride is k of them."""
        self.set_options(timestep=timestep)

    def __setattr__(self, name: str, value: Any) -> None:
        if name[0] == "_" or not self._made:  # several times a step: the shortest way
            object.__setattr__(self, name, value)
        elif name in CHANGEABLE:
            self.set_options(**{name: value})
        elif name in FIXED:
            raise AttributeError(
                f"{name} cannot be set to {value!r} while a run goes on: {FIXED[name]}"
            )
        elif name == "rng":
            super().__setattr__(name, make_rng(value))
        elif hasattr(self, name):
            super().__setattr__(name, value)
        else:
            near = difflib.get_close_matches(name, _LONG_NAMES, n=1, cutoff=0.8)
            if near:
                raise AttributeError(
                    f"{name} was set to {value!r}, and this run has no such attribute; did you "
                    f"mean {near[0]!r}?"
                )
            super().__setattr__(name, value)


def _aims_elsewhere(run: Run, after: Run) -> bool:
    """True if a changed run wants the physics at other positions than it was computed at."""
    old, new = run.scheme, after.scheme
    if not (old.corrector.averages or new.corrector.averages):
        return False
    strides = [one.next_k * one.scheme.timestep for one in (run, after)]
    correctors = [one.corrector.describe() for one in (old, new)]
    return old.jump is not new.jump or strides[0] != strides[1] or correctors[0] != correctors[1]
