"""The model of a run by name: a network's file, or a cheaper method of computing forces."""

from __future__ import annotations

from ase import Atoms

from kstep_integrators import CalculatorPotential, load_model
from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.potentials import Potential
from kstep_training.inputs.physics import is_physics, make_physics

__all__ = ["read_model"]


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
