"""An observable written down while a run goes on: an observer for ``dyn.attach``."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kstep_integrators.arguments import path_of
from kstep_integrators.notices import KStepWarning
from kstep_integrators.observables.observable import Observable
from kstep_integrators.units import PS

if TYPE_CHECKING:
    from ase import Atoms
    from ase.md.md import MolecularDynamics

__all__ = ["ObservableRecorder", "read_record"]

Array = npt.NDArray[np.float64]

HEAD = 3
"""Lines before the first value: observable, first structure, names of the columns."""


class ObservableRecorder:
    """Values of an observable along a run, a line of a CSV file each, written as they come.

    Columns are the step, the time in ps, and what :meth:`Observable.measure` returns, spectra with
    one column for each energy of the grid. A run that is resumed goes on in the same file: lines of
    steps that are made again are cut off.

    Parameters
    ----------
    observable : Observable
    dyn : ase.md.md.MolecularDynamics
        Such as :class:`~kstep_integrators.KStepDynamics`; the structures are its atoms.
    file : str or Path
        Begun anew for a run at its step 0; the phases of couplings are those of the first structure
        that this recorder sees.

    Raises
    ------
    ValueError
        If the run has been resumed and the file is not of this observable, or the atoms are none
        that it was made for.

    Examples
    --------
    >>> recorder = ObservableRecorder(observable, dyn, "couplings.csv")  # doctest: +SKIP
    >>> dyn.attach(recorder, interval=10)  # doctest: +SKIP
    """

    def __init__(self, observable: Observable, dyn: MolecularDynamics, file: str | Path) -> None:
        self.observable = observable
        self.dyn = dyn
        self.file = path_of("file", file)
        observable.check(dyn.atoms)
        self._title = f"# {observable.kind} by {observable.header.name} {observable.digest}"
        self._last, positions = _cut(self.file, self._title, dyn.nsteps)
        self._reference: Atoms | None = None
        if positions is not None:
            self._reference = dyn.atoms.copy()
            self._reference.positions = positions

    def __call__(self) -> None:
        """Write the value of the structure as it is now, unless its step is there already.

        Raises
        ------
        ValueError
            For a structure that the observable cannot be applied to.
        OSError
            If the file cannot be written.
        """
        step, atoms = int(self.dyn.nsteps), self.dyn.atoms
        if self._last is not None and step <= self._last:
            return
        if self._reference is None:
            self._reference = atoms.copy()
        values = self.observable.measure([atoms], self._reference)
        row = {name: np.atleast_1d(value[0]) for name, value in values.items()}
        with open(self.file, "a", encoding="utf-8") as handle:
            if handle.tell() == 0:
                names = [
                    name if len(value) == 1 else f"{name}_{number}"
                    for name, value in row.items()
                    for number in range(len(value))
                ]
                first = json.dumps(self._reference.positions.tolist())
                handle.write(f"{self._title}\n# first structure, angstrom: {first}\n")
                handle.write(",".join(["step", "time_ps", *names]) + "\n")
            numbers = [float(x) for value in row.values() for x in value]
            time = float(self.dyn.get_time()) / PS
            handle.write(",".join([str(step), repr(time), *map(repr, numbers)]) + "\n")
        self._last = step


def read_record(file: str | Path) -> dict[str, Array]:
    """Columns of a file of an :class:`ObservableRecorder`.

    Parameters
    ----------
    file : str or Path

    Returns
    -------
    dict of str to (F,) array
        ``step``, ``time_ps`` and the values.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    ValueError
        If it is no such file.
    """
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    if len(lines) < HEAD or not lines[0].startswith("# "):
        raise ValueError(f"{file} has no line of titles; expected a file of ObservableRecorder")
    names = lines[HEAD - 1].split(",")
    rows = [line.split(",") for line in lines[HEAD:]]
    if rows and len(rows[-1]) < len(names):
        del rows[-1]  # of a process that was killed while it wrote
    table = np.array(rows, dtype=np.float64).reshape(len(rows), len(names))
    return dict(zip(names, table.T, strict=True))


def _cut(file: Path, title: str, step: int) -> tuple[int | None, Array | None]:
    """Cut off lines after a step.

    Returns
    -------
    last : int or None
        Step of the last line that is left.
    first : (N, 3) array or None
        Positions of the structure that the file begins with, angstrom. None for a file begun anew.
    """
    if not file.exists() or file.stat().st_size == 0:
        return None, None
    lines = file.read_bytes().splitlines(keepends=True)
    if step == 0:
        warnings.warn(
            f"{file} is begun anew, with its {max(0, len(lines) - HEAD)} lines: the run is at its "
            "step 0. Give another name to keep what is there",
            KStepWarning,
            stacklevel=3,
        )
        os.truncate(file, 0)
        return None, None
    begun = b"".join(lines)
    if begun.count(b"\n") < HEAD and (
        f"{title}\n".encode().startswith(begun) or begun.startswith(f"{title}\n".encode())
    ):  # of a process that was killed while it wrote the first lines
        os.truncate(file, 0)
        return None, None
    if len(lines) < HEAD or lines[0].decode(errors="replace").rstrip("\n") != title:
        raise ValueError(
            f"{file} begins with {lines[0][:80]!r}, expected {title[:80]!r}: it is of another "
            "observable; give another name"
        )
    size, last = sum(map(len, lines[:HEAD])), None
    for line in lines[HEAD:]:
        number = line.split(b",")[0]
        if not line.endswith(b"\n") or not number.isdigit() or int(number) > step:
            break
        size, last = size + len(line), int(number)
    os.truncate(file, size)
    return last, np.array(json.loads(lines[1].partition(b":")[2]), dtype=np.float64)
