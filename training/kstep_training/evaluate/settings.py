"""The settings of an evaluation, which ``key=value`` sets."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kstep_integrators.arguments import whole_number
from kstep_integrators.potentials.backends import check_backend
from kstep_training.inputs.format_units import GivenUnits
from kstep_training.inputs.physics import PhysicsSettings
from kstep_training.keys import setting

__all__ = ["EvaluateSettings"]


@dataclass(frozen=True)
class EvaluateSettings(PhysicsSettings):
    """Physics, methods and lengths of an evaluation's runs; times in fs or ps as the names say.

    Raises
    ------
    ValueError
        If a value is out of its range, or intervals do not fit into each other.

    Examples
    --------
    >>> settings = EvaluateSettings(length_ps=1.0, strides_fs=[2.0, 4.0])
    >>> settings.seeds
    8
    """

    physics: str = setting(
        "GFN2-xTB",
        "expensive method: GFN2-xTB, GFN1-xTB, GFN-FF, pyscf, or module:function, a function of "
        "yours that takes an Atoms object and returns an ASE calculator for it",
    )
    temperature_K: float = setting(300.0, "of the starts and of the heat bath", "K")
    seeds: int = setting(
        8, "independent runs of each method; fewer than 8 cannot be told from noise"
    )
    seed: int = setting(0, "first number that the starts and the noise are drawn from")
    equilibration_ps: float = setting(1.0, "Langevin dynamics before each start", "ps")
    timestep_fs: float = setting(0.5, "base step of all jumps, and step of the references", "fs")
    frame_fs: float = setting(
        2.0, "interval of frames at constant energy; inside longer strides too", "fs"
    )
    length_ps: float = setting(
        2.5, "length of each run at constant energy; 0 leaves that part out", "ps"
    )
    strides_fs: list[float] = setting([2.0, 4.0, 8.0], "strides at constant energy", "fs")
    correctors: list[str] = setting(
        ["impulse", "filtered", "mollified"],
        "correctors at constant energy; the first is that of what has learned too, but for strides "
        "beyond 4 fs, if mollified is among them",
    )
    verify_interval: int | None = setting(
        None, "strides between a mollified run's own checks of its estimates; null: 100, 0: none"
    )
    bar_fs: float = setting(1.0, "step of the velocity Verlet that jumps have to beat", "fs")
    compared_fs: float = setting(160.0, "when the distance from the reference is taken", "fs")
    respa: str = setting(
        "GFN-FF", "cheap method inside the r-RESPA control, named like the physics; none for none"
    )
    resolution: float = setting(28.0, "resolution of the vibrational spectra", "1/cm")
    ensemble_length_ps: float = setting(
        10.0, "length of each run at constant temperature; 0 leaves that part out", "ps"
    )
    ensemble_strides_fs: list[float] = setting(
        [20.0, 50.0, 100.0], "strides at constant temperature", "fs"
    )
    ensemble_frame_fs: float = setting(
        20.0, "interval of frames of the reference at constant temperature", "fs"
    )
    friction_per_ps: float = setting(30.0, "friction of the Langevin reference", "1/ps")
    learn: bool = setting(
        False, "the model adapted to each molecule by a run that learns: frozen, and learning on"
    )
    learn_labels: int = setting(100, "labels that it learns before these runs")
    learn_refit: bool = setting(
        False, "with learn: also with all weights fitted to these labels, which takes minutes"
    )
    spot_checks: int = setting(4, "landings of each run that fresh calculators compute again")
    interval_fs: float = setting(
        0.0,
        "between the frames of trajectories made elsewhere whose files do not say; 0: they do",
        "fs",
    )
    time_unit: str | None = setting(
        None,
        "of the time in trajectories made elsewhere that say none: fs, ps, ns, s, au, akma, ase",
    )
    velocity_unit: str | None = setting(
        None, "of velocities in trajectories made elsewhere that say none, such as A/fs"
    )
    lammps_units: str | None = setting(
        None, "of dumps of LAMMPS that say none: real, metal, electron, si, cgs, nano"
    )
    backend: str = setting(
        "auto", "what computes the forces of a network: auto, native, eager or compiled"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_backend(self.backend)
        if "mm" in (self.physics, self.respa):
            raise ValueError(
                "an evaluation has one physics for all molecules, and mm is a force field of each; "
                "choose another, or pass module:function, a function of yours that takes an Atoms "
                "object and returns an ASE calculator"
            )
        for name in ("temperature_K", "timestep_fs", "frame_fs", "bar_fs", "compared_fs",
                     "resolution", "ensemble_frame_fs", "friction_per_ps",
                     "equilibration_ps"):  # fmt: skip
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                raise ValueError(f"{name} is {getattr(self, name)}, expected a positive number")
        for name in ("length_ps", "ensemble_length_ps"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0.0):
                raise ValueError(f"{name} is {getattr(self, name)}, expected a number from 0")
        if not self.length_ps and not self.ensemble_length_ps:
            raise ValueError(
                "length_ps and ensemble_length_ps are both 0: nothing is left to be run"
            )
        if self.seeds < 2:
            raise ValueError(f"seeds is {self.seeds}; noise needs at least 2, verdicts 8")
        if self.seed < 0 or self.spot_checks < 0 or not self.interval_fs >= 0.0:
            raise ValueError(
                f"seed is {self.seed}, spot_checks {self.spot_checks} and interval_fs "
                f"{self.interval_fs}; expected numbers from 0"
            )
        if self.verify_interval is not None:
            meaning = "strides between two checks of estimated energies, 0 for none"
            whole_number("verify_interval", self.verify_interval, meaning)
        if self.learn_labels < 1:
            raise ValueError(f"learn_labels is {self.learn_labels}, expected at least 1")
        if not self.learn and (self.learn_labels != 100 or self.learn_refit):
            raise ValueError(
                f"learn_labels is {self.learn_labels}, learn_refit {self.learn_refit} and learn "
                "is False; they belong to learn=true"
            )
        self.given_units()
        self._check_intervals()

    def given_units(self) -> GivenUnits:
        """Units of trajectories made elsewhere, as far as they are given."""
        return GivenUnits(self.time_unit, self.velocity_unit, self.lammps_units)

    def _check_intervals(self) -> None:
        for name, interval, unit in (
            *(("strides_fs", stride, self.timestep_fs) for stride in self.strides_fs),
            *(("ensemble_strides_fs", s, self.timestep_fs) for s in self.ensemble_strides_fs),
            ("frame_fs", self.frame_fs, self.timestep_fs),
            ("frame_fs", self.frame_fs, self.bar_fs),
            ("ensemble_frame_fs", self.ensemble_frame_fs, self.timestep_fs),
            ("compared_fs", self.compared_fs, self.frame_fs),
        ):
            if not _whole(interval, unit):
                raise ValueError(f"{name} has {interval} fs, expected a multiple of {unit} fs")
        for stride in self.strides_fs:
            if not (_whole(stride, self.frame_fs) or _whole(self.frame_fs, stride)):
                raise ValueError(
                    f"strides_fs has {stride} fs, which is no multiple of frame_fs, "
                    f"{self.frame_fs} fs, nor a part of it"
                )
            if self.length_ps and not _whole(self.compared_fs, stride):
                raise ValueError(
                    f"compared_fs is {self.compared_fs} fs, expected a multiple of the stride of "
                    f"{stride} fs"
                )
        if self.length_ps and 1000.0 * self.length_ps < self.compared_fs:
            raise ValueError(
                f"length_ps is {self.length_ps}, shorter than compared_fs, {self.compared_fs} fs"
            )


def _whole(interval: float, unit: float) -> bool:
    count = interval / unit
    return count >= 1.0 - 1e-9 and abs(count - round(count)) < 1e-9
