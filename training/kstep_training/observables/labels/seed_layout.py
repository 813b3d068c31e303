"""Labels of dimers in the layout of a spreadsheet of pairs, PDB files and NPZ files.

A folder holds

``pairs.csv`` or ``pairs.xlsx``
    One row for each pair, with the columns

    ==================== ======================================================================
    ``pair``             name of the pair: of its file ``pairs/PAIR.npz``
    ``molecule_1``       name of the first molecule's file ``molecules/NAME.pdb``
    ``molecule_2``       of the second's
    ``trajectory``       name of the trajectory that the pair is a frame of
    ``frame``            its place there, from 0
    ``time_ps``          its time; the column may be missing
    ``distance_nm``      between the centres of the molecules
    ``angle_deg``        between their planes, 0 to 90
    ``participation``    number of molecules that the frontier orbital is spread over, 1 to 2
    ``cheap_eV``         coupling by the cheap method
    ``reference_eV``     coupling by the reference
    ==================== ======================================================================

``molecules/NAME.pdb``
    One molecule, where it is in its pair. PDB files are in angstrom.
``pairs/PAIR.npz``
    ``populations_1`` and ``populations_2``, (n, 3) electrons in s, p and d functions of each atom;
    ``dipole`` (3,) in debye and ``quadrupole`` (6,) in debye nm, traceless, about the mean of the
    positions: xx, xy, yy, xz, yz, zz.

Lengths are in nm and dipoles in debye, and are converted here.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, cast

import ase.io
import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.units import Debye

from kstep_integrators.files import atomic_file
from kstep_integrators.observables.couplings.descriptors import separation
from kstep_integrators.observables.couplings.dimer import kind_of_molecules
from kstep_integrators.units import NM
from kstep_training.manifest import write_manifest
from kstep_training.observables.labels.coupling_labels import CouplingLabelSettings

__all__ = ["COLUMNS", "import_seed_layout", "read_seed_layout"]

COLUMNS: Final = (
    "pair", "molecule_1", "molecule_2", "trajectory", "frame", "distance_nm", "angle_deg",
    "participation", "cheap_eV", "reference_eV",
)  # fmt: skip
"""Of the spreadsheet, without ``time_ps``, which may be missing."""

_ARRAYS: Final = ("populations_1", "populations_2", "dipole", "quadrupole")

_ROUNDING: Final = 0.02
"""angstrom; what a distance of the spreadsheet may differ from that of the PDB files."""

Arrays = dict[str, npt.NDArray[Any]]


def read_seed_layout(folder: str | Path) -> tuple[Arrays, ...]:
    """Labels of dimers from a spreadsheet of pairs, with PDB files and NPZ files.

    Parameters
    ----------
    folder : path
        In the layout that is described above.

    Returns
    -------
    tuple of dict
        For each trajectory the arrays of a part of a folder of labels of couplings, in angstrom,
        eV, e angstrom, e angstrom^2, fs and radian; see
        :data:`kstep_training.observables.labels.label_folder.ARRAYS`.

    Raises
    ------
    FileNotFoundError
        If there is no spreadsheet, or a file that it names is missing.
    ImportError
        If the spreadsheet is a workbook and openpyxl is missing.
    ValueError
        If a column or an array is missing, a value is no finite number or out of its range, a
        distance is not that of the positions (as if it were in other units), or pairs of one
        trajectory are of different atoms.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     read_seed_layout(folder)
    Traceback (most recent call last):
    FileNotFoundError: there is no pairs.csv or pairs.xlsx in ...; name the folder that holds it
    """
    folder = Path(folder)
    rows = _rows(folder)
    trajectories: dict[str, list[Arrays]] = {}
    for number, row in enumerate(rows, start=2):
        pair = _pair(folder, row, f"row {number} of the spreadsheet")
        trajectories.setdefault(str(row["trajectory"]), []).append(pair)
    return tuple(_part(name, pairs) for name, pairs in trajectories.items())


def import_seed_layout(
    source: str | Path, folder: str | Path, reference: str, cheap: str, carrier: str = "hole"
) -> int:
    """Turn such a folder into a folder of labels, to which ``kstep fit`` fits.

    Parameters
    ----------
    source : path
        See :func:`read_seed_layout`.
    folder : path
        New, or empty.
    reference : str
        Method of the reference coupling, as ``"PBE0/def2-SVP"``, for the record.
    cheap : str
        Method of the cheap coupling. ``kstep fit`` takes any; its file is of use with atoms only if
        it is ``"GFN2-xTB"``, by which cheap couplings are computed there.
    carrier : str
        ``"hole"`` or ``"electron"``.

    Returns
    -------
    int
        Labels.

    Raises
    ------
    FileExistsError
        If the folder holds something.
    FileNotFoundError, ImportError, ValueError
        As for :func:`read_seed_layout`.

    Examples
    --------
    >>> import_seed_layout("seed", ".", "PBE0/def2-SVP", "GFN2-xTB")
    Traceback (most recent call last):
    FileExistsError: . is not empty, expected a new folder for the labels
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty, expected a new folder for the labels")
    label = CouplingLabelSettings(reference=reference, carrier=carrier)
    parts: tuple[dict[str, Any], ...] = read_seed_layout(source)
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    reports: dict[str, Any] = {}
    for number, part in enumerate(parts):
        name = f"{number:04d}.0"  # trajectories may be called what no file can
        with atomic_file(folder / "parts" / f"{name}.npz") as handle:
            np.savez_compressed(handle, **part)
        reports[name] = {"status": "done", "frames": len(part["frame"]), "left_out": {}}
    settings = {"kind": "couplings", "label": {**asdict(label), "cheap_method": cheap}}
    write_manifest(folder, {"settings": settings, "parts": reports})
    return sum(len(part["frame"]) for part in parts)


def _rows(folder: Path) -> list[dict[str, Any]]:
    table, workbook = folder / "pairs.csv", folder / "pairs.xlsx"
    if table.is_file():
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows: list[dict[str, Any]] = list(csv.DictReader(file))
    elif workbook.is_file():
        rows = _workbook(workbook)
    else:
        raise FileNotFoundError(
            f"there is no pairs.csv or pairs.xlsx in {folder}; name the folder that holds it"
        )
    if not rows:
        raise ValueError(f"the spreadsheet in {folder} has no pairs, expected one row for each")
    if missing := [name for name in COLUMNS if rows[0].get(name) is None]:
        raise ValueError(
            f"the spreadsheet in {folder} has no column {', '.join(missing)}, expected "
            f"{', '.join(COLUMNS)}"
        )
    return rows


def _workbook(path: Path) -> list[dict[str, Any]]:
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise ImportError(
            f"{path} is a workbook, for which openpyxl is needed, and it is not installed: save "
            "the sheet as pairs.csv, or install it with: pip install openpyxl"
        ) from error
    head, *rows = load_workbook(path, read_only=True, data_only=True).active.values
    return [dict(zip(map(str, head), row, strict=True)) for row in rows]


def _pair(folder: Path, row: Mapping[str, Any], where: str) -> Arrays:
    """One frame's arrays."""
    first, second = (_molecule(folder, str(row[f"molecule_{index}"]), where) for index in (1, 2))
    values = _values(folder / "pairs" / f"{row['pair']}.npz", len(first), len(second))
    distance = NM * _number(row, "distance_nm", where)
    apart = separation(first, second)
    if abs(distance - apart) > _ROUNDING:
        raise ValueError(
            f"distance_nm in {where} is {row['distance_nm']}, but the centres of "
            f"{row['molecule_1']} and {row['molecule_2']} are {apart / NM:.4f} nm apart; distances "
            "are in nm, and PDB files in angstrom"
        )
    angle, spread = _number(row, "angle_deg", where), _number(row, "participation", where)
    for name, value, least, most in (
        ("angle_deg", angle, 0.0, 90.0),
        ("participation", spread, 1.0, 2.0),
    ):
        if not least <= value <= most:
            raise ValueError(f"{name} in {where} is {value}, expected {least} to {most}")
    time = 1000.0 * _number(row, "time_ps", where) if row.get("time_ps") else np.nan
    joined: Atoms = first + second
    return {
        "numbers": joined.numbers.astype(np.int64),
        "molecule": np.repeat([0, 1], [len(first), len(second)]).astype(np.int64),
        "kind": np.array(kind_of_molecules(first, second)),
        "positions": joined.positions,
        "frame": np.array(int(_number(row, "frame", where)), dtype=np.int64),
        "time_fs": np.array(time),
        "populations": np.concatenate([values["populations_1"], values["populations_2"]]),
        "dipole": values["dipole"] * Debye,
        "quadrupole": values["quadrupole"] * Debye * NM,
        "separation": np.array(distance),
        "angle": np.array(np.deg2rad(angle)),
        "participation": np.array(spread),
        "cheap": np.array(_number(row, "cheap_eV", where)),
        "reference": np.array(_number(row, "reference_eV", where)),
    }


def _number(row: Mapping[str, Any], name: str, where: str) -> float:
    try:
        value = float(row[name])
    except (TypeError, ValueError):
        value = np.nan
    if not np.isfinite(value):
        raise ValueError(f"{name} in {where} is {row[name]!r}, expected a finite number")
    return value


def _molecule(folder: Path, name: str, where: str) -> Atoms:
    path = folder / "molecules" / f"{name}.pdb"
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}, which {where} names")
    read = cast(Atoms, ase.io.read(path, format="proteindatabank"))
    return Atoms(read.numbers, read.positions)


def _values(path: Path, first: int, second: int) -> Arrays:
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}, which the spreadsheet names")
    with np.load(path, allow_pickle=False) as file:
        values = {name: np.asarray(file[name], dtype=float) for name in _ARRAYS if name in file}
    shapes = ((first, 3), (second, 3), (3,), (6,))
    for name, shape in zip(_ARRAYS, shapes, strict=True):
        if name not in values:
            raise ValueError(f"{path} has no array {name!r}, expected {', '.join(_ARRAYS)}")
        if values[name].shape != shape or not np.isfinite(values[name]).all():
            raise ValueError(
                f"{name!r} in {path} has the shape {values[name].shape}, expected {shape} and "
                "finite numbers"
            )
    return values


def _part(name: str, pairs: list[Arrays]) -> Arrays:
    """The pairs of a trajectory, by their frame."""
    pairs = sorted(pairs, key=lambda pair: int(pair["frame"]))
    fixed = ("numbers", "molecule", "kind")
    for pair in pairs[1:]:
        if not all(np.array_equal(pair[key], pairs[0][key]) for key in fixed):
            raise ValueError(
                f"frame {int(pair['frame'])} of the trajectory {name!r} has other atoms than frame "
                f"{int(pairs[0]['frame'])}, expected the same in the same order; give each dimer a "
                "trajectory of its own"
            )
    frames = {key: np.array([pair[key] for pair in pairs]) for key in pairs[0] if key not in fixed}
    return {**{key: pairs[0][key] for key in fixed}, **frames, "trajectory": np.array(name)}
