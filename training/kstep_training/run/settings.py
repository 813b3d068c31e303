"""Settings of the stage ``run``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

from kstep_integrators import Learning
from kstep_integrators.potentials.backends import check_backend
from kstep_integrators.step.options import RunOptions
from kstep_training.inputs.physics import PhysicsSettings
from kstep_training.keys import setting
from kstep_training.run.integrator import IntegratorSettings, integrator_arguments
from kstep_training.run.learning import LearningSettings

__all__ = ["RunSettings"]

_THERMOSTATS = ("langevin", "bussi")
_TAUT_FS = 100.0


@dataclass(frozen=True)
class RunSettings(IntegratorSettings, PhysicsSettings):  # type: ignore[misc]
    """The physics, the integrator and the length of a run.

    Keys of the physics are those of :class:`~kstep_training.inputs.physics.PhysicsSettings`, keys
    of the integrator those of :class:`~kstep_integrators.step.options.RunOptions`.

    Raises
    ------
    ValueError
        If a value is out of its range, or values do not go together.

    Examples
    --------
    >>> RunSettings(physics="pyscf", xc="b3lyp", k=4, length_ps=1.0).k
    4
    """

    charge: int | None = setting(
        None, "charge of the molecule; null: that of its file or SMILES string, or 0", "e"
    )
    multiplicity: int | None = setting(None, "2 S + 1; null: that of the molecule's file, or 1")
    fix_below_A: float | None = setting(
        None,
        "atoms whose z is below this are held, such as the lower layers of a slab, beside those of "
        "FixAtoms in the file of the start",
        "A",
    )
    relax: bool = setting(
        True,
        "whether the geometry is brought to a minimum of the physics first; false: it is a start "
        "as it is, such as a frame of a liquid",
    )
    temperature_K: float = setting(300.0, "temperature of the start, and of the thermostat", "K")
    friction_per_ps: float = setting(
        2.0, "friction of the langevin thermostat, and of the equilibration", "1/ps"
    )
    taut_fs: float = setting(_TAUT_FS, "relaxation time of the bussi thermostat", "fs")
    equilibration_ps: float = setting(
        2.0, "Langevin dynamics in the same jumps before the run; 0 for none", "ps"
    )
    length_ps: float = setting(
        10.0, "length of the run: strides made, rejected ones included", "ps"
    )
    interval_fs: float | None = setting(
        None, "time between frames, rounded to whole strides; null: every stride", "fs"
    )
    checkpoint_interval: int = setting(100, "strides between two checkpoints")
    seed: int = setting(0, "seed of the momenta and of the thermostat's noise")
    backend: str = setting(
        "auto", "what computes the forces of a network: auto, native, eager or compiled"
    )
    learning: LearningSettings = field(default_factory=LearningSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_backend(self.backend)
        if self.thermostat is not None and self.thermostat not in _THERMOSTATS:
            raise ValueError(f"thermostat is {self.thermostat!r}, expected langevin, bussi or null")
        if self.metropolize and self.thermostat != "langevin":
            raise ValueError(
                f"metropolize is true and thermostat is {self.thermostat!r}; a Metropolis test "
                "needs thermostat=langevin"
            )
        for name in ("k", "multiplicity", "checkpoint_interval"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, expected at least 1")
        for name in ("timestep_fs", "temperature_K", "friction_per_ps", "taut_fs", "length_ps",
                     "interval_fs"):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not 0.0 < value < math.inf:
                raise ValueError(f"{name} is {value}, expected a positive number")
        if self.taut_fs != _TAUT_FS and self.thermostat != "bussi":
            raise ValueError(
                f"taut_fs is {self.taut_fs} and thermostat is {self.thermostat!r}; it belongs to "
                "thermostat=bussi"
            )
        if not 0.0 <= self.equilibration_ps < math.inf:
            raise ValueError(
                f"equilibration_ps is {self.equilibration_ps}, expected a number from 0"
            )
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}, expected a whole number from 0")
        if self.pressure_bar is not None and self.thermostat is None:
            raise ValueError(
                f"pressure_bar is {self.pressure_bar} and thermostat is null: moves of the volume "
                "need the temperature of one; set thermostat=langevin or bussi, or leave "
                "pressure_bar out"
            )
        RunOptions(**integrator_arguments(self, learn=self.learning_options()))

    def learning_options(self) -> Learning | bool:
        """How the run learns; False if it does not.

        Raises
        ------
        TypeError, ValueError
            For settings that make no sense, or of a run that does not learn.
        """
        if self.learn:
            return self.learning.options()
        for option in fields(self.learning):
            value = getattr(self.learning, option.name)
            if value != getattr(LearningSettings(), option.name):
                raise ValueError(
                    f"learning.{option.name} is {value!r} and learn is false; it belongs to "
                    "learn=true"
                )
        return False
