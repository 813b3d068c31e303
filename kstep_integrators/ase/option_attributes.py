"""Options of a run as attributes that can be changed while it goes on, or are refused."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from kstep_integrators.step.options import make_rng

__all__ = ["CHANGEABLE", "FIXED", "OptionAttributes", "check_names"]

CHANGEABLE: Final = (
    "k", "timestep", "corrector", "thermostat", "temperature_K", "friction", "taut", "metropolize",
    "extra_chances", "on_error", "energy_tolerance", "force_tolerance", "guard",
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


class OptionAttributes:
    """Attributes for the options of a run.

    Setting one is :meth:`set_options` with it alone, from the next step on. What cannot be changed
    is refused with the reason, and so is a name that is nearly one of them.
    """

    _made = False

    def set_options(self, **changes: Any) -> None:
        """Change options together, from the next step on."""
        raise NotImplementedError

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
        if not self._made or name.startswith("_"):
            super().__setattr__(name, value)
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
