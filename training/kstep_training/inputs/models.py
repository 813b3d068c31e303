"""The model of a run by name: a network's file, or a cheaper method of computing forces."""

from __future__ import annotations

import hashlib

from ase import Atoms

from kstep_integrators import CalculatorPotential, load_model, units
from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.models.model_file import model_path
from kstep_integrators.potentials import Potential
from kstep_training.inputs.physics import is_physics, make_physics

__all__ = ["model_identity", "model_label", "read_model", "trained_strides"]


def read_model(
    name: str, atoms: Atoms, device: str = "auto", compile_network: bool = False
) -> Potential | DirectJump:
    """The potential of a flow jump, or a direct jump.

    Parameters
    ----------
    name : str
        A bundled name or a model file; or a cheap method, named as the physics is: ``GFN-FF``,
        ``GFN1-xTB``, ``module:function`` and so on.
    atoms : ase.Atoms
        The molecule, for a method; with ``charge`` and ``multiplicity`` in ``info``.
    device : str
        Where a network runs.
    compile_network : bool

    Raises
    ------
    ValueError
        If there is no such model or method.

    Examples
    --------
    >>> from kstep_integrators import named_molecule
    >>> read_model("organic-gfn2", named_molecule("water")).describe()["model"]
    'organic-gfn2'
    """
    if is_physics(name):
        return CalculatorPotential(make_physics(name)(atoms))
    return load_model(name, device=device, compile=compile_network)


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
    return make_physics(name).identity if is_physics(name) else model_label(name)


def model_label(name: str) -> str:
    """The same without the code of a function of one's own.

    Examples
    --------
    >>> model_label("GFN2-xTB").startswith("GFN2-xTB tblite ")
    True
    """
    if is_physics(name):
        return make_physics(name).label
    return hashlib.sha256(model_path(name).read_bytes()).hexdigest()


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
    model = None if is_physics(name) else load_model(name, device="cpu")
    if not isinstance(model, DirectJump):
        return {}
    return {k * model.timestep / units.FS: model.correctors[0] for k in model.allowed_k}
