"""The jump that the arguments of a run ask for."""

from __future__ import annotations

from pathlib import Path

from kstep_integrators.jumps.base import Jump
from kstep_integrators.jumps.flow import FlowJump
from kstep_integrators.potentials import Potential, load_model

__all__ = ["make_jump"]


def make_jump(
    model: Jump | Potential | str | Path, timestep: float | None = None, device: str = "auto"
) -> Jump:
    """The jump of a run.

    Parameters
    ----------
    model : Jump, Potential, str or Path
        A potential becomes a flow jump; a name or path is a network's.
    timestep : float, optional
        Base step, ASE time units; the model's own by default.
    device : str
        ``"auto"`` leaves a potential where it is.

    Raises
    ------
    ValueError
        If the jump has another timestep, or there is no such model.
    TypeError
        If the model is none of these.
    """
    if isinstance(model, str | Path):
        model = load_model(model, device=device)
    if isinstance(model, Jump):
        if timestep is not None and timestep != model.timestep:
            raise ValueError(
                f"timestep={timestep} given, but the jump has its own, {model.timestep} (ASE time "
                "units); leave timestep out or build the jump with it"
            )
        return model
    if not isinstance(model, Potential):
        raise TypeError(
            f"model is a {type(model).__name__}; expected a bundled model name, a path, a "
            "potential such as load_model(...) or CalculatorPotential(calculator), or a jump"
        )
    return FlowJump(model if device == "auto" else model.to(device), timestep)
