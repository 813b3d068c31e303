"""Mean-field objects: made for a level of theory, and moved from geometry to geometry."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from ase import Atoms

from kstep_integrators.calculators.electrons import Electrons, element
from kstep_integrators.calculators.pyscf.density import Array
from kstep_integrators.calculators.pyscf.device import to_host
from kstep_integrators.calculators.pyscf.settings import Settings

__all__ = ["build", "check_covers", "check_names", "move_to", "occupations"]


def check_names(settings: Settings) -> None:
    """Check what only PySCF knows: the functional, the solvent, the dispersion package.

    Raises
    ------
    ValueError
        If a name is unknown.
    ImportError
        If pyscf-dispersion is missing.
    """
    if settings.xc is not None:
        from pyscf.dft import libxc
        from pyscf.scf.dispersion import parse_dft

        try:
            libxc.parse_xc(parse_dft(settings.xc.lower())[0])
        except Exception as error:
            raise ValueError(
                f"xc is {settings.xc!r}, which PySCF does not know ({error}); examples: 'pbe', "
                "'b3lyp', 'wb97x-v', 'wb97m-v', 'pbe0'"
            ) from error
    if isinstance(settings.solvent, str):
        from pyscf.solvent.smd import solvent_db

        if settings.solvent.lower() not in solvent_db:
            raise ValueError(
                f"unknown solvent {settings.solvent!r}; PySCF knows {len(solvent_db)}, among them "
                "'water', 'methanol', 'toluene'; or give a dielectric constant"
            )
    if settings.dispersion is not None:
        try:
            import pyscf.dispersion  # noqa: F401
        except ImportError as error:
            raise ImportError(
                f"dispersion={settings.dispersion!r} needs pyscf-dispersion, which is not "
                "installed; install it with: pip install 'kstep-integrators[pyscf]'"
            ) from error


def build(settings: Settings, atoms: Atoms, electrons: Electrons) -> Any:
    """A mean-field object on the CPU.

    Parameters
    ----------
    settings : Settings
    atoms : ase.Atoms
        Isolated, or periodic in all three directions.
    electrons : Electrons

    Raises
    ------
    ValueError
        If an element is not in the basis or needs an effective core potential, if the level of
        theory does not fit the boundary conditions, or if a restricted method is asked for that
        PySCF does not have.
    """
    periodic = bool(atoms.pbc.all())
    if atoms.pbc.any() and not periodic:
        raise ValueError(
            f"pbc is {atoms.pbc.tolist()}; expected all or none. For slabs and wires configure a "
            "mean-field object of PySCF yourself and give it to the calculator"
        )
    molecule = _molecule(settings, atoms, electrons, periodic)
    check_ecp(molecule)
    open_shell = electrons.multiplicity > 1
    spin = ("RO" if open_shell else "R") if settings.unrestricted is False else ""
    if settings.unrestricted or (open_shell and settings.unrestricted is None):
        spin = "U"
    kind = (spin or "R") + ("HF" if settings.xc is None else "KS")
    if periodic:
        if settings.solvent is not None:
            raise ValueError("solvent is for isolated molecules; atoms.pbc is True")
        # Also at the gamma point: PySCF has forces and stress for these classes only.
        mean_field = getattr(molecule, f"K{kind}")(kpts=molecule.make_kpts(settings.kpts))
    else:
        mean_field = getattr(molecule, kind)()
    if settings.xc is not None:
        mean_field.xc = settings.xc
        if not periodic:
            mean_field.grids.level = settings.grid_level
            mean_field.nlcgrids.level = max(0, min(settings.grid_level, mean_field.nlcgrids.level))
    if settings.density_fit:
        fitted = settings.density_fit
        mean_field = mean_field.density_fit(auxbasis=fitted if isinstance(fitted, str) else None)
        _check_fit(mean_field, settings, atoms)
    if settings.dispersion is not None:
        mean_field.disp = settings.dispersion.lower()
    if settings.solvent is not None:
        mean_field = _solvate(mean_field, settings)
    mean_field.conv_tol = settings.conv_tol
    mean_field.max_cycle = settings.max_cycle
    # Checkpoints of the SCF are written at every cycle, and nobody here reads them.
    mean_field.chkfile = None
    temporary = getattr(mean_field, "_chkfile", None)
    if temporary is not None:
        temporary.close()
        mean_field._chkfile = None  # noqa: SLF001
    return mean_field


def _molecule(
    settings: Settings,
    atoms: Atoms,
    electrons: Electrons,
    periodic: bool,
) -> Any:
    from pyscf import gto
    from pyscf.pbc import gto as pbc_gto

    molecule = pbc_gto.Cell() if periodic else gto.Mole()
    if periodic:
        molecule.a = np.array(atoms.cell)
        molecule.pseudo = settings.pseudo
    elif settings.pseudo is not None:
        raise ValueError("pseudo is for periodic systems; use ecp= for an isolated molecule")
    elif tuple(settings.kpts) != (1, 1, 1):
        raise ValueError(f"kpts={settings.kpts} given, but atoms.pbc is False")
    molecule.atom = [
        (element(int(z)), tuple(x)) for z, x in zip(atoms.numbers, atoms.positions, strict=True)
    ]
    molecule.unit = "Angstrom"
    molecule.basis = settings.basis
    molecule.ecp = settings.ecp or {}
    molecule.charge = electrons.charge
    molecule.spin = electrons.multiplicity - 1
    molecule.verbose = 0
    if settings.max_memory is not None:
        molecule.max_memory = settings.max_memory
    with warnings.catch_warnings():
        # "Basis may be available in basis-set-exchange": said again in our own error.
        warnings.simplefilter("ignore")
        try:
            molecule.build(dump_input=False, parse_arg=False)
        except Exception as error:
            raise ValueError(
                f"PySCF cannot set up basis={settings.basis!r}, ecp={settings.ecp!r}, "
                f"pseudo={settings.pseudo!r} for {atoms.get_chemical_formula()}: "
                f"{' '.join(str(error).split())}. Check the spelling, and that the basis covers "
                f"the elements {sorted(set(atoms.get_chemical_symbols()))}"
            ) from error
    functions = molecule.aoslice_by_atom()
    bare = [i for i, row in enumerate(functions) if row[3] == row[2] and atoms.numbers[i] > 0]
    if bare:
        # PySCF prints a warning, leaves the nuclei bare, and converges to wrong energies.
        raise ValueError(
            f"basis={settings.basis!r} has no functions for "
            f"{sorted({atoms.symbols[i] for i in bare})}; name one for each element, or 'default'"
        )
    return molecule


def check_ecp(molecule: Any) -> None:
    """Refuse a valence basis on an atom that keeps its core electrons.

    Raises
    ------
    ValueError
        Such a calculation converges, to nonsense.
    """
    from pyscf.gto.mole import bse_predefined_ecp

    if not isinstance(molecule.basis, str) or getattr(molecule, "pseudo", None):
        return
    elements = sorted({symbol for symbol, _ in molecule._atom} - set(molecule._ecp))  # noqa: SLF001
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recommended, lacking = bse_predefined_ecp(molecule.basis, elements)
    if lacking:
        symbols = [element(z) for z in sorted(lacking)]
        raise ValueError(
            f"the basis {molecule.basis} replaces the core electrons of {symbols} by an effective "
            f"core potential, but none is given; use ecp={str(recommended).lower()!r}"
        )


def _check_fit(mean_field: Any, settings: Settings, atoms: Atoms) -> None:
    """Refuse an auxiliary basis that there is not, before an SCF fails for want of it."""
    from pyscf.df.addons import make_auxmol

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            make_auxmol(mean_field.mol, mean_field.with_df.auxbasis)
        except Exception as error:
            raise ValueError(
                f"PySCF cannot set up density_fit={settings.density_fit!r} for "
                f"{atoms.get_chemical_formula()}: {' '.join(str(error).split())}. Check the "
                "spelling, and that the auxiliary basis covers the elements; True takes PySCF's own"
            ) from error


def _solvate(mean_field: Any, settings: Settings) -> Any:
    from pyscf.solvent.smd import solvent_db

    if settings.solvent_model.lower() == "smd":
        mean_field = mean_field.SMD()
        mean_field.with_solvent.solvent = str(settings.solvent).lower()
        return mean_field
    mean_field = mean_field.PCM()
    mean_field.with_solvent.method = settings.solvent_model.upper()
    # The sixth of Minnesota's solvent descriptors is the dielectric constant.
    mean_field.with_solvent.eps = (
        solvent_db[settings.solvent.lower()][5]
        if isinstance(settings.solvent, str)
        else float(settings.solvent or 1.0)
    )
    return mean_field


def check_covers(mean_field: Any, atoms: Atoms, electrons: Electrons) -> None:
    """Check that a mean-field object which a user configured is one for these atoms.

    Raises
    ------
    ValueError
        If elements, their order, charge, multiplicity or periodicity differ, or if PySCF would
        turn the molecule into a frame of its own.
    """
    molecule = mean_field.mol
    numbers = [
        int(molecule.atom_charge(i) + molecule.atom_nelec_core(i)) for i in range(molecule.natm)
    ]
    if numbers != atoms.numbers.tolist():
        raise ValueError(
            f"the mean-field object is for the elements {[element(z) for z in numbers]}, but atoms "
            f"has {atoms.get_chemical_symbols()}; make one for these atoms, in this order"
        )
    have = Electrons(int(molecule.charge), int(molecule.spin) + 1)
    if have != electrons:
        raise ValueError(
            f"the mean-field object has charge {have.charge} and multiplicity {have.multiplicity}, "
            f"but atoms asks for {electrons.charge} and {electrons.multiplicity}"
        )
    if molecule.symmetry:
        raise ValueError(
            "the molecule of the mean-field object has symmetry=True, with which PySCF turns it; "
            "build it with symmetry=False"
        )
    if hasattr(molecule, "lattice_vectors") != bool(atoms.pbc.any()):
        raise ValueError(
            f"atoms.pbc is {atoms.pbc.tolist()}, but the mean-field object is for "
            f"{'a crystal' if hasattr(molecule, 'lattice_vectors') else 'an isolated molecule'}"
        )


def move_to(mean_field: Any, atoms: Atoms) -> None:
    """Reset a mean-field object to other positions of the same atoms, and another cell.

    The mesh of a crystal stays the one it was built with: energies at different cells are then
    those of one basis, and the stress is their derivative.
    """
    molecule = mean_field.mol
    unit = {"unit": "Angstrom"}
    positions = np.array(atoms.positions)
    if hasattr(molecule, "lattice_vectors"):
        mesh = molecule.mesh
        moved = molecule.set_geom_(positions, a=np.array(atoms.cell), inplace=False, **unit)
        moved.mesh = mesh
    else:
        moved = molecule.set_geom_(positions, inplace=False, **unit)
    mean_field.reset(moved)
    mean_field.converged = False


def occupations(mean_field: Any, density: Array) -> Array:
    """Occupation numbers, ascending, in the layout of a density matrix.

    Parameters
    ----------
    mean_field : converged mean-field object
    density : (..., n, n)
        What its ``make_rdm1`` returned: with both spins in front if they differ.

    Returns
    -------
    (..., n)
    """
    occupied = to_host(mean_field.mo_occ)
    if occupied.ndim == density.ndim - 2:  # restricted open shell: 2, 1 or 0 for both spins
        occupied = np.stack([occupied > 0.5, occupied > 1.5]).astype(np.float64)
    # Where PySCF dropped linear combinations of basis functions, they are empty.
    padded = np.zeros(density.shape[:-1])
    padded[..., density.shape[-1] - occupied.shape[-1] :] = np.sort(occupied, axis=-1)
    return padded
