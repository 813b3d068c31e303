"""PySCFCalculator: the ASE shell around one mean field that follows a trajectory."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.calculators.calculator import (
    CalculationFailed,
    Calculator,
    PropertyNotImplementedError,
    all_changes,
)
from ase.dft.kpoints import BandPath
from ase.spectrum.band_structure import BandStructure

from kstep_integrators.calculators.electrons import Electrons, electrons_of
from kstep_integrators.calculators.pyscf.counts import CallRecord, Totals
from kstep_integrators.calculators.pyscf.device import place
from kstep_integrators.calculators.pyscf.failed import save_failed
from kstep_integrators.calculators.pyscf.levels import LevelsOfResults, levels
from kstep_integrators.calculators.pyscf.meanfield import check_names
from kstep_integrators.calculators.pyscf.properties import (
    bands,
    charges,
    dipole,
    energies,
    forces_and_stress,
    moments,
)
from kstep_integrators.calculators.pyscf.settings import Basis, Settings
from kstep_integrators.calculators.pyscf.solver import Solver, SolverFailed
from kstep_integrators.calculators.pyscf.threads import openmp_threads

__all__ = ["PySCFCalculator"]

_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Settings)}
_NAMES = tuple(_DEFAULTS)


def _require_pyscf() -> None:
    try:
        import pyscf  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "PySCFCalculator needs pyscf, which is not installed; install it with: "
            "pip install 'kstep-integrators[pyscf]'"
        ) from error


class PySCFCalculator(LevelsOfResults, Calculator):
    """Hartree-Fock and density functional theory for dynamics, on the GPU or the CPU.

    Each SCF starts from the densities of earlier geometries, extrapolated to the new one. An
    energy alone costs no gradient, and forces asked for later at the same geometry reuse its SCF.
    An SCF that does not converge is tried again by surer means, and is an error if these fail:
    results are those of a converged SCF, or there are none.

    Parameters
    ----------
    method : str or mean-field object, optional
        ``"hf"``; or any configured SCF object of PySCF or GPU4PySCF, which the calculator takes
        over, and which then decides everything down to ``max_cycle``.
    xc : str, optional
        Functional, such as ``"b3lyp"`` or ``"wb97m-v"``.
    basis, ecp, pseudo : str or dict
        As in PySCF. Effective core potentials are never implied: a basis that needs one says so.
        ``pseudo`` is for periodic systems.
    charge, multiplicity : int, optional
        In e, and 2 S + 1. By default ``atoms.info["charge"]`` and ``atoms.info["multiplicity"]``;
        failing these, the sums of the initial charges and magnetic moments of ``atoms``.
    unrestricted : bool, optional
        By default True for open shells and False for closed ones; False for an open shell is
        restricted open-shell.
    density_fit : bool or str
        Whether to fit Coulomb and exchange integrals; a string names the auxiliary basis.
    dispersion : str, optional
        ``"d3bj"``, ``"d3zero"``, ``"d4"``, ... PySCF has no dispersion forces for crystals; they
        are an error there.
    solvent : str or float, optional
        Name, or dielectric constant, of a continuum.
    solvent_model : str
        ``"ief-pcm"``, ``"c-pcm"``, ``"ss(v)pe"``, ``"cosmo"`` or ``"smd"``.
    kpts : (int, int, int)
        Mesh of k-points of a periodic system.
    grid_level : int
        0 to 9, as in PySCF.
    grid_response : bool
        Whether forces include the derivative of the grid. Without it they miss the derivative of
        the energy by 1e-6 hartree/bohr in molecules of four atoms and by up to 6e-5 (3e-3
        eV/angstrom) in ethanol at ``grid_level=3``; by 3e-6 there at ``grid_level=4``.
    conv_tol : float
        Hartree; the orbital gradient is converged to its square root.
    max_cycle : int
        Iterations of one attempt.
    device : str
        ``"auto"``: the GPU if GPU4PySCF can use one, else the CPU, and one line in the log of this
        module says so and why. ``"cpu"``, or ``"cuda"``, which is an error where it cannot be had.
    max_memory : float, optional
        MB; PySCF's default otherwise.
    threads : int, optional
        OpenMP threads; ``OMP_NUM_THREADS`` or all cores by default.
    guess : str
        ``"extrapolate"``: kernel least squares over the last ``history`` geometries, which may
        come in any order and at any distance. ``"aspc"``: for equal steps. ``"last"``: the last
        density. ``"atomic"``: PySCF's own guess.
    history : int
        Densities kept.
    min_overlap_eigenvalue : float
        Below it, the basis counts as linearly dependent. PySCF drops such vectors, and energies
        of geometries that drop different numbers of them do not belong to one surface.
    directory : str or Path
        Where geometries that do not converge are written.

    Attributes
    ----------
    last_call : CallRecord
        SCF cycles, retries and seconds of the last call.
    totals : Totals
        The same, summed over all calls.

    Raises
    ------
    ValueError, ImportError
        For arguments that make no sense, or that something missing is needed for.
    ase.calculators.calculator.CalculationFailed
        While running, if an SCF does not converge or the basis is linearly dependent. The message
        names the file the geometry was written to.

    Notes
    -----
    Properties: energy, free_energy, forces, dipole, charges and magmoms (Mulliken), magmom; for
    periodic systems stress instead of the dipole, where PySCF has it. Levels, occupations, k-points
    and the Fermi level of the last SCF are there by the methods that :mod:`ase.dft` asks, and
    :meth:`band_structure`. Copies and pickles carry the settings and not the densities. Use one
    calculator per process or thread.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from kstep_integrators.calculators import PySCFCalculator
    >>> atoms = molecule("H2O")
    >>> atoms.calc = PySCFCalculator(method="hf", basis="sto-3g", device="cpu")
    >>> round(atoms.get_potential_energy(), 3)
    -2039.885
    >>> atoms.get_forces().shape, atoms.calc.totals.scf_runs
    ((3, 3), 1)
    """

    implemented_properties = [  # noqa: RUF012 - ASE's own convention
        "energy",
        "free_energy",
        "forces",
        "stress",
        "dipole",
        "charges",
        "magmom",
        "magmoms",
    ]
    accepts_bandpath_keyword = True
    # Initial charges and moments matter only through charge and multiplicity: see check_state.
    ignored_changes = {"initial_charges", "initial_magmoms"}  # noqa: RUF012

    def __init__(
        self,
        method: Any = None,
        *,
        xc: str | None = None,
        basis: Basis | None = None,
        ecp: Basis | None = None,
        pseudo: Basis | None = None,
        charge: int | None = None,
        multiplicity: int | None = None,
        unrestricted: bool | None = None,
        density_fit: bool | str = False,
        dispersion: str | None = None,
        solvent: str | float | None = None,
        solvent_model: str = "ief-pcm",
        kpts: tuple[int, int, int] = (1, 1, 1),
        grid_level: int = 3,
        grid_response: bool = False,
        conv_tol: float = 1e-9,
        max_cycle: int = 50,
        device: str = "auto",
        max_memory: float | None = None,
        threads: int | None = None,
        guess: str = "extrapolate",
        history: int = 20,
        min_overlap_eigenvalue: float = 1e-6,
        directory: str | Path = ".",
    ) -> None:
        given = {name: value for name, value in locals().items() if name in _NAMES}
        _require_pyscf()
        self.last_call = CallRecord()
        self.totals = Totals()
        self.settings = Settings(**given)
        self._solver = Solver(self.settings)
        self._bandpath: BandPath | None = None
        super().__init__()  # type: ignore[no-untyped-call]
        self.set(**given)

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Change settings; where one changes, all that was computed is forgotten.

        Parameters
        ----------
        **kwargs
            As for the constructor.

        Returns
        -------
        dict
            The settings that changed.
        """
        if "bandpath" in kwargs:  # ase.spectrum.band_structure.calculate_band_structure
            self._bandpath = kwargs.pop("bandpath")
        unknown = sorted(set(kwargs) - set(_NAMES))
        if unknown:
            raise TypeError(f"unknown settings {unknown}; there are {list(_NAMES)}")
        before = dict(self.parameters)
        changed = {
            name: value
            for name, value in kwargs.items()
            if name not in before or not _equal(value, before[name])
        }
        if not changed:
            return {}
        self.settings = Settings(**{**before, **changed})
        check_names(self.settings)
        self.parameters.update(changed)
        self.directory = str(self.settings.directory)
        self._solver = Solver(self.settings)
        self.reset()
        return changed

    def reset(self) -> None:
        """Forget the last geometry and its results; densities to start from are kept."""
        super().reset()  # type: ignore[no-untyped-call]
        self._solver.forget()

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """List the changes since the last calculation, charge and multiplicity included."""
        changes: list[str] = list(super().check_state(atoms, tol=tol))  # type: ignore[no-untyped-call]
        last: Atoms | None = self.atoms
        if not changes and last is not None and self._electrons(last) != self._electrons(atoms):
            changes.append("initial_charges")
        return changes

    @property
    def mean_field(self) -> Any:
        """PySCF's object, as the last call left it; None before the first."""
        return self._solver.mean_field

    def get_xc_functional(self) -> str:
        """Name of the functional, ``"HF"`` for Hartree-Fock."""
        given = self.settings.given
        return str((self.settings.xc if given is None else getattr(given, "xc", None)) or "HF")

    def band_structure(self, path: BandPath | None = None) -> BandStructure:
        """Bands of a crystal along a path, in the potential of the last SCF.

        Parameters
        ----------
        path : ase.dft.kpoints.BandPath
            ``atoms.cell.bandpath(...)``. ``ase.spectrum.band_structure.calculate_band_structure``
            gives it by ``set(bandpath=...)``.

        Raises
        ------
        ValueError
            Without a path, for an isolated molecule, or a path in another cell.
        ase.calculators.calculator.PropertyNotPresent
            If no energy has been computed.
        """
        path = self._bandpath if path is None else path
        reference = self.get_fermi_level()
        atoms = cast(Atoms, self.atoms)
        if path is None or not atoms.pbc.all():
            raise ValueError(
                f"band_structure({path!r}) of atoms with pbc {atoms.pbc.tolist()}, expected a "
                "crystal and a path, atoms.cell.bandpath(npoints=50)"
            )
        if not np.allclose(path.cell, atoms.cell, atol=1e-6):
            raise ValueError(
                "the path is one of another cell than that of the atoms; take "
                "atoms.cell.bandpath(...)"
            )
        with openmp_threads(self.settings.threads):
            self._solve(atoms)  # a run may have served results of an earlier geometry
            energies = bands(self._solver.mean_field, path.kpts)
        return BandStructure(path, energies, reference=reference)

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """Settings that differ from the defaults, for trajectory files."""
        kept = {n: v for n, v in self.parameters.items() if not skip_default or v != _DEFAULTS[n]}
        given = self.settings.given
        if given is not None:
            kept |= {"method": self.settings.name, "basis": str(given.mol.basis)}
            if hasattr(given, "xc"):
                kept["xc"] = given.xc
        return {n: str(v) if isinstance(v, Path) else v for n, v in kept.items()}

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute properties; ASE calls this when they are not known yet."""
        super().calculate(atoms, list(properties), list(system_changes))  # type: ignore[no-untyped-call]
        current = cast(Atoms, self.atoms)
        self.last_call = CallRecord()
        failed = 1
        try:
            with openmp_threads(self.settings.threads):
                self._solve(current)
                self._collect(current, frozenset(properties))
            failed = 0
        finally:
            self._count(failed)
            self._solver.release_memory()

    def _electrons(self, atoms: Atoms) -> Electrons:
        return electrons_of(atoms, self.settings.charge, self.settings.multiplicity)

    def _solve(self, atoms: Atoms) -> None:
        """Bring the mean field to convergence at a geometry, unless it is there already."""
        started = time.perf_counter()
        try:
            converged = self._solver.solve(atoms, self._electrons(atoms))
        except SolverFailed as error:
            self.last_call = CallRecord(
                error.cycles, max(error.attempts - 1, 0), time.perf_counter() - started
            )
            raise self._failure(atoms, str(error)) from error
        if converged is not None:
            self.last_call = CallRecord(
                converged.cycles,
                converged.attempts - 1,
                time.perf_counter() - started,
                attempt=converged.name,
            )

    def _collect(self, atoms: Atoms, wanted: frozenset[str]) -> None:
        """Put properties of the converged mean field into the results."""
        mean_field = self._solver.mean_field
        energy, free = energies(mean_field)
        self.results["energy"], self.results["free_energy"] = energy, free
        self.results["magmom"] = float(mean_field.mol.spin)
        self.results.update(levels(mean_field))
        periodic = bool(atoms.pbc.any())
        if "charges" in wanted:
            self.results["charges"] = charges(mean_field)
        if "magmoms" in wanted:
            self.results["magmoms"] = moments(mean_field)
        if "dipole" in wanted:
            if periodic:
                raise PropertyNotImplementedError("a crystal has no dipole moment of its own")
            self.results["dipole"] = dipole(mean_field)
        if "stress" in wanted and not periodic:
            raise PropertyNotImplementedError("an isolated molecule has no stress")
        names = {name for name in ("forces", "stress") if name in wanted}
        if not names:
            return
        started = time.perf_counter()
        derivatives = forces_and_stress(mean_field, self.settings.grid_response, names)
        self.last_call = dataclasses.replace(
            self.last_call, gradient_seconds=time.perf_counter() - started
        )
        for name, value in derivatives.items():
            if not np.isfinite(value).all():
                raise self._failure(atoms, f"the SCF converged, but its {name} are not finite")
        self.results.update(derivatives)

    def _count(self, failed: int) -> None:
        call = self.last_call
        self.totals += Totals(
            calls=1,
            scf_runs=int(call.scf_seconds > 0.0),
            gradients=int(call.gradient_seconds > 0.0),
            failures=failed,
            scf_cycles=call.scf_cycles,
            retries=call.retries,
            scf_seconds=call.scf_seconds,
            gradient_seconds=call.gradient_seconds,
        )

    def _failure(self, atoms: Atoms, reason: str) -> CalculationFailed:
        """An error that says where the geometry was saved."""
        self.results.clear()
        electrons = self._electrons(atoms)
        saved = atoms.copy()
        saved.info.update(charge=electrons.charge, multiplicity=electrons.multiplicity)
        path = save_failed(saved, Path(self.settings.directory))
        return CalculationFailed(
            f"{self.settings.name} of {atoms.get_chemical_formula()}, charge {electrons.charge}, "
            f"multiplicity {electrons.multiplicity}: {reason}. The geometry is in {path}"
        )

    def __getstate__(self) -> dict[str, Any]:
        """Settings only: mean fields hold integrals, files and device memory."""
        given = self.settings.given
        if given is not None:
            self._solver.forget()
            given = place(given.reset(), "cpu")
        return {**self.parameters, "method": self.settings.method if given is None else given}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def _equal(one: Any, other: Any) -> bool:
    """True if two settings say the same; PySCF's own objects only if they are one."""
    if one is other:
        return True
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple | np.ndarray) and isinstance(other, list | tuple | np.ndarray):
        return len(one) == len(other) and all(map(_equal, one, other))
    plain = (str, int, float, Path, np.generic)
    both = isinstance(one, plain) and isinstance(other, plain)
    return both and isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
