"""Labels of earlier runs and of other codes, read and checked before a run learns from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.trajectory import TrajectoryReader

from kstep_integrators import units
from kstep_integrators.diagnostics.npz_schema import ESTIMATES, read_arrays
from kstep_integrators.learning.label_file import physics_of
from kstep_integrators.learning.label_origin import (
    METHOD_KEYS,
    check_method,
    check_settings,
    molecule_of,
)
from kstep_integrators.learning.label_units import check_units, said_units
from kstep_integrators.learning.labels import Label
from kstep_integrators.physics.estimated import is_estimated

__all__ = ["read_labels"]

_SUFFIXES = (".traj", ".xyz", ".extxyz", ".npz")


def read_labels(
    paths: Sequence[str | Path],
    molecules: Sequence[Atoms],
    physics: Mapping[str, str],
    forces: bool = True,
) -> list[Label]:
    """Labels of files, in ASE units, each of one of the molecules of a run.

    Parameters
    ----------
    paths : sequence of str or Path
        ``.traj`` of ASE (the labels of an earlier run, or other frames), extended XYZ, or NPZ of
        schema version 1. Energies and forces are in eV and eV/angstrom, unless a frame's ``info``
        has an ``energy_unit`` and a ``force_unit``; in NPZ in the units of the schema.
    molecules : sequence of ase.Atoms
        Of the run. A frame is of the first that has the same elements in the same order, charge,
        multiplicity and periodic directions.
    physics : mapping of str to str
        Settings of the run's physics, of :func:`kstep_integrators.physics.identity.settings_of`.
    forces : bool
        Whether the run needs them.

    Returns
    -------
    list of Label
        In the order of the files, with ``evaluations`` 0: this run has not paid for them.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a file cannot be read, a frame is of no molecule of the run, has no energy, no forces
        where they are needed, or numbers that are not finite, if its numbers cannot be in the units
        that they should be in, if they are estimates of a run whose corrector averages positions,
        or if it says another method than the run's. Messages have both values.

    Warns
    -----
    KStepWarning
        Of a file that does not say which method its labels are of.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import molecule
    >>> from ase.calculators.lj import LennardJones
    >>> from kstep_integrators.learning.label_file import LabelFile
    >>> from kstep_integrators.physics.identity import settings_of
    >>> path, water = tempfile.mkdtemp() + "/run.labels.traj", molecule("H2O")
    >>> with LabelFile(path, settings_of(LennardJones())) as labels:
    ...     labels.append(Label.of(water, energy=-14.0, forces=np.zeros((3, 3))))
    >>> [label.energy for label in read_labels([path], [water], settings_of(LennardJones()))]
    [-14.0]
    """
    found: list[Label] = []
    for path in map(Path, paths):
        if not path.is_file():
            raise FileNotFoundError(f"there is no file of labels {path}")
        frames, said = _read(path)
        if isinstance(said, dict):
            check_settings(path, said, physics)
        else:
            check_method(path, said, physics)
        here = [
            _label(frame, molecules, physics, forces, f"frame {number} of {path}")
            for number, frame in enumerate(frames)
        ]
        if not here:
            raise ValueError(f"{path} has no frame with a label{_estimates_in(path)}")
        check_units(here, path)
        found += here
    return found


def _read(path: Path) -> tuple[list[Atoms], dict[str, str] | str | None]:
    """Frames, and what the file says of their method: settings, a name, or nothing."""
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise ValueError(f"{path} ends in {suffix!r}, expected a file of labels: {[*_SUFFIXES]}")
    if suffix == ".npz":
        return _npz(path)
    said: dict[str, str] | None = None
    try:
        if suffix == ".traj":
            with TrajectoryReader(path) as reader:
                frames = list(reader)
                said = physics_of(reader, path) if frames else None
        else:
            frames = list(ase.io.iread(path, index=":", format="extxyz"))
    except Exception as error:
        raise ValueError(f"{path} cannot be read as labels: {error}") from error
    if said is not None:
        return frames, said
    said_by = [[str(one.info[key]) for key in METHOD_KEYS if key in one.info] for one in frames]
    names = {" ".join(words) for words in said_by}
    if len(names) > 1:
        raise ValueError(
            f"{path} has frames of several methods, {sorted(names)}: expected one; split the file"
        )
    return frames, next(iter(names), "") or None


def _npz(path: Path) -> tuple[list[Atoms], str | None]:
    arrays, metadata = read_arrays(path)
    frames = []
    # One cell for all frames, or one for each of a run under pressure.
    cells = np.broadcast_to(arrays["cell"], (len(arrays["positions"]), 3, 3))
    for number in np.flatnonzero(arrays["has_label"]):
        atoms = Atoms(
            arrays["atom_types"].astype(int),
            positions=arrays["positions"][number].astype(float) * units.NM,
            cell=cells[number].astype(float) * units.NM,
            pbc=arrays["pbc"].astype(bool),
        )
        atoms.info |= {
            key: metadata[key]
            for key in ("charge", "multiplicity")
            if metadata.get(key) is not None
        }
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=float(arrays["energies"][number]) * units.KJ_PER_MOL,
            forces=arrays["forces"][number].astype(float) * units.KJ_PER_MOL_NM,
        )
        frames.append(atoms)
    return frames, metadata.get("method")


def _estimates_in(path: Path) -> str:
    """Why a file of `kstep run` has no label, where its energies are estimates."""
    if path.suffix.lower() != ".npz" or ESTIMATES not in read_arrays(path)[1]:
        return ""
    return (
        ": its run had corrector='mollified', whose energies and forces at these positions are "
        "estimates; its file of labels, if it learned, has what was computed"
    )


def _label(
    frame: Atoms,
    molecules: Sequence[Atoms],
    physics: Mapping[str, str],
    forces: bool,
    where: str,
) -> Label:
    """One frame, checked, in ASE units and of a molecule of the run."""
    known = {} if frame.calc is None else frame.calc.results
    if known.get("energy") is None:
        raise ValueError(
            f"{where} has no energy; its info has {sorted(frame.info)}, its arrays "
            f"{sorted(frame.arrays)}: expected 'energy' and 'forces', as ASE names them"
        )
    if forces and known.get("forces") is None:
        raise ValueError(
            f"{where} has no forces, which the run needs; its arrays are {sorted(frame.arrays)}, "
            "expected 'forces', as ASE names them"
        )
    if is_estimated(frame):
        raise ValueError(
            f"{where} has estimates of energy and forces, of a run with corrector='mollified', "
            "and no label: what it computed, at averaged positions, is in its file of labels if it "
            "learned (NAME.labels.traj); give that, or leave this one out"
        )
    molecule = molecule_of(frame, molecules, where, physics)
    energy, force = said_units(frame.info, where)
    label = Label.from_frame(frame)
    label = replace(
        label,
        energy=label.energy * energy,
        forces=None if label.forces is None else label.forces * force,
        molecule=molecule,
        evaluations=0,
        results={},
        template=molecules[molecule],
    )
    for name, value in (("energy", label.energy), ("forces", label.forces),
                        ("positions", label.positions)):  # fmt: skip
        if value is not None and not np.isfinite(value).all():
            raise ValueError(f"{where} has {name} that are not finite numbers")
    return label
