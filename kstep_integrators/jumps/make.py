"""The jump that the arguments of a run ask for, and the one that a checkpoint recorded."""

from __future__ import annotations

import contextlib
import json
import math
import re
import warnings
from pathlib import Path
from typing import Any

import torch

from kstep_integrators import units
from kstep_integrators.jumps.base import Jump
from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.jumps.flow import FlowJump
from kstep_integrators.jumps.load import load_model
from kstep_integrators.models.model_file import ModelFileError
from kstep_integrators.notices import KStepWarning
from kstep_integrators.potentials.backends import BackendUnavailable
from kstep_integrators.potentials.base import Potential
from kstep_integrators.potentials.network import NetworkPotential

__all__ = ["make_jump", "record_jump", "restore_jump"]


def make_jump(
    model: Jump | Potential | str | Path | None,
    timestep: float | None = None,
    device: str = "auto",
) -> Jump:
    """The jump of a run.

    Parameters
    ----------
    model : Jump, Potential, str or Path
        A potential becomes a flow jump; a name or path is a network's, of either kind.
    timestep : float, optional
        Base step, ASE time units; the model's own by default.
    device : str
        ``"auto"`` leaves a model where it is.

    Raises
    ------
    ValueError
        If the jump has another timestep, or there is no such model.
    TypeError
        If the model is none of these.
    """
    if isinstance(model, str | Path):
        model = load_model(model, device=device)
    if isinstance(model, Jump) and not isinstance(model, type):
        if timestep is not None and not math.isclose(timestep, model.timestep, rel_tol=1e-9):
            raise ValueError(
                f"the base step is {timestep / units.FS:.9g} fs, but the jump has its own: a "
                f"direct jump has learned those of {model.timestep / units.FS:.9g} fs, and no "
                "others; leave timestep out and the step size as it is, or use a potential"
            )
        if isinstance(model, DirectJump) and device != "auto":
            return model.to(device)
        return model
    if isinstance(model, type) or not isinstance(model, Potential):
        raise TypeError(
            f"model is {_kind(model)}; expected a bundled model name, a path, a "
            "potential such as load_model(...) or CalculatorPotential(calculator), or a jump; None "
            "where a run learns from nothing, with learn=True"
        )
    return FlowJump(model if device == "auto" else model.to(device), timestep)


def _kind(model: object) -> str:
    return f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"


def record_jump(jump: Jump) -> dict[str, Any]:
    """Record of a jump for a checkpoint: its description, and the place of its model."""
    model = jump.potential if isinstance(jump, FlowJump) else jump
    source = model.source if isinstance(model, NetworkPotential | DirectJump) else ""
    return {"describes": jump.describe(), "source": source, "device": jump.device.type}


def restore_jump(
    recorded: dict[str, Any], model: Jump | Potential | str | Path | None = None
) -> Jump:
    """The jump that was recorded.

    Parameters
    ----------
    recorded : dict
        From :func:`record_jump`.
    model : Jump, Potential, str or Path, optional
        The model, where a checkpoint cannot name it: a calculator, a jump of your own, or a model
        file that has been moved.

    Raises
    ------
    ValueError
        If the model is not there, cannot be found again without ``model``, or is another. On
        another device, or by another backend, it goes on after a warning.
    """
    described = recorded["describes"]
    if model is None or isinstance(model, str | Path):
        model = _recorded_network(recorded, model)
    jump = make_jump(model, None if isinstance(model, Jump) else described["timestep"])
    before, after = _plain(described), _plain(jump.describe())
    differ = {
        key: f"{key} was {before.get(key)}, now {after.get(key)}"
        for key in {**before, **after}
        if before.get(key) != after.get(key)
    }
    rounding = [differ.pop(key) for key in list(differ) if key.rpartition(", ")[2] == "backend"]
    if differ:
        raise ValueError(
            "the model is not the one that the checkpoint was written with: "
            f"{'; '.join(differ.values())}. Pass the same one with model=..., or start a new run"
        )
    if recorded["device"] != jump.device.type:
        rounding.insert(0, f"device was {recorded['device']}, now {jump.device.type}")
    if rounding:
        warnings.warn(
            f"the run goes on with other rounding than it began with: {'; '.join(rounding)}",
            KStepWarning,
            stacklevel=4,
        )
    return jump


def _recorded_network(
    recorded: dict[str, Any], moved: str | Path | None
) -> NetworkPotential | DirectJump:
    """The network of a record as it was computed, as far as it can be so here."""
    described, device = recorded["describes"], recorded["device"]
    if not (moved or recorded["source"]):
        raise ValueError(
            "the checkpoint cannot make the model of its run again: pass it with model=... It "
            f"described itself as {described}"
        )
    there = device != "cuda" or torch.cuda.is_available()
    name, dtype = moved or recorded["source"], getattr(torch, described.get("dtype", "float32"))
    try:
        model = load_model(name, device if there else "cpu", dtype)
        if there and isinstance(model, NetworkPotential):
            with contextlib.suppress(BackendUnavailable):
                return load_model(name, device, dtype, described.get("backend", "auto"))
    except ModelFileError as error:
        if moved:
            raise
        raise ValueError(
            f"the model of the checkpoint cannot be loaded: {error}. If it has been moved, pass "
            "it with model=load_model(path)"
        ) from error
    return model


def _plain(described: dict[str, Any]) -> dict[str, Any]:
    """A description as it comes back from JSON, without addresses of objects."""
    plain: dict[str, Any] = json.loads(
        re.sub(r" at 0x[0-9a-fA-F]+", "", json.dumps(described, default=str))
    )
    return _flat(plain)


def _flat(nested: dict[str, Any]) -> dict[str, Any]:
    """One level in place of several, so that what differs can be named."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, list) and any(isinstance(one, dict) for one in value):
            value = {str(number): one for number, one in enumerate(value, 1)}  # parts of a sum
        if isinstance(value, dict):
            inner = _flat(value)
            flat |= {n if n == name else f"{name}, {n}": one for n, one in inner.items()}
        else:
            flat[name] = value
    return flat
