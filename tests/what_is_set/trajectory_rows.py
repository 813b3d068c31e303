"""Fields of trajectory files, NPZ of schema version 1, and the metadata that something reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kstep_integrators.diagnostics.npz_schema import _KEYS, FIELDS
from kstep_training.dataset.make_dataset import DatasetSettings, make_dataset
from kstep_training.dataset.segments import labelled_frames
from kstep_training.dataset.shards import write_shard
from kstep_training.evaluate.frames import read_trajectory
from kstep_training.trajectory import Trajectory, read_npz, write_npz
from tests.training.trajectories import dynamics
from tests.what_is_set.table import HONOURED, NONE, Row, Section, no_such_moment, outcome_of

__all__ = ["SECTION", "missing"]

FRAMES, ATOMS = 8, 3
NONSENSE: dict[str, Any] = {"text": "nonsense", "object": {"a": 1}, "NaN": float("nan"), "no": -7}


def whole() -> Trajectory:
    """Springs, which leave nothing open."""
    return dynamics("H2O", FRAMES, trajectory=0, segment=0, multiplicity=1)


def write(path: Path, **changes: Any) -> Path:
    """A file with other arrays, or without those that are None; metadata are merged."""
    write_npz(path, whole())
    with np.load(path) as data:
        arrays = dict(data)
    if isinstance(changes.get("metadata"), dict):
        metadata = {**json.loads(str(arrays["metadata"])), **changes["metadata"]}
        changes["metadata"] = np.array(json.dumps(metadata))
    arrays = {name: array for name, array in {**arrays, **changes}.items() if array is not None}
    np.savez(path, **arrays)
    return path


def rows(path: Path) -> Any:
    return labelled_frames(read_npz(path), path).rows


def segments(path: Path) -> Any:
    return labelled_frames(read_npz(path), path).segments


def shard(path: Path) -> Any:
    return write_shard(path.parent, path.stem, [path], ([2], 1, False), {})


def dataset(path: Path, at: str) -> Any:
    """All that a dataset of this file says, but where the file was."""
    settings = DatasetSettings(k=[2], validation_fraction=0.0, test_fraction=0.0)
    make_dataset([path.parent], path.parent / at, settings)
    return (path.parent / at / "dataset.json").read_text()


def _moved(name: str) -> Any:
    return getattr(whole(), name) * (0.1 * 1.01)  # nm; other units differ by more


_TIME = np.arange(FRAMES) * 5e-4 + np.where(np.arange(FRAMES) < 4, 0.0, 1.0)
_SOME = np.arange(FRAMES) != 3
_BOX = np.diag([1.0, 2.0, 3.0])

CHANGES: dict[str, tuple[Any, Callable[[Path], Any]]] = {
    "positions": (_moved("positions"), lambda p: rows(p)["positions"].tolist()),
    "velocities": (_moved("velocities"), lambda p: rows(p)["velocities"].tolist()),
    "forces": (_moved("forces"), lambda p: rows(p)["forces"].tolist()),
    "energies": (whole().energies * 97.0, lambda p: rows(p)["energy"].tolist()),
    "temperature": (np.full(FRAMES, 310.0), lambda p: read_npz(p).temperature.tolist()),
    "atom_types": (np.array([7, 1, 1]), lambda p: shard(p)["numbers"]),
    "masses": (np.array([16.0, 2.0, 2.0]), lambda p: shard(p)["masses"]),
    "time": (_TIME, segments),
    "cell": (_BOX, lambda p: read_trajectory(p).cell.tolist()),
    "pbc": (np.ones(3, dtype=bool), lambda p: shard(p)["pbc"]),
    "has_label": (_SOME, lambda p: len(rows(p))),
    "metadata": ({"method": "GFN2-xTB"}, lambda p: shard(p)["method"]),
}
"""Another value of each array, and what depends on it."""

METADATA: dict[str, tuple[Any, Callable[[Path], Any]]] = {
    "method": ("GFN2-xTB", lambda p: shard(p)["method"]),
    "name": ("other", lambda p: shard(p)["molecule"]),
    "smiles": ("[2H]O", lambda p: shard(p)["smiles"]),
    "charge": (1, lambda p: shard(p)["charge"]),
    "multiplicity": (3, lambda p: shard(p)["multiplicity"]),
    "stage": ("equilibration", segments),
    "timestep_fs": (0.25, lambda p: outcome_of(lambda: segments(p), ("timestep_fs",))),
    "interval_steps": (3, lambda p: outcome_of(lambda: segments(p), ("interval_steps",))),
    "constraints": ("HBonds", lambda p: shard(p)["constraints"]),
    "trajectory": (1, lambda p: read_npz(p).metadata["trajectory"]),
    "segment": (1, lambda p: read_npz(p).metadata["segment"]),
    "settings": ({"production": "langevin"}, segments),
}
"""Another value of each key that the stages read, and what depends on it."""


@dataclass(frozen=True)
class FieldRow:
    """One array, or one key of the metadata."""

    name: str
    key: bool = False

    def row(self) -> Row:
        name = f"metadata: {self.name}" if self.key else self.name
        return Row(name, (self.set, self.refuse, self.between, no_such_moment, self.resumed))

    def change(self) -> tuple[dict[str, Any], Callable[[Path], Any]]:
        value, told = (METADATA if self.key else CHANGES)[self.name]
        if not self.key:
            more = {"cell": _BOX} if self.name == "pbc" else {}
            return {self.name: value, **more}, told
        return {"metadata": {self.name: value}}, told

    def set(self, folder: Path) -> str:
        changes, told = self.change()
        before = told(write(folder / "one.npz"))
        return HONOURED if told(write(folder / "one.npz", **changes)) != before else "ignored"

    def wrong(self) -> list[dict[str, Any]]:
        """Files that make no sense: other shapes and types, no numbers, and none at all."""
        if self.key:
            free = {"method": "object", "name": "object", "smiles": "object"}
            values = [v for k, v in NONSENSE.items() if k == free.get(self.name, k)]
            if self.name in ("constraints", "charge"):  # text, or a number below 0, is one
                values = [v for v in values if v not in ("nonsense", -7)]
            if self.name == "settings":
                values += [{"production": 3}, {"interval_steps": 0.5}]
                values.remove(NONSENSE["object"])
            return [{"metadata": {self.name: value}} for value in values]
        if self.name == "metadata":
            return [{"metadata": np.array(text)} for text in ("{", "[1]", "3")] + [
                {"metadata": np.array([1.0])}, {"metadata": None}]  # fmt: skip
        with_nan = np.array(CHANGES[self.name][0], dtype=float)
        with_nan.flat[0] = np.nan
        longer = np.concatenate([with_nan, with_nan])
        text = np.full(with_nan.shape, "a")
        return [{self.name: one} for one in (None, longer, with_nan[..., None], with_nan, text)]

    def refuse(self, folder: Path) -> str:
        outcomes = set()
        for changes in self.wrong():
            path = write(folder / "one.npz", **changes)
            # Positions say how many frames and atoms there are, so that others may be named.
            names = (*FIELDS,) if self.name == "positions" else (self.name,)
            outcomes.add(outcome_of(lambda: read_npz(path), names))  # noqa: B023
        return outcomes.pop() if len(outcomes) == 1 else f"{sorted(outcomes)}"

    def between(self, folder: Path) -> str:
        """A file that is another when the dataset is made again."""
        changes, _ = self.change()
        if self.name in ("timestep_fs", "interval_steps"):
            return NONE  # no dataset has these
        dataset(write(folder / "one.npz"), "first")
        path = write(folder / "one.npz", **changes)
        return HONOURED if dataset(path, "first") == dataset(path, "second") else "ignored"

    def resumed(self, folder: Path) -> str:
        changes, told = self.change()
        path = write(folder / "one.npz", **changes)
        before = told(path)
        write_npz(path, read_npz(path))
        return "kept" if np.array_equal(told(path), before) else "lost"


SECTION = Section(
    "Trajectory files",
    "NPZ of schema version 1. *set*: what reads the files depends on it; *changed between runs*: "
    "the file is another when `kstep dataset` runs again; *saved and resumed*: read and written.",
    [FieldRow(name).row() for name in CHANGES] + [FieldRow(key, True).row() for key in METADATA],
)


def missing() -> set[str]:
    """Arrays and keys that no row tries."""
    return ({*FIELDS} ^ {*CHANGES}) | ({*_KEYS} ^ {*METADATA})
