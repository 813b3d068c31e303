"""OpenMM as an ASE calculator: a force field as the physics of a run, or as its inner force."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixBondLengths
from numpy.typing import NDArray

from kstep_integrators import units
from kstep_integrators.calculators.electrons import ROUNDING, electrons_noted
from kstep_integrators.calculators.triangular_boxes import triangular_box
from kstep_integrators.calculators.whole_molecules import WholeMolecules
from kstep_integrators.notices import KStepWarning

if TYPE_CHECKING:
    import openmm

__all__ = ["OpenMMCalculator", "fixed_bonds", "system_charge"]

TOLERANCE = 0.05
"""u; force fields round masses, and no two neighbours in the periodic table are as close."""

SLANTED = 0.05
"""Of the edges: a box further from rectangular is one in which Reference may lose pairs."""


def _openmm() -> Any:
    try:
        import openmm
    except ImportError as error:
        raise ImportError(
            "OpenMMCalculator needs openmm, which is not installed; install it with: "
            "pip install 'kstep-integrators[openmm]'"
        ) from error
    return openmm


def _check_system(system: Any) -> None:
    """Refuse what is no System, or has nothing in it."""
    if not isinstance(system, _openmm().System):
        raise TypeError(f"system is a {type(system).__name__}, expected an openmm.System")
    if system.getNumParticles() == 0:
        raise ValueError("the System has no particles; add them first")


class OpenMMCalculator(Calculator):
    """Energy and forces of an OpenMM System.

    Constraints of the System are no part of its energy; :func:`fixed_bonds` gives them to the
    atoms. Nothing is kept from one geometry to the next but ASE's own results. In a periodic cell
    atoms may be wrapped: molecules are put together first. It may be of any shape, orientation and
    handedness: OpenMM is given the same lattice in the form that it takes. In some boxes that are
    not rectangular the Reference platform of OpenMM 8.6.1 loses pairs near the cutoff, and the
    first geometry in such a box warns; ``platform="CPU"``, in single precision, loses none.

    Parameters
    ----------
    system : openmm.System
        All its forces count; it is copied, so that later changes of it do not.
    platform : str
        ``"Reference"``, in double precision, or another that OpenMM has here.

    Raises
    ------
    ImportError
        If openmm is not installed; the message names the extra.
    ValueError
        If the System has no particles, or virtual sites, or there is no such platform. When a
        geometry is computed: if the atoms are not those of the System, in its order, or of another
        charge, or one is periodic and the other is not.
    TypeError
        If ``system`` is no System.

    Examples
    --------
    >>> import openmm
    >>> from ase import Atoms
    >>> from kstep_integrators.calculators import OpenMMCalculator
    >>> system = openmm.System()
    >>> for mass in (1.008, 18.998):
    ...     _ = system.addParticle(mass)
    >>> spring = openmm.HarmonicBondForce()
    >>> _ = spring.addBond(0, 1, 0.092, 4.0e5)  # nm, kJ/(mol nm^2)
    >>> _ = system.addForce(spring)
    >>> fluoride = Atoms("HF", [[0, 0, 0], [0, 0, 0.95]], calculator=OpenMMCalculator(system))
    >>> round(float(fluoride.get_potential_energy()), 4)  # eV
    0.0187
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012  (as ASE declares it)
    name = "openmm"

    def __init__(self, system: openmm.System, platform: str = "Reference") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        mm = _openmm()
        _check_system(system)
        count = system.getNumParticles()
        virtual = [i for i in range(count) if system.isVirtualSite(i)]
        if virtual:
            raise ValueError(
                f"particles {virtual[:10]} of the System are virtual sites, and ASE's atoms are "
                "all real; use a force field without them"
            )
        known = [mm.Platform.getPlatform(i).getName() for i in range(mm.Platform.getNumPlatforms())]
        if platform not in known:
            raise ValueError(f"platform is {platform!r}; OpenMM has {known} here")
        self._platform = platform
        content = hashlib.sha256(mm.XmlSerializer.serialize(system).encode()).hexdigest()
        self.parameters["system"] = content[:12]  # by which it is known again
        self._masses = [_number(system.getParticleMass(i), mm.unit.dalton) for i in range(count)]
        self._charge = system_charge(system)
        self._periodic = bool(system.usesPeriodicBoundaryConditions())
        self._context = mm.Context(
            system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName(platform)
        )
        self._molecules = WholeMolecules(system) if self._periodic else None
        has_pairs = any(hasattr(force, "getCutoffDistance") for force in system.getForces())
        self._may_lose_pairs = platform == "Reference" and has_pairs

    @property
    def platform(self) -> str:
        """Name of the platform."""
        return self._platform

    def set(self, **values: Any) -> dict[str, Any]:
        """Refuse a change: everything has been given to OpenMM.

        Raises
        ------
        ValueError
            If a value is another one.
        """
        changed = [n for n, v in values.items() if self.parameters.get(n, self) != v]
        if changed:
            raise ValueError(
                f"{', '.join(changed)} of an OpenMMCalculator cannot be set; make another one: "
                "OpenMMCalculator(system, platform)"
            )
        return {}

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """List the changes since the last calculation, that of the charge included."""
        changes: list[str] = list(super().check_state(atoms, tol=tol))  # type: ignore[no-untyped-call]
        last: Atoms | None = self.atoms
        if not changes and last is not None and electrons_noted(last) != electrons_noted(atoms):
            changes.append("initial_charges")
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Energy in eV, forces in eV/angstrom if they are wanted."""
        super().calculate(atoms, list(properties), list(system_changes))  # type: ignore[no-untyped-call]
        if self.atoms is None:
            raise ValueError("OpenMMCalculator.calculate needs atoms, got None")
        self._check(self.atoms)
        positions = self.atoms.positions / units.NM
        turned = None
        if self._molecules is not None:
            box, turned = triangular_box(np.array(self.atoms.cell) / units.NM)
            self._context.setPeriodicBoxVectors(*box)
            self._warn_of_lost_pairs(box)
            positions = positions if turned is None else positions @ turned
            positions = self._molecules.put_together(positions, box)
        self._context.setPositions(positions)
        wanted = "forces" in properties
        state = self._context.getState(energy=True, forces=wanted)
        unit = _openmm().unit
        energy = units.KJ_PER_MOL * _number(state.getPotentialEnergy(), unit.kilojoule_per_mole)
        self.results = {"energy": energy, "free_energy": energy}
        if wanted:
            forces = state.getForces(asNumpy=True)
            forces = forces.value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
            rows = units.KJ_PER_MOL_NM * np.array(forces, dtype=np.float64)
            self.results["forces"] = rows if turned is None else rows @ turned.T

    def _warn_of_lost_pairs(self, box: NDArray[np.float64]) -> None:
        """Once, in a box that is not rectangular."""
        slant = np.abs(np.tril(box, -1)).max() / np.diag(box).min()
        if self._may_lose_pairs and slant > SLANTED:
            self._may_lose_pairs = False
            warnings.warn(
                "the box is not rectangular: in some such boxes the Reference platform of OpenMM "
                "8.6.1 leaves out pairs that are closer than the cutoff, and energies and forces "
                "are wrong; compare with OpenMMCalculator(system, platform='CPU'), or use it",
                KStepWarning,
                stacklevel=2,
            )

    def _check(self, atoms: Atoms) -> None:
        if len(atoms) != len(self._masses):
            raise ValueError(
                f"there are {len(atoms)} atoms, but the System has {len(self._masses)} particles"
            )
        masses = atoms.get_masses()
        other = np.flatnonzero(np.abs(masses - self._masses) > TOLERANCE)
        if len(other):
            first = int(other[0])
            raise ValueError(
                f"atoms {other[:10].tolist()} have other masses than the particles of the System "
                f"(atom {first}, {atoms.symbols[first]}: {masses[first]:.3f} u, expected "
                f"{self._masses[first]:.3f} u): the order of the atoms must be that of the System; "
                "if it is, take over its masses with atoms.set_masses(...)"
            )
        charge = electrons_noted(atoms).charge
        if None not in (charge, self._charge) and charge != self._charge:
            raise ValueError(
                f"the atoms have charge {charge}, but the System has {self._charge}, by its "
                "NonbondedForce; take it out of the atoms, or make a System of this charge"
            )
        if bool(atoms.pbc.any()) != self._periodic or (self._periodic and not atoms.pbc.all()):
            raise ValueError(
                f"atoms.pbc is {atoms.pbc.tolist()}, but the System is "
                f"{'' if self._periodic else 'not '}periodic; make both periodic in all "
                "directions, or neither in any"
            )


def fixed_bonds(system: openmm.System) -> FixBondLengths:
    """Constraints of a System as a constraint of ASE.

    Parameters
    ----------
    system : openmm.System

    Returns
    -------
    ase.constraints.FixBondLengths
        With the lengths of the System. ``atoms.set_constraint(...)`` and then
        ``atoms.set_positions(atoms.get_positions())`` put atoms on them.

    Raises
    ------
    ValueError
        If the System has no particles or no constraints.
    TypeError
        If it is no System.

    Examples
    --------
    >>> import openmm
    >>> system = openmm.System()
    >>> system.addParticle(16.0), system.addParticle(1.0)
    (0, 1)
    >>> system.addConstraint(0, 1, 0.0957)  # nm
    0
    >>> fixed_bonds(system).bondlengths.round(3).tolist()  # angstrom
    [0.957]
    """
    _check_system(system)
    count = system.getNumConstraints()
    if count == 0:
        raise ValueError(
            "the System has no constraints; create it with constraints of bonds with hydrogen, or "
            "leave FixBondLengths out"
        )
    unit = _openmm().unit
    constraints = [system.getConstraintParameters(i) for i in range(count)]
    lengths = [_number(length, unit.angstrom) for _, _, length in constraints]
    return FixBondLengths([[i, j] for i, j, _ in constraints], bondlengths=np.array(lengths))


def system_charge(system: openmm.System, particles: Sequence[int] | None = None) -> int | None:
    """Total charge of a System in e, as its NonbondedForce has it.

    Parameters
    ----------
    system : openmm.System
    particles : sequence of int, optional
        Some of its particles; all by default.

    Returns
    -------
    int or None
        None if there is no such force, or the sum is not whole: that of a part of a molecule.

    Examples
    --------
    >>> import openmm
    >>> system, coulomb = openmm.System(), openmm.NonbondedForce()
    >>> system.addParticle(22.99), coulomb.addParticle(1.0, 0.3, 0.1), system.addForce(coulomb)
    (0, 0, 0)
    >>> system_charge(system)
    1
    """
    mm = _openmm()
    wanted = range(system.getNumParticles()) if particles is None else particles
    for force in system.getForces():
        if isinstance(force, mm.NonbondedForce):
            total = sum(
                _number(force.getParticleParameters(int(index))[0], mm.unit.elementary_charge)
                for index in wanted
            )
            return round(total) if abs(total - round(total)) < ROUNDING else None
    return None


def _number(quantity: Any, unit: Any) -> float:
    return float(quantity.value_in_unit(unit))
