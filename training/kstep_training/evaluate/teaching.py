"""What a model learns of a molecule before it is evaluated: a run that learns, kept in a file.

It begins at the first start with momenta of its own, so that no later run repeats it, and is made
once for all methods that go on with what it has learned.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.md.velocitydistribution import thermalize_momenta

from kstep_integrators import KStepDynamics, Learning, load_model, units
from kstep_integrators.correctors import CORRECTORS
from kstep_integrators.files import write_text_atomically
from kstep_integrators.physics.workers import CalculatorFactory
from kstep_integrators.potentials import NetworkPotential, Potential, SumPotential
from kstep_integrators.units import FS, MEV
from kstep_training.evaluate.counting import counting
from kstep_training.evaluate.plan import REFITTED, Method
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.run.learning import base_of, blocks_of

__all__ = ["taught_potential"]


def taught_potential(
    method: Method,
    start: Atoms,
    model: Potential,
    physics: CalculatorFactory,
    settings: EvaluateSettings,
    path: Path,
) -> tuple[NetworkPotential | SumPotential, dict[str, Any]]:
    """A model with what it has learned of a molecule, and how it has learned.

    Parameters
    ----------
    method : Method
        Whose stride the run grows to.
    start : ase.Atoms
    model : Potential
        The base.
    physics : CalculatorFactory
    settings : EvaluateSettings
        With the number of labels.
    path : Path
        Model file; what is there is read and not made again. The history is beside it.

    Returns
    -------
    NetworkPotential or SumPotential
    dict
        ``blocks`` with residuals before each label was learned, ``time_fs`` and ``stride_fs`` of
        each stride, ``evaluations``, ``seconds``.

    Raises
    ------
    DynamicsFailed
        If the run does not come to its end.
    """
    history = path.with_suffix(".json")
    if not history.exists():
        told = _teach(method, start, model, physics, settings, path)
        write_text_atomically(history, json.dumps(told))
    learned: Any = load_model(path, model.device, backend=settings.backend, base=base_of(model))
    return learned, json.loads(history.read_text())


def _teach(
    method: Method,
    start: Atoms,
    model: Potential,
    physics: CalculatorFactory,
    settings: EvaluateSettings,
    path: Path,
) -> dict[str, Any]:
    atoms, kelvin = start.copy(), settings.temperature_K
    rng = np.random.default_rng([settings.seed, 4])
    thermalize_momenta(atoms, kelvin, rng=rng)
    atoms.calc = counter = counting(physics, atoms)
    refit = "wait" if method.learn == REFITTED else False
    dynamics = KStepDynamics(
        atoms,
        model,
        k=round(method.stride_fs / settings.timestep_fs),
        timestep=settings.timestep_fs * FS,
        corrector=method.corrector,
        verify_interval=0 if CORRECTORS[method.corrector].averages else None,
        temperature_K=kelvin,
        friction=settings.friction_per_ps / units.PS,
        rng=rng,
        learn=Learning(
            refit=refit, stop=settings.learn_labels, file=path.with_suffix(".labels.traj")
        ),
    )
    strides, began = list[float](), time.perf_counter()
    for _ in dynamics.irun(2 * settings.learn_labels):
        now = dynamics.get_time() / FS
        if dynamics.stats.jumps:
            strides.append(now - sum(strides))
        lessons = dynamics.lessons
        if lessons is None or not lessons.learning:
            break
    grades = () if dynamics.lessons is None else dynamics.lessons.grades
    potential: Any = dynamics.potential
    potential.save(path)
    return {
        "blocks": blocks_of(grades),
        "time_fs": np.cumsum(strides).tolist(),
        "stride_fs": strides,
        "evaluations": counter.evaluations,
        "seconds": time.perf_counter() - began,
        "fallbacks": dynamics.stats.fallbacks,
        "residual_rms_meV_per_A": (dynamics.stats.residual_rms or 0.0) / MEV,
    }
