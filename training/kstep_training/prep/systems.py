"""An OpenMM System of one isolated molecule, from the force field of one's choice."""

from __future__ import annotations

from typing import Any, Final

import openmm

from kstep_integrators import units
from kstep_training.prep.mmff94 import mmff94_forces
from kstep_training.prep.mmff94_parameters import mmff94_parameters
from kstep_training.prep.molecules import masses

__all__ = ["CONSTRAINTS", "build_system", "check_force_field"]

_MMFF: Final = {"mmff94": "MMFF94", "mmff94s": "MMFF94s"}
FORCE_FIELDS: Final = (*_MMFF, "openff")
CONSTRAINTS: Final = (None, "HBonds")

_SAGE: Final = {None: "openff_unconstrained-2.2.1.offxml", "HBonds": "openff-2.2.1.offxml"}


def check_force_field(name: str) -> None:
    """Raise an error if Systems of a force field cannot be built here.

    Raises
    ------
    ValueError
        If there is no such force field.
    ImportError
        If it is ``"openff"`` and openff-toolkit is not installed.
    """
    if name not in FORCE_FIELDS:
        raise ValueError(f"forcefield is {name!r}, expected one of {', '.join(FORCE_FIELDS)}")
    if name == "openff":
        try:
            import openff.toolkit  # noqa: F401
        except ImportError as error:
            raise ImportError(
                "forcefield 'openff' needs openff-toolkit, which is not installed and has no "
                "usable package on PyPI; install it with: conda install -c conda-forge "
                "openff-toolkit, or use forcefield 'mmff94', which needs nothing more"
            ) from error


def build_system(
    mol: Any, forcefield: str = "mmff94", constraints: str | None = None
) -> openmm.System:
    """Masses, forces and constraints of a molecule, in the order of its atoms.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        Sanitized, with explicit hydrogens.
    forcefield : str
        ``"mmff94"``, ``"mmff94s"``, or ``"openff"`` (Sage 2.2.1, charges of its default method).
    constraints : str or None
        ``"HBonds"`` keeps bonds with hydrogen at the rest length of the force field, so that steps
        of 2 fs are possible.

    Returns
    -------
    openmm.System
        Not periodic, without cutoff or removal of motion; masses are ASE's, or those of the
        isotopes that ``mol`` names. MMFF's bond terms stay
        where a constraint is: they vanish at its length, and energies remain those of MMFF.

    Raises
    ------
    ValueError
        If an argument is not one of those above, or the force field does not cover the molecule.
    ImportError
        If the force field is not installed.
    """
    check_force_field(forcefield)
    if constraints not in CONSTRAINTS:
        raise ValueError(f"constraints is {constraints!r}, expected 'HBonds' or null (none)")
    numbers = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
    if forcefield == "openff":
        system = _sage(mol, constraints)
        for index, mass in enumerate(masses(mol)):
            system.setParticleMass(index, mass)
        return system
    parameters = mmff94_parameters(mol, _MMFF[forcefield])
    system = openmm.System()
    for mass in masses(mol):
        system.addParticle(mass)
    for force in mmff94_forces(parameters):
        system.addForce(force)
    if constraints == "HBonds":
        for i, j, _, r0 in parameters.bonds:
            if 1 in (numbers[i], numbers[j]):
                system.addConstraint(i, j, r0 / units.NM)
    return system


def _sage(mol: Any, constraints: str | None) -> openmm.System:
    # Sage: Boothroyd et al., J. Chem. Theory Comput. 19, 3251 (2023), doi:10.1021/acs.jctc.3c00039
    from openff.toolkit import ForceField, Molecule

    # Stereochemistry changes no parameter.
    molecule = Molecule.from_rdkit(mol, allow_undefined_stereo=True, hydrogens_are_explicit=True)
    return ForceField(_SAGE[constraints]).create_openmm_system(molecule.to_topology())
