"""The model of a run by name: a network's file, or a cheaper method of computing forces."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ase import Atoms

from kstep_integrators import CalculatorPotential, load_model, units
from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.models.model_file import model_path
from kstep_integrators.potentials import Potential
from kstep_training.inputs.physics import is_physics, make_physics

__all__ = ["model_identity", "model_label", "read_model", "trained_strides"]


def read_model(
    name: str, atoms: Atoms, device: str = "auto", backend: str = "auto"
) -> Potential | DirectJump:
    """The potential of a flow jump, or a direct jump.

    Parameters
    ----------
    name : str
        A bundled name or a model file; or a cheap method, named as the physics is: ``GFN-FF``,
        ``GFN1-xTB``, ``module:function`` and so on; or ``METHOD+FILE``, such as
        ``GFN-FF+acid.safetensors``, a method and the model file of a run that has learned on it.
    atoms : ase.Atoms
        The molecule, for a method; with ``charge`` and ``multiplicity`` in ``info``.
    device : str
        Where a network runs.
    backend : str
        What computes the forces of a network, see :func:`~kstep_integrators.load_model`.

    Raises
    ------
    ValueError
        If there is no such model or method, or the backend cannot compute it.

    Examples
    --------
    >>> from kstep_integrators import named_molecule
    >>> read_model("organic-gfn2", named_molecule("water")).describe()["model"]
    'organic-gfn2'
    """
    method, file = _parts(name)
    base = None if method is None else CalculatorPotential(make_physics(method)(atoms))
    if base is not None and file is None:
        if backend != "auto":
            raise ValueError(
                f"backend is {backend!r}, but the model is {name!r} and no network; leave it out"
            )
        return base
    return load_model(file or name, device=device, backend=backend, base=base)


def _parts(name: str) -> tuple[str | None, str | None]:
    """Method and model file that a name stands for."""
    method, plus, file = name.partition("+")
    if plus and is_physics(method) and not Path(name).exists():
        return method, file
    return (name, None) if is_physics(name) else (None, name)


def model_identity(name: str) -> str:
    """Hash of a model file, or name and program of a method: runs of one identity are the same.

    Parameters
    ----------
    name : str
        As for :func:`read_model`.

    Examples
    --------
    >>> len(model_identity("organic-gfn2"))
    64
    """
    method, file = _parts(name)
    if method is None:
        return model_label(name)
    return " ".join([make_physics(method).identity, *_digests(file)])


def model_label(name: str) -> str:
    """The same without the code of a function of one's own.

    Examples
    --------
    >>> model_label("GFN2-xTB").startswith("GFN2-xTB tblite ")
    True
    """
    method, file = _parts(name)
    return " ".join([*([] if method is None else [make_physics(method).label]), *_digests(file)])


def _digests(file: str | None) -> list[str]:
    return [] if file is None else [hashlib.sha256(model_path(file).read_bytes()).hexdigest()]


def trained_strides(name: str) -> dict[float, str]:
    """Strides (fs) that a direct jump was trained for, each with its corrector; none of others.

    Parameters
    ----------
    name : str
        As for :func:`read_model`.

    Examples
    --------
    >>> trained_strides("organic-gfn2")
    {}
    """
    model = load_model(name, device="cpu") if _parts(name)[0] is None else None
    if not isinstance(model, DirectJump):
        return {}
    return {k * model.timestep / units.FS: model.correctors[0] for k in model.allowed_k}
