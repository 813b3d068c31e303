"""MMFF94 as an OpenMM System, with the parameters of RDKit.

Energies in kcal/mol, lengths in angstrom, angles in degrees, as Halgren wrote them (J. Comput.
Chem. 17, 490 (1996), doi:10.1002/(SICI)1096-987X(199604)17:5/6<490::AID-JCC1>3.0.CO;2-P):

- bond stretching, 143.9325 kb/2 d^2 (1 + cs d + 7/12 cs^2 d^2), d = r - r0, cs = -2 per angstrom
- angle bending, 0.043844 ka/2 d^2 (1 + cb d), d = theta - theta0, cb = -0.006981317 per degree;
  143.9325 ka (1 + cos theta) where the middle atom is linear
- stretch-bend, 2.51210 (kba_ijk (r_ij - r0_ij) + kba_kji (r_kj - r0_kj)) (theta - theta0)
- out of plane, 0.043844 koop/2 chi^2, chi the Wilson angle of bond j-l and the plane i-j-k
- torsion, 1/2 (V1 (1 + cos phi) + V2 (1 - cos 2 phi) + V3 (1 + cos 3 phi))
- van der Waals, buffered 14-7: eps (1.07 R/(r + 0.07 R))^7 (1.12 R^7/(r^7 + 0.12 R^7) - 2)
- electrostatics, buffered: 332.0716 q_i q_j/(r + 0.05), times 0.75 for atoms three bonds apart

0.043844 and 2.51210 are 143.9325 times (pi/180)^2 and pi/180, here to all digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import openmm

from kstep_integrators import units
from kstep_training.prep.mmff94_parameters import MMFF94Parameters

__all__ = ["mmff94_forces"]

# MMFF's own conversion constants: mdyn angstrom, and e^2/angstrom, in kcal/mol.
_MDYN_A: Final = 143.9325
_COULOMB: Final = 332.0716

_KCAL: Final = units.KCAL_PER_MOL / units.KJ_PER_MOL
_A: Final = 1.0 / units.NM  # in nm
_DEGREE: Final = math.pi / 180.0

_BOND: Final = f"k/2*d^2*(1 + cs*d + 7/12*(cs*d)^2); d = r - r0; cs = {-2.0 / _A!r}"
_ANGLE: Final = f"k/2*d^2*(1 + cb*d); d = theta - theta0; cb = {-0.006981317 / _DEGREE!r}"
_LINEAR: Final = "k*(1 + cos(theta))"
_STRETCH_BEND: Final = (
    "(k12*(distance(p1, p2) - r12) + k32*(distance(p2, p3) - r32))*(angle(p1, p2, p3) - theta0)"
)
# At unit distance from p2, p4 is sin(angle) from the axis p2-p3 and sin(angle) sin(dihedral) from
# the plane of p1, p2 and p3.
_OUT_OF_PLANE: Final = "k/2*chi^2; chi = asin(sin(angle(p3, p2, p4))*sin(dihedral(p1, p2, p3, p4)))"
_VAN_DER_WAALS: Final = "eps*(1.07/(q + 0.07))^7*(1.12/(q^7 + 0.12) - 2); q = r/R"
_ELECTROSTATIC: Final = f"qq/(r + {0.05 * _A!r})"


def mmff94_forces(parameters: MMFF94Parameters) -> list[openmm.Force]:
    """One named OpenMM force for each term of MMFF94, all in force group 0.

    Parameters
    ----------
    parameters : MMFF94Parameters

    Returns
    -------
    list of openmm.Force
        Of those terms that the molecule has; ``"MMFF94 bonds"`` and so on.

    Notes
    -----
    Nonbonded terms are pairs of a CustomBondForce: an isolated molecule has no cutoff, the pair
    parameters need no combining rule, and OpenMM's CPU platform computes them in double precision.
    """
    stiffness = _MDYN_A * _KCAL  # of angles, in kJ/(mol rad^2)
    bonds = openmm.CustomBondForce(_BOND)
    _declare(bonds.addPerBondParameter, "k", "r0")
    for i, j, kb, r0 in parameters.bonds:
        bonds.addBond(i, j, [stiffness * kb / _A**2, r0 * _A])
    angles = openmm.CustomAngleForce(_ANGLE)
    _declare(angles.addPerAngleParameter, "k", "theta0")
    for i, j, k, ka, theta0 in parameters.angles:
        angles.addAngle(i, j, k, [stiffness * ka, theta0 * _DEGREE])
    linear = openmm.CustomAngleForce(_LINEAR)
    _declare(linear.addPerAngleParameter, "k")
    for i, j, k, ka in parameters.linear_angles:
        linear.addAngle(i, j, k, [stiffness * ka])
    coupling = openmm.CustomCompoundBondForce(3, _STRETCH_BEND)
    _declare(coupling.addPerBondParameter, "k12", "k32", "r12", "r32", "theta0")
    for i, j, k, kijk, kkji, rij, rjk, theta0 in parameters.stretch_bends:
        values = [stiffness * kijk / _A, stiffness * kkji / _A, rij * _A, rjk * _A]
        coupling.addBond([i, j, k], [*values, theta0 * _DEGREE])
    planes = openmm.CustomCompoundBondForce(4, _OUT_OF_PLANE)
    _declare(planes.addPerBondParameter, "k")
    for i, j, k, l, koop in parameters.out_of_planes:  # noqa: E741
        planes.addBond([i, j, k, l], [stiffness * koop])
    torsions = openmm.PeriodicTorsionForce()
    for i, j, k, l, *barriers in parameters.torsions:  # noqa: E741
        for fold, (barrier, phase) in enumerate(zip(barriers, (0.0, math.pi, 0.0), strict=True), 1):
            if barrier:
                torsions.addTorsion(i, j, k, l, fold, phase, 0.5 * barrier * _KCAL)
    van_der_waals = openmm.CustomBondForce(_VAN_DER_WAALS)
    _declare(van_der_waals.addPerBondParameter, "R", "eps")
    for i, j, radius, depth in parameters.van_der_waals:
        van_der_waals.addBond(i, j, [radius * _A, depth * _KCAL])
    electrostatic = openmm.CustomBondForce(_ELECTROSTATIC)
    _declare(electrostatic.addPerBondParameter, "qq")
    for i, j, product in parameters.charges:
        electrostatic.addBond(i, j, [_COULOMB * product * _KCAL * _A])
    named = {
        "bonds": (bonds, parameters.bonds),
        "angles": (angles, parameters.angles),
        "linear angles": (linear, parameters.linear_angles),
        "stretch-bends": (coupling, parameters.stretch_bends),
        "out of plane": (planes, parameters.out_of_planes),
        "torsions": (torsions, parameters.torsions),
        "van der Waals": (van_der_waals, parameters.van_der_waals),
        "electrostatics": (electrostatic, parameters.charges),
    }
    forces = []
    for name, (force, terms) in named.items():
        if terms:
            force.setName(f"MMFF94 {name}")
            forces.append(force)
    return forces


def _declare(add: Callable[[str], int], *names: str) -> None:
    for name in names:
        add(name)
