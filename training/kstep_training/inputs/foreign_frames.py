"""Frames of files that ASE reads, their time and velocities in the units of the format.

ASE hands on what it does not know as it stands, or as if it were its own: the time of CP2K, bohr of
i-PI, velocities of every style of LAMMPS as ``metal``, types of atoms as elements. What each is, is
in :mod:`kstep_training.inputs.format_units`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.lammps import convert
from ase.io.formats import UnknownFileTypeError, filetype, open_with_compression

from kstep_integrators import units
from kstep_integrators.physics.estimated import is_estimated
from kstep_integrators.units import LENGTH_UNITS
from kstep_training.inputs.format_units import (
    LAMMPS_UNITS,
    TIME_UNITS,
    GivenUnits,
    velocity_unit,
)

__all__ = ["ForeignFrames", "read_frames"]

Array = npt.NDArray[np.float64]

_NUMBER = r"([-+.\deE]+)"
_CP2K = re.compile(rf"^\s*i\s*=\s*\d+\s*,(?:\s*time\s*=\s*{_NUMBER}\s*,)?\s*E\s*=\s*(\S+)")
_IPI = re.compile(r"(positions|velocities|forces|momenta)\{(\w+)\}")
_IPI_CELL = re.compile(r"CELL[\[(]abcABC[\])]:\s*" + r"\s+".join([_NUMBER] * 6))
_IPI_OTHER_CELL = re.compile(r"CELL[\[({](H|GENH)[\])}]:")
_IPI_CELL_UNIT = re.compile(r"cell\{(\w+)\}")
_IPI_LENGTHS = {
    "angstrom": 1.0, "ase": 1.0, "atomic_unit": units.BOHR, "bohr": units.BOHR,
    "nanometer": units.NM, "picometer": 0.01,
}  # fmt: skip

_TIMES = ("time", "Time")
_VELOCITIES = ("vel", "velo", "velocities", "velocity")
_ASE_FORMATS = {"traj", "extxyz", "json", "db", "bundletrajectory"}
"""Whose momenta ASE has written itself."""
_CONVERTED = {"dlp4", "dlp-history", "castep-md", "castep-geom", "gromacs", "netcdftrajectory",
              "vasp", "aims", "aims-output"}  # fmt: skip
"""Whose velocities ASE converts, from a unit that the format defines."""


@dataclass(frozen=True)
class ForeignFrames:
    """Frames in ASE units.

    Attributes
    ----------
    atoms : list of ase.Atoms
        F of them; positions and cells in angstrom, as they are; without momenta.
    time : (F,) array or None
        ASE time; None if the file has none.
    velocities : (F, N, 3) array or None
        Angstrom / ASE time; None if the file has none, or of no unit.
    energies : (F,) array
        eV; NaN where there is none, or only an estimate.
    left_out : str
        Where there are velocities of no unit; empty if there are none.
    """

    atoms: list[Atoms]
    time: Array | None
    velocities: list[Array] | None
    energies: Array
    left_out: str = ""


def read_frames(path: str | Path, given: GivenUnits | None = None) -> ForeignFrames:
    """Read all frames of a file.

    Parameters
    ----------
    path : path
    given : GivenUnits, optional
        Units of what the file leaves open.

    Raises
    ------
    ValueError
        If ASE cannot read it, it holds velocities or forces in place of positions, or types in
        place of elements, a length has an unknown unit, or a unit is given for what has its own or
        is not there. A time without a unit is left out, as if there were none.
    """
    path, given = Path(path), given or GivenUnits()
    try:
        kind = filetype(str(path))
        comments = list(_comments(path)) if kind in ("xyz", "extxyz") else []
    except (UnknownFileTypeError, UnicodeDecodeError, OSError, ValueError) as error:
        raise ValueError(f"{path} is no file that ASE reads: {error}") from error
    if kind == "lammps-dump-text":
        return _lammps(path, given)
    if given.lammps_units is not None:
        raise ValueError(
            f"lammps_units is {given.lammps_units!r}, but {path} is no text dump of LAMMPS; leave "
            "it out"
        )
    frames = _ase(path)
    energies = np.array([_energy(atoms) for atoms in frames])
    cp2k = [_CP2K.match(comment) for comment in comments]
    if cp2k and all(cp2k):
        return _cp2k(path, frames, cp2k, given)
    if comments and _IPI.search(comments[0]):
        _ipi(path, frames, comments)
    time = _time(path, frames, given)
    velocities, left_out = _velocities(path, kind, frames, given)
    return ForeignFrames([_still(atoms) for atoms in frames], time, velocities, energies, left_out)


def _ase(path: Path, **options: Any) -> list[Atoms]:
    try:
        frames: Any = ase.io.read(path, index=":", **options)
    except Exception as error:
        raise ValueError(f"{path} is no file that ASE reads: {error}") from error
    return list(frames)


def _comments(path: Path) -> Iterator[str]:
    """The second line of each frame of an XYZ file."""
    with open_with_compression(str(path), "r") as lines:
        for line in lines:
            if not line.strip():
                continue
            count = int(line)
            yield next(lines, "")
            for _ in range(count):
                next(lines, "")


def _energy(atoms: Atoms) -> float:
    known = {} if atoms.calc is None or is_estimated(atoms) else atoms.calc.results
    return float(known.get("energy", np.nan))


def _still(atoms: Atoms) -> Atoms:
    atoms.arrays.pop("momenta", None)
    return atoms


def _refuse_units(path: Path, what: str, given: GivenUnits) -> None:
    for name in ("time_unit", "velocity_unit"):
        if getattr(given, name) is not None:
            raise ValueError(f"{name} is {getattr(given, name)!r}, but {path} {what}; leave it out")


def _time(path: Path, frames: list[Atoms], given: GivenUnits) -> Array | None:
    """Of ``info``, in the unit that is known or given; None if there is none, or no unit of it."""
    if frames and all("kstep" in atoms.info for atoms in frames):
        # Of `kstep run`, in ASE time.
        if given.time_unit not in (None, "ase"):
            raise ValueError(
                f"time_unit is {given.time_unit!r}, but {path} is of kstep run; leave it out"
            )
        return np.array([float(atoms.info["kstep"]["time"]) for atoms in frames])
    found = next((n for n in _TIMES if all(n in atoms.info for atoms in frames)), None)
    if found is None or not frames:
        if given.time_unit is not None:
            raise ValueError(
                f"time_unit is {given.time_unit!r}, but {path} says nothing of time; leave it out, "
                "and give interval_fs=..., the time between two frames"
            )
        return None
    noted = {str(atoms.info["time_unit"]) for atoms in frames if "time_unit" in atoms.info}
    if len(noted) > 1 or not noted <= {*TIME_UNITS}:
        raise ValueError(
            f"{path} has the time_unit {sorted(noted)}, expected one of {[*TIME_UNITS]}"
        )
    unit = noted.pop() if noted else given.time_unit
    if given.time_unit not in (None, unit):
        raise ValueError(
            f"time_unit is {given.time_unit!r}, but {path} says that it is {unit!r}; leave it out"
        )
    if unit is None:
        return None
    try:
        return TIME_UNITS[unit] * np.array([float(atoms.info[found]) for atoms in frames])
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{found!r} in {path} is {frames[0].info[found]!r}, expected a number; give "
            "interval_fs=..., the time between two frames"
        ) from error


def _velocities(
    path: Path, kind: str, frames: list[Atoms], given: GivenUnits
) -> tuple[list[Array] | None, str]:
    """Velocities, and where some are that have no unit."""
    unit = given.velocity_unit
    if frames and all(atoms.has("momenta") for atoms in frames):
        if kind in _ASE_FORMATS or kind in _CONVERTED:
            if unit not in (None, "ase"):
                raise ValueError(
                    f"velocity_unit is {unit!r}, but the momenta in {path} are in those of ASE; "
                    "leave it out"
                )
            return [atoms.get_velocities() for atoms in frames], ""
        return None, f"in {path}, of the format {kind},"
    name = next((n for n in _VELOCITIES if all(atoms.has(n) for atoms in frames)), None)
    if name is None or not frames:
        if unit is not None:
            raise ValueError(
                f"velocity_unit is {unit!r}, but {path} has no velocities; leave it out"
            )
        return None, ""
    if unit is None:
        return None, f"in the column {name!r} of {path}"
    scale = velocity_unit(unit)
    return [scale * np.asarray(atoms.get_array(name), dtype=float) for atoms in frames], ""


def _cp2k(
    path: Path, frames: list[Atoms], comments: list[re.Match[str] | None], given: GivenUnits
) -> ForeignFrames:
    for word in ("-vel-", "-frc-"):
        if word in path.name:
            raise ValueError(
                f"{path} of CP2K holds {'velocities' if word == '-vel-' else 'forces'}, not "
                f"positions; give {path.name.replace(word, '-pos-')}"
            )
    _refuse_units(path, "is of CP2K: its time is in fs, and it has no velocities", given)
    found = [match.groups() for match in comments if match is not None]
    time = None
    if all(one[0] is not None for one in found):
        time = np.array([float(one[0]) for one in found]) * units.FS
    # Stars stand for what did not fit into the columns.
    energies = units.HARTREE * np.array([np.nan if "*" in e else float(e) for _, e in found])
    return ForeignFrames([_still(atoms) for atoms in frames], time, None, energies)


def _ipi(path: Path, frames: list[Atoms], comments: list[str]) -> None:
    """Positions and cells in angstrom, in place."""
    for atoms, comment in zip(frames, comments, strict=True):
        mark, box = _IPI.search(comment), _IPI_CELL.search(comment)
        kind, unit = mark.groups() if mark is not None else ("nothing", "")
        if kind != "positions":
            raise ValueError(f"{path} of i-PI holds {kind}, not positions; give the file of those")
        if _IPI_OTHER_CELL.search(comment):
            raise ValueError(
                f"{path} of i-PI has its cell as a matrix, expected CELL(abcABC); convert it first"
            )
        noted = _IPI_CELL_UNIT.search(comment)
        for name in (unit, "angstrom" if noted is None else noted.group(1)):
            if name not in _IPI_LENGTHS:
                raise ValueError(
                    f"{path} has lengths in {name!r}, expected one of {[*_IPI_LENGTHS]}; write "
                    "positions{angstrom} with i-PI"
                )
        atoms.positions *= _IPI_LENGTHS[unit]
        if box is not None:
            sides = [float(side) for side in box.groups()]
            scale = _IPI_LENGTHS["angstrom" if noted is None else noted.group(1)]
            atoms.cell = [scale * side for side in sides[:3]] + sides[3:]
            atoms.pbc = True


def _lammps(path: Path, given: GivenUnits) -> ForeignFrames:
    """A text dump, in the units that it names or that are given."""
    times: list[float] = []
    style, columns = None, ""
    with open_with_compression(str(path), "r") as lines:
        for line in lines:
            if line.startswith("ITEM: UNITS"):
                style = next(lines).strip()
            elif line.startswith("ITEM: TIME\n"):
                times.append(float(next(lines)))
            elif line.startswith("ITEM: ATOMS"):
                columns = line
    if style is not None and given.lammps_units not in (None, style):
        raise ValueError(
            f"lammps_units is {given.lammps_units!r}, but {path} says {style!r}; leave it out"
        )
    style = style or given.lammps_units
    if style not in LAMMPS_UNITS:
        raise ValueError(
            f"{path} of LAMMPS has the units {style!r}, expected one of {[*LAMMPS_UNITS]}; give "
            "lammps_units=real (or what the input of LAMMPS says), or write dumps with "
            "dump_modify ID units yes time yes"
        )
    if not {"element", "mass"} & set(columns.split()):
        raise ValueError(
            f"{path} of LAMMPS has types of atoms and not their elements; write dumps with "
            "'dump custom ... id element ...' and 'dump_modify ID element ...'"
        )
    _refuse_units(path, "is of LAMMPS, which has units of its own: lammps_units", given)
    frames = _ase(path, format="lammps-dump-text", units=style)
    velocities = None
    if all(atoms.has("momenta") for atoms in frames):
        # ASE's are by the documentation: `electron` has 1.03275 fs in it, and 1 fs in LAMMPS.
        length, clock = LAMMPS_UNITS[style]
        scale = LENGTH_UNITS[length] / TIME_UNITS[clock] / convert(1.0, "velocity", style, "ASE")
        velocities = [scale * atoms.get_velocities() for atoms in frames]
    time = None
    if times and len(times) == len(frames):
        time = TIME_UNITS[LAMMPS_UNITS[style][1]] * np.array(times)
    unknown = np.full(len(frames), np.nan)
    return ForeignFrames([_still(atoms) for atoms in frames], time, velocities, unknown)
