"""``dataset.json`` and the shards beside it: what they hold, and whether they are intact.

Opening reads ``dataset.json`` and looks at the sizes of the shards; their content is read when it
is asked for. A shard is one ``.npy`` file, the labelled frames of one trajectory as rows of
:func:`kstep_training.dataset.segments.row_type`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kstep_training.keys import current_names

__all__ = [
    "FORMAT",
    "READ",
    "DatasetFile",
    "Molecule",
    "Shard",
    "file_hash",
    "open_dataset",
    "verify",
]

FORMAT = 2
"""Written by this version; 1 had no cells."""
READ = (1, FORMAT)


@dataclass(frozen=True)
class Molecule:
    """One molecule of a dataset, or what a periodic cell holds.

    Attributes
    ----------
    name : str
    numbers : tuple of int
    masses : tuple of float, u
    smiles : str or None
    charge : int
    coordinates : dict
        For ``bonds``, ``angles`` and ``dihedrals``: ``indices``, ``mean`` and ``std`` (angstrom,
        radians) over its frames in the training part, or over all where there are none; distorted
        frames do not count.
    multiplicity : int
    pbc : (bool, bool, bool)
        Periodic directions; the cells are those of the frames. There are no internal coordinates in
        a cell.
    """

    name: str
    numbers: tuple[int, ...]
    masses: tuple[float, ...]
    smiles: str | None
    charge: int
    coordinates: dict[str, dict[str, Any]]
    multiplicity: int = 1
    pbc: tuple[bool, bool, bool] = (False, False, False)

    @property
    def in_cell(self) -> bool:
        """True if a direction is periodic."""
        return any(self.pbc)


@dataclass(frozen=True)
class Shard:
    """The labelled frames of one trajectory.

    Attributes
    ----------
    name : str
        Of the trajectory; the file is ``shards/NAME.npy``.
    molecule : str
    part : str
        ``"train"``, ``"validation"`` or ``"test"``.
    frames : int
    segments : tuple of (int, int)
        First frame and end of each.
    bytes : int
    sha256 : str
    """

    name: str
    molecule: str
    part: str
    frames: int
    segments: tuple[tuple[int, int], ...]
    bytes: int
    sha256: str


@dataclass(frozen=True)
class DatasetFile:
    """A dataset on disk.

    Attributes
    ----------
    folder : Path
    settings : dict
        Those it was made with: ``k``, ``every``, ``twins`` and how it was split.
    method : str
        Of the labels.
    timestep_fs : float or None
        Base step: from frame to frame. None if no trajectory can have windows.
    constraints : str or None
        ``"HBonds"`` where bonds with hydrogen are rigid.
    molecules : tuple of Molecule
        Sorted by name.
    shards : tuple of Shard
        Sorted by name.
    statistics : dict
        Of the training part, see
        :func:`kstep_training.dataset.statistics.dataset_statistics`.
    content_hash : str
        SHA-256 of all that the dataset means: settings, parts, and the hashes of the shards.
    """

    folder: Path
    settings: dict[str, Any]
    method: str
    timestep_fs: float | None
    constraints: str | None
    molecules: tuple[Molecule, ...]
    shards: tuple[Shard, ...]
    statistics: dict[str, Any]
    content_hash: str

    @property
    def elements(self) -> list[int]:
        """Atomic numbers of the training part, sorted; no other part has more."""
        return [int(z) for z in self.statistics["elements"]]

    def molecule(self, name: str) -> Molecule:
        """The molecule of that name.

        Raises
        ------
        KeyError
            If there is none.
        """
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Molecule]:
        return {molecule.name: molecule for molecule in self.molecules}

    @property
    def cells(self) -> list[str]:
        """Names of the molecules that are in periodic cells."""
        return [molecule.name for molecule in self.molecules if molecule.in_cell]

    def path(self, shard: Shard) -> Path:
        """The file of a shard."""
        return self.folder / "shards" / f"{shard.name}.npy"

    def scales(self, baseline: str, lengths: Sequence[int]) -> list[list[list[float]]]:
        """Root mean squares of dx and dv for each k and element, in the order of elements.

        Parameters
        ----------
        baseline : str
        lengths : sequence of int
            Base steps, k, of the windows.

        Raises
        ------
        ValueError
            If the training part has no window of a length for every element.
        """
        known = self.statistics["increments"][baseline]
        for k in lengths:
            scales = known.get(str(k), {})
            missing = [z for z in self.elements if min(scales.get(str(z), [0.0])) <= 0.0]
            if missing:
                raise ValueError(
                    f"{self.folder} has no training windows of {k} base steps that move the "
                    f"elements {missing}; its k is {self.settings['k']} and its segments may be "
                    "shorter"
                )
        return [[known[str(k)][str(z)] for z in self.elements] for k in lengths]


def open_dataset(folder: str | Path) -> DatasetFile:
    """Open a dataset that ``kstep dataset`` has made.

    Raises
    ------
    FileNotFoundError
        If there is none, or a shard is missing.
    ValueError
        If it is unfinished or of another format, or a shard has another size than on record.
    """
    folder = Path(folder)
    path = folder / "dataset.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"no dataset.json in {folder}; name a folder made by kstep dataset, or by kstep label"
        )
    content = json.loads(path.read_text())
    if content.get("format") not in READ:
        raise ValueError(
            f"{path} has format {content.get('format')!r}; this version reads "
            f"{' and '.join(map(str, READ))}"
        )
    if "shards" not in content:
        raise ValueError(f"{folder} is unfinished; run kstep dataset again with the same folder")
    dataset = DatasetFile(
        folder=folder,
        settings=current_names(content["settings"]),
        method=content["method"],
        timestep_fs=content["timestep_fs"],
        constraints=content["constraints"],
        molecules=tuple(
            Molecule(**m | {key: tuple(m[key]) for key in ("numbers", "masses", "pbc") if key in m})
            for m in content["molecules"]
        ),
        shards=tuple(
            Shard(**{**s, "segments": tuple((a, b) for a, b in s["segments"])})
            for s in content["shards"]
        ),
        statistics=content["statistics"],
        content_hash=content["content_hash"],
    )
    for shard in dataset.shards:
        size = dataset.path(shard).stat().st_size
        if size != shard.bytes:
            raise ValueError(
                f"{dataset.path(shard)} has {size} bytes, but dataset.json says {shard.bytes}; "
                "remove it and run kstep dataset again"
            )
    return dataset


def verify(dataset: DatasetFile) -> None:
    """Compare the content of every shard with its hash.

    Raises
    ------
    ValueError
        If one differs.
    """
    for shard in dataset.shards:
        digest = file_hash(dataset.path(shard))
        if digest != shard.sha256:
            raise ValueError(
                f"{dataset.path(shard)} has the SHA-256 {digest}, but dataset.json says "
                f"{shard.sha256}; remove it and run kstep dataset again"
            )


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
