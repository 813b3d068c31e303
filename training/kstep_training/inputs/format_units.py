"""Units of files that other programs write: what their time and their velocities are in.

One row for each format (:data:`FORMATS`). Where a format, or the program that wrote it, defines no
unit, the reader asks for it; nothing is taken for ASE's own unit of time, 10.18 fs, by default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kstep_integrators import units
from kstep_integrators.units import LENGTH_UNITS

__all__ = [
    "FORMATS",
    "LAMMPS_UNITS",
    "TIME_UNITS",
    "FormatUnits",
    "GivenUnits",
    "table_of_formats",
    "velocity_unit",
]

TIME_UNITS: Final[dict[str, float]] = {
    "fs": units.FS,
    "ps": units.PS,
    "ns": 1e3 * units.PS,
    "s": 1e15 * units.FS,
    "au": 2.4188843265857e-2 * units.FS,
    "akma": 48.88821291 * units.FS,
    "ase": 1.0,
}
"""In ASE time units. ``au`` is hbar / hartree (CODATA 2018, doi:10.1103/RevModPhys.93.025010),
``akma`` angstrom sqrt(u mol / kcal), the unit of CHARMM."""


@dataclass(frozen=True)
class FormatUnits:
    """The units of one format.

    Attributes
    ----------
    files : str
        Which they are.
    time : str or None
        Of :data:`TIME_UNITS`, or ``asked``: the file has one without a unit; None: it has none, and
        the interval of its frames is asked for.
    velocity : str or None
        For :func:`velocity_unit`, or ``asked``; None: it has none.
    reference : str
        Where that is defined.
    """

    files: str
    time: str | None
    velocity: str | None
    reference: str


FORMATS: Final[dict[str, FormatUnits]] = {
    "npz": FormatUnits(".npz of schema version 1", "ps", "nm/ps", "kstep_training.trajectory"),
    "traj": FormatUnits(
        ".traj of ASE with `info['time']`; this package writes its unit",
        "asked", "ase", "ase-lib.org, ase.io.trajectory",
    ),
    "extxyz": FormatUnits(
        "extended XYZ with `time` or `Time`, columns `vel`, `velo`, `velocities`",
        "asked", "asked", "github.com/libAtoms/extxyz, which defines neither",
    ),
    "extxyz-momenta": FormatUnits(
        "extended XYZ with the column `momenta`, which ASE writes",
        "asked", "ase", "ase-lib.org, ase.io.extxyz",
    ),
    "cp2k": FormatUnits(
        "NAME-pos-1.xyz of CP2K (comment `i = , time = , E = `)",
        "fs", None, "manual.cp2k.org, MOTION/PRINT/TRAJECTORY",
    ),
    "ipi": FormatUnits(
        "XYZ of i-PI (comment with `positions{unit}`)",
        None, None, "docs.ipi-code.org, output files",
    ),
    "lammps": FormatUnits(
        "text dumps of LAMMPS (`dump_modify units yes time yes`, or `lammps_units=`)",
        "asked", "asked", "docs.lammps.org/units.html, dump_modify.html",
    ),
    "dcd": FormatUnits(
        ".dcd with OpenMM, NAMD or CHARMM in its remarks; of others `interval_fs`",
        "akma", None, "docs.mdanalysis.org, coordinates.DCD",
    ),
    "gromacs": FormatUnits(".trr and .xtc of GROMACS", "ps", "nm/ps",
                           "manual.gromacs.org, file formats"),
    "amber": FormatUnits(".nc and .ncdf of Amber", "ps", "A/ps",
                         "ambermd.org/netcdf/nctraj.xhtml, with its scale_factor"),
    "h5md": FormatUnits(".h5md and .h5, in the units that their attributes name",
                        "attributes", "attributes", "nongnu.org/h5md/h5md.html"),
    "other": FormatUnits("others that ASE reads: PDB, XDATCAR, DL_POLY HISTORY, ...",
                         None, None, "ase-lib.org, ase.io"),
}  # fmt: skip
"""By format; see :func:`table_of_formats`."""

LAMMPS_UNITS: Final[dict[str, tuple[str, str]]] = {
    "real": ("A", "fs"),
    "metal": ("A", "ps"),
    "electron": ("bohr", "fs"),
    "si": ("m", "s"),
    "cgs": ("cm", "s"),
    "nano": ("nm", "ns"),
}
"""Length and time of the styles of LAMMPS. Velocities are one over the other, in ``electron`` too:
its documentation has 1.03275 fs there, by which ASE's are 3 % off."""


@dataclass(frozen=True)
class GivenUnits:
    """Units that a user names for what files leave open.

    Attributes
    ----------
    time_unit : str or None
        Of :data:`TIME_UNITS`.
    velocity_unit : str or None
        ``length/time`` of :data:`LENGTH_UNITS` and :data:`TIME_UNITS`, or ``ase``.
    lammps_units : str or None
        Of :data:`LAMMPS_UNITS`.

    Raises
    ------
    ValueError
        If there is no such unit.

    Examples
    --------
    >>> GivenUnits(velocity_unit="A/fs").velocity_unit
    'A/fs'
    """

    time_unit: str | None = None
    velocity_unit: str | None = None
    lammps_units: str | None = None

    def __post_init__(self) -> None:
        if self.time_unit is not None and self.time_unit not in TIME_UNITS:
            raise ValueError(f"time_unit is {self.time_unit!r}, expected one of {[*TIME_UNITS]}")
        if self.velocity_unit is not None:
            velocity_unit(self.velocity_unit)
        if self.lammps_units is not None and self.lammps_units not in LAMMPS_UNITS:
            raise ValueError(
                f"lammps_units is {self.lammps_units!r}, expected one of {[*LAMMPS_UNITS]}; those "
                "of the style lj have no scale of their own"
            )


def velocity_unit(name: str) -> float:
    """A unit of velocities in ASE's.

    Raises
    ------
    ValueError
        If it is not ``ase`` or ``length/time``.

    Examples
    --------
    >>> from ase import units
    >>> velocity_unit("A/fs") == 1.0 / units.fs
    True
    """
    if name == "ase":
        return 1.0
    length, _, time = name.partition("/")
    if length not in LENGTH_UNITS or time not in TIME_UNITS:
        raise ValueError(
            f"velocity_unit is {name!r}, expected 'ase', or a length of {[*LENGTH_UNITS]} over a "
            f"time of {[*TIME_UNITS]}, such as 'A/fs'"
        )
    return LENGTH_UNITS[length] / TIME_UNITS[time]


def table_of_formats() -> str:
    """The formats as a table of Markdown, as the guide has it."""
    said = {
        None: "none: `interval_fs=`",
        "asked": "`info['time_unit']`, or `time_unit=`",
        "attributes": "as the file says",
    }
    of_velocity = {None: "none", "asked": "`velocity_unit=`", "attributes": "as the file says"}
    lines = ["| files | time | velocities | defined by |", "|---|---|---|---|"]
    for name, row in FORMATS.items():
        time, velocity = said.get(row.time, row.time), of_velocity.get(row.velocity, row.velocity)
        if name == "lammps":
            time = velocity = "as the file says, or `lammps_units=`"
        lines.append(f"| {row.files} | {time} | {velocity} | {row.reference} |")
    return "\n".join(lines) + "\n"
