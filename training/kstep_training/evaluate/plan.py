"""The plan of an evaluation: its methods, and the key under which each run is kept."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from kstep_integrators.correctors.mollified import IMPULSE
from kstep_integrators.step.make_scheme import LONGEST_IMPULSE
from kstep_integrators.units import FS
from kstep_training.evaluate.record import surroundings
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.inputs.models import model_identity, model_label, trained_strides
from kstep_training.inputs.molecules import InputMolecule
from kstep_training.inputs.physics import make_physics

__all__ = [
    "FROZEN", "LEARNING", "REFERENCE", "REFITTED", "THERMAL", "TRUTH", "Method", "Run",
    "make_methods", "run_key", "run_noise", "start_key", "start_noise", "teaching_key",
]  # fmt: skip

SCHEMA: Final = 1
"""Raised whenever runs of an earlier version would not be made again the same way."""

REFERENCE: Final = "reference"
"""Velocity Verlet at the base step of the jumps, so that a deviation is the stride's own."""
TRUTH: Final = "fine"
"""Velocity Verlet at a quarter of it, for distances: short."""
THERMAL: Final = "langevin"
"""Langevin dynamics on the physics (BAOAB), of which the right ensemble is known to be right."""

FROZEN: Final = "learned"
LEARNING: Final = "learning"
REFITTED: Final = "refitted"
"""Jumps of a model that has learned the molecule: frozen, learning on, or frozen with all weights
fitted."""


@dataclass(frozen=True)
class Method:
    """One way to move a molecule, at one stride.

    Attributes
    ----------
    name : str
        In tables; no part of the key.
    part : {"dynamics", "ensemble"}
    role : {"reference", "control", "test"}
    kind : {"verlet", "jumps", "ballistic", "langevin"}
    stride_fs : float
        Between evaluations of the physics.
    frame_fs : float
        Between frames; a multiple of the stride, or a part of it.
    length_ps : float
        Simulated time of a run, ps.
    potential : str
        Of jumps: a model or a cheap calculator.
    corrector : str
    metropolize : bool
    learn : str
        Empty, or what is done with what the model has learned beforehand.
    """

    name: str
    part: str
    role: str
    kind: str
    stride_fs: float
    frame_fs: float
    length_ps: float
    potential: str = ""
    corrector: str = ""
    metropolize: bool = False
    learn: str = ""

    @property
    def steps(self) -> int:
        """Steps or strides of a run: as many as fit into the simulated time."""
        return int(1000.0 * self.length_ps / self.stride_fs + 1e-9)


@dataclass(frozen=True)
class Run:
    """One trajectory of the plan: a molecule, a method, and the number of its start."""

    molecule: InputMolecule
    method: Method
    seed: int


def make_methods(model: str, settings: EvaluateSettings) -> list[Method]:
    """All methods of an evaluation, references first.

    Parameters
    ----------
    model : str
        As for :func:`~kstep_training.inputs.models.read_model`. Direct jumps have the strides
        they were trained for.
    settings : EvaluateSettings

    Raises
    ------
    ValueError
        If a trained stride does not fit into the time of comparison.

    Examples
    --------
    >>> settings = EvaluateSettings(strides_fs=[4.0], correctors=["impulse"], respa="none")
    >>> for method in make_methods("organic-gfn2", settings)[:5]:
    ...     print(method.name, method.role, method.stride_fs)
    reference reference 0.5
    fine reference 0.125
    verlet-1 control 1.0
    verlet-4 control 4.0
    impulse-4 test 4.0
    """
    s, methods = settings, list[Method]()
    trained = trained_strides(model)
    for stride in trained if s.length_ps else ():
        if abs(s.compared_fs / stride - round(s.compared_fs / stride)) > 1e-6:
            raise ValueError(
                f"compared_fs is {s.compared_fs} fs, expected a multiple of {stride:g} fs, the "
                f"stride that {model} was trained for"
            )
    if s.learn and (trained or not s.length_ps):
        reason = "its model makes direct jumps" if trained else "length_ps is 0"
        raise ValueError(
            f"learn is true and {reason}; it belongs to runs at constant energy of a potential"
        )
    if s.length_ps:
        methods += _dynamics(model, s, trained)
        methods += _learned(model, s) if s.learn else []
    # A direct jump is not reversible: no Metropolis test holds for it.
    if s.ensemble_length_ps and not trained:
        shared: dict[str, Any] = {"part": "ensemble", "length_ps": s.ensemble_length_ps}
        methods.append(
            Method(THERMAL, role="reference", kind="langevin", stride_fs=s.timestep_fs,
                   frame_fs=s.ensemble_frame_fs, **shared)
        )  # fmt: skip
        for stride in s.ensemble_strides_fs:
            methods.append(
                Method(f"metropolis-{stride:g}", role="test", kind="jumps", stride_fs=stride,
                       frame_fs=stride, potential=model, corrector="none", metropolize=True,
                       **shared)
            )  # fmt: skip
        if s.ensemble_strides_fs:
            stride = min(s.ensemble_strides_fs)
            methods.append(
                Method(f"untested-{stride:g}", role="control", kind="jumps", stride_fs=stride,
                       frame_fs=stride, potential=model, corrector="none", **shared)
            )  # fmt: skip
    return methods


def _dynamics(model: str, s: EvaluateSettings, trained: dict[float, str]) -> list[Method]:
    whole: dict[str, Any] = {"part": "dynamics", "length_ps": s.length_ps}

    def verlet(name: str, step: float, role: str, length_ps: float = s.length_ps) -> Method:
        frame = max(step, s.frame_fs)
        return Method(name, "dynamics", role, "verlet", step, frame, length_ps)

    methods = [
        verlet(REFERENCE, s.timestep_fs, "reference"),
        verlet(TRUTH, s.timestep_fs / 4.0, "reference", s.compared_fs / 1000.0),
    ]
    strides = [*trained] or s.strides_fs
    steps = sorted({s.bar_fs, *strides} - {s.timestep_fs})
    methods += [verlet(f"verlet-{step:g}", step, "control") for step in steps]

    def jumps(name: str, role: str, stride: float, potential: str, corrector: str) -> Method:
        return Method(name, role=role, kind="jumps", stride_fs=stride,
                      frame_fs=min(stride, s.frame_fs), potential=potential, corrector=corrector,
                      **whole)  # fmt: skip

    for h, corrector in trained.items():
        methods.append(
            Method(f"direct-{h:g}", role="test", kind="jumps", stride_fs=h, frame_fs=h,
                   potential=model, corrector=corrector, **whole)
        )  # fmt: skip
    for corrector in s.correctors if not trained else ():
        for h in strides:
            # Mollified strides so short are impulses.
            if corrector == "mollified" and h * FS <= IMPULSE and "impulse" in s.correctors:
                continue
            methods.append(jumps(f"{corrector}-{h:g}", "test", h, model, corrector))
    if strides:
        h = max(strides)
        if not trained:
            # The trajectory of the potential knows nothing of strides: one is enough.
            methods.append(jumps("potential-only", "control", h, model, "none"))
        methods.append(
            Method("ballistic", role="control", kind="ballistic", stride_fs=h, frame_fs=s.frame_fs,
                   **whole)
        )  # fmt: skip
    if s.respa != "none":
        for h in strides:
            methods.append(jumps(f"respa-{h:g}", "control", h, s.respa, "impulse"))
    return methods


def _learned(model: str, s: EvaluateSettings) -> list[Method]:
    """Jumps of a model that has learned the molecule; those that learn on have landings only."""
    kinds = [FROZEN, LEARNING, *([REFITTED] if s.learn_refit else [])]
    first = (s.correctors or ["impulse"])[0]
    long = "mollified" if "mollified" in s.correctors else first
    return [
        Method(f"{learn}-{h:g}", "dynamics", "test", "jumps", h,
               h if learn == LEARNING else min(h, s.frame_fs), s.length_ps, model,
               long if h * FS > LONGEST_IMPULSE else first, learn=learn)
        for learn in kinds
        for h in s.strides_fs
    ]  # fmt: skip


def teaching_key(molecule: InputMolecule, method: Method, settings: EvaluateSettings) -> str:
    """Key of what a model has learned of a molecule, which several methods share."""
    return _digest(
        {
            "start": _digest(_start(molecule, 0, settings, "identity")),
            "friction_per_ps": settings.friction_per_ps,
            **_taught(method, settings, model_identity(method.potential)),
        }
    )


def _taught(method: Method, settings: EvaluateSettings, identity: str) -> dict[str, Any]:
    return {
        "taught": identity,
        "labels": settings.learn_labels,
        "stride_fs": method.stride_fs,
        "base_fs": settings.timestep_fs,
        "corrector": method.corrector,
        "refit": method.learn == REFITTED,
    }


def _digest(described: dict[str, Any]) -> str:
    """Hash of a description. Keys stay those of the first version, so that kept runs stay."""
    text = json.dumps({"schema": SCHEMA, **described}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _describe(molecule: InputMolecule) -> dict[str, Any]:
    atoms = molecule.atoms
    described = {
        "numbers": atoms.numbers.tolist(),
        "masses": atoms.get_masses().tolist(),
        "positions": np.round(atoms.positions, 8).tolist(),
        "charge": int(atoms.info.get("charge", 0)),
    }
    multiplicity = int(atoms.info.get("multiplicity", 1))
    if multiplicity != 1:
        described["multiplicity"] = multiplicity
    cell, pbc, fixed = surroundings(atoms)
    if any(pbc):
        described |= {"cell": np.round(cell, 8).tolist(), "pbc": list(pbc)}
    if fixed.any():
        described["fixed"] = np.flatnonzero(fixed).tolist()
    return described


def start_key(molecule: InputMolecule, seed: int, settings: EvaluateSettings) -> str:
    """Key of a thermalized start, which all methods share."""
    return _digest(_start(molecule, seed, settings, "identity"))


def start_noise(molecule: InputMolecule, seed: int, settings: EvaluateSettings) -> int:
    """Seed of a thermalized start: its key, but for the code of a physics of one's own.

    The noise stays the same when that code, or the version of Python, is another.
    """
    return int(_digest(_start(molecule, seed, settings, "label")), 16)


def run_key(run: Run, settings: EvaluateSettings) -> str:
    """Key of a run: a hash of all that its frames depend on, and of nothing else.

    References do not depend on the model, so that the evaluation of another one finds them.
    """
    return _digest(_run(run, settings, "identity"))


def run_noise(run: Run, settings: EvaluateSettings) -> int:
    """Seed of a run: its key, but for the code of a physics of one's own."""
    return int(_digest(_run(run, settings, "label")), 16)


_By = Literal["identity", "label"]
"""Attribute of a physics that it is known by: all it is, or without code."""


def _start(
    molecule: InputMolecule, seed: int, settings: EvaluateSettings, by: _By
) -> dict[str, Any]:
    return {
        "start": _describe(molecule),
        "physics": getattr(make_physics(settings), by),
        "temperature": settings.temperature_K,
        "picoseconds": settings.equilibration_ps,
        "seed": [settings.seed, seed],
    }


def _run(run: Run, settings: EvaluateSettings, by: _By) -> dict[str, Any]:
    method = run.method
    described: dict[str, Any] = {
        "start": _digest(_start(run.molecule, run.seed, settings, by)),
        "kind": method.kind,
        "stride_fs": method.stride_fs,
        "frame_fs": method.frame_fs,
        "picoseconds": method.length_ps,
        "spot_checks": settings.spot_checks,
    }
    if method.kind == "jumps":
        known = model_identity if by == "identity" else model_label
        described |= {
            "base_fs": settings.timestep_fs,
            "potential": known(method.potential),
            "corrector": method.corrector,
            "metropolize": method.metropolize,
        }
        if method.corrector == "mollified":
            described["verify_interval"] = settings.verify_interval
        if method.learn:
            described |= {
                "learn": method.learn,
                "friction_per_ps": settings.friction_per_ps,
                **_taught(method, settings, described["potential"]),
            }
    if method.part == "ensemble":
        described |= {"ensemble": True, "friction_per_ps": settings.friction_per_ps}
    return described
