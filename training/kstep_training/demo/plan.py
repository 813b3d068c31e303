"""The plan of a demonstration: velocity Verlet at two steps, the jumps, and the potential alone.

All runs have the same start, the same length, and a frame at each stride of the jumps.
"""

from __future__ import annotations

from typing import Final

from kstep_integrators import DirectJump, NetworkPotential
from kstep_training.demo.settings import DemoSettings
from kstep_training.evaluate.plan import Method

__all__ = ["make_methods", "warm_up_method"]

_VERLET_FS: Final = (0.5, 1.0)


def make_methods(model: NetworkPotential | DirectJump, settings: DemoSettings) -> list[Method]:
    """The methods of a demonstration: reference, control, jumps, and for a potential itself alone.

    Parameters
    ----------
    model : NetworkPotential or DirectJump
    settings : DemoSettings

    Returns
    -------
    list of Method
        The third has the jumps that count.

    Examples
    --------
    >>> from kstep_integrators import load_model
    >>> for method in make_methods(load_model("organic-gfn2"), DemoSettings()):
    ...     print(method.name, method.role, method.steps)
    Verlet 0.5 fs reference 4000
    Verlet 1 fs control 2000
    k-step 2 fs test 1000
    potential only control 1000
    """
    methods = [
        _verlet(step_fs, role, settings)
        for step_fs, role in zip(_VERLET_FS, ("reference", "control"), strict=True)
    ]
    stride = settings.stride_fs
    if isinstance(model, DirectJump):
        # It has no energy of its own, and its corrector is part of what it has learned.
        name = f"direct {stride:g} fs"
        return [*methods, _jumps(name, "test", model.correctors[0], settings.n_jumps, settings)]
    return [
        *methods,
        _jumps(f"k-step {stride:g} fs", "test", "impulse", settings.n_jumps, settings),
        _jumps("potential only", "control", "none", settings.n_jumps, settings),
    ]


def warm_up_method(method: Method, settings: DemoSettings) -> Method:
    """Two jumps of a method, before anything is timed: networks are prepared in the first."""
    return _jumps(method.name, method.role, method.corrector, 2, settings)


def _verlet(step_fs: float, role: str, settings: DemoSettings) -> Method:
    """Velocity Verlet, as long as the jumps to a whole number of frames."""
    interval = max(1, round(settings.stride_fs / step_fs))
    frame_fs = interval * step_fs
    frames = max(1, round(settings.n_jumps * settings.stride_fs / frame_fs))
    length_ps = frames * frame_fs / 1000.0
    name = f"Verlet {step_fs:g} fs"
    return Method(name, "dynamics", role, "verlet", step_fs, frame_fs, length_ps)


def _jumps(name: str, role: str, corrector: str, count: int, settings: DemoSettings) -> Method:
    stride = settings.stride_fs
    length_ps = count * stride / 1000.0
    return Method(
        name, "dynamics", role, "jumps", stride, stride, length_ps, settings.model, corrector
    )
