"""The stage ``dataset``: trajectories become a dataset that fits read lazily.

Every trajectory becomes one shard, which is not made again unless its files change. Run again with
more trajectories, the dataset grows; what is in it already stays, in the part it was in.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from kstep_integrators.files import write_text_atomically
from kstep_training.dataset.dataset_file import FORMAT, READ, DatasetFile, open_dataset, verify
from kstep_training.dataset.internal_coordinates import KINDS, equilibrium
from kstep_training.dataset.shards import read_record, same_identity, source_stamps, write_shard
from kstep_training.dataset.split import PARTS, split
from kstep_training.dataset.statistics import dataset_statistics, window_starts
from kstep_training.dataset.windows import NO_JUMPS_IN_CELLS
from kstep_training.keys import current_names, setting
from kstep_training.manifest import differences
from kstep_training.options import override
from kstep_training.progress import followed

__all__ = ["DatasetSettings", "find_trajectories", "make_dataset", "run_dataset"]

OF_SHARDS = ("k", "every", "twins")
"""Settings that the records of shards depend on."""
OF_MOLECULES = ("numbers", "masses", "smiles", "charge", "multiplicity", "pbc")
"""Fields that the trajectories of one molecule have in common."""


@dataclass(frozen=True)
class DatasetSettings:
    """Windows, frames and parts that trajectories become.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    k: list[int] = setting(
        [4, 8, 12],
        "base steps of a window; a base step is the time from frame to frame",
    )
    every: int = setting(1, "frames between the starts of two windows")
    split: str = setting("molecule", "molecule or trajectory: what is in one part as a whole")
    validation_fraction: float = setting(
        0.1,
        "share of the molecules (or trajectories) that validate, on average: each is drawn by the "
        "hash of its name",
    )
    test_fraction: float = setting(0.1, "share of them in the test part")
    validation: list[str] = setting(
        [], "names of the molecules that validate; a part with a list gets these and no others"
    )
    test: list[str] = setting([], "names of the molecules of the test part")
    twins: bool = setting(False, "whether every window is also learned backwards in time")
    seed: int = setting(0, "seed of the split")

    def __post_init__(self) -> None:
        if not self.k or min(self.k) < 1 or len(set(self.k)) < len(self.k):
            raise ValueError(f"k is {self.k}, expected different whole numbers of at least 1")
        if self.every < 1:
            raise ValueError(f"every is {self.every}, expected at least 1")
        if self.split not in ("molecule", "trajectory"):
            raise ValueError(f"split is {self.split!r}, expected 'molecule' or 'trajectory'")
        fractions = self.validation_fraction, self.test_fraction
        if min(fractions) < 0.0 or not sum(fractions) < 1.0:
            raise ValueError(
                f"validation_fraction and test_fraction are {fractions}, expected at least 0 and "
                "together less than 1"
            )


def find_trajectories(folders: Sequence[str | Path]) -> dict[str, list[Path]]:
    """The files of each trajectory in folders made by ``kstep simulate``, or of plain NPZ files.

    Of the former, ``production/`` and ``distorted/`` count. Segments of one trajectory
    (``NAME.300K.0.1.npz``) belong together, also when they come from several folders.

    Raises
    ------
    FileNotFoundError
        If a folder has no trajectory.
    """
    trajectories: dict[str, list[Path]] = {}
    for folder in map(Path, folders):
        parts = [folder / part for part in ("production", "distorted")]
        paths = sorted(path for part in parts for path in part.glob("*.npz"))
        paths = paths or sorted(folder.glob("*.npz"))
        if not paths:
            raise FileNotFoundError(
                f"no trajectories (production/*.npz or *.npz) in {folder}; run kstep simulate first"
            )
        for path in paths:
            match = re.match(r"(.+\.\d+(?:\.\d+)?K\.\d+)(?:\.|$)", path.stem)
            files = trajectories.setdefault(match[1] if match else path.stem, [])
            if path.resolve() not in files:
                files.append(path.resolve())
    return trajectories


def make_dataset(
    trajectories: Sequence[str | Path],
    folder: str | Path,
    settings: DatasetSettings,
    progress: bool = False,
) -> DatasetFile:
    """Make or extend a dataset.

    Parameters
    ----------
    trajectories : sequence of path
        See :func:`find_trajectories`.
    folder : path
        Finished shards in it are kept, if they were made with the same settings.
    settings : DatasetSettings
    progress : bool
        Whether to draw a bar.

    Raises
    ------
    FileNotFoundError
        If there is no trajectory.
    ValueError
        If the folder holds a dataset made with other settings, trajectories disagree, none is
        left for training, or another part has elements that the training part does not.
    """
    folder = Path(folder)
    sources = find_trajectories(trajectories)
    described = json.loads(json.dumps(asdict(settings)))
    content = _begin(folder, described)
    kept = {shard["name"] for shard in content.get("shards", [])}
    records = {}
    for name in sorted({*kept, *sources}):
        record = read_record(folder / "shards", name)
        if record is not None:
            records[name] = record
    coordinates = {r["molecule"]: r["coordinates"] for r in records.values()}
    windows = settings.k, settings.every, settings.twins
    for name in followed(sorted(sources), "trajectories", len(sources), shown=progress):
        old = records.get(name)
        before = [Path(path) for path, _, _ in old["sources"]] if old else []
        files = sorted({*before, *sources[name]})
        if old is None or old["sources"] != source_stamps(files):
            records[name] = write_shard(folder / "shards", name, files, windows, coordinates)
            coordinates.setdefault(records[name]["molecule"], records[name]["coordinates"])
    _write(folder, described, _assemble([records[name] for name in sorted(records)], settings))
    return open_dataset(folder)


def _begin(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The content of dataset.json; before the first trajectory that is the settings only."""
    path = folder / "dataset.json"
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    # The split of a dataset that is unfinished may still be changed: no shard depends on it.
    fixed = settings if "shards" in content else {key: settings[key] for key in OF_SHARDS}
    if content:
        written = content["format"]
        kept = {"format": FORMAT if written in READ else written} | {
            k: current_names(content["settings"]).get(k) for k in fixed
        }
        if changes := differences(kept, {"format": FORMAT, **fixed}):
            raise ValueError(
                f"{folder} holds a dataset made with other settings: {'; '.join(changes)}. Choose "
                "another folder or go back to those settings"
            )
    if "shards" not in content:
        (folder / "shards").mkdir(parents=True, exist_ok=True)
        _write(folder, settings, {})
    return content


def _write(folder: Path, settings: dict[str, Any], content: dict[str, Any]) -> None:
    whole = {"format": FORMAT, "settings": settings, **content}
    write_text_atomically(folder / "dataset.json", json.dumps(whole))


def _assemble(records: Sequence[dict[str, Any]], settings: DatasetSettings) -> dict[str, Any]:
    timestep = _agreement(records)
    parts = split(
        {r["name"]: r["molecule"] for r in records},
        settings.split,
        (settings.validation_fraction, settings.test_fraction),
        (settings.validation, settings.test),
        settings.seed,
    )
    _check_same_molecule(records, parts, settings)
    molecules = _molecules(records, parts)
    training = [r for r in records if parts[r["name"]] == "train"]
    statistics = dataset_statistics(training, {m["name"]: m["numbers"] for m in molecules})
    _check_elements(records, parts, statistics["elements"])
    keys = ("name", "molecule", "frames", "segments", "bytes", "sha256")
    content = {
        "method": records[0]["method"],
        "timestep_fs": timestep,
        "constraints": records[0]["constraints"],
        "shards": [{"part": parts[r["name"]], **{k: r[k] for k in keys}} for r in records],
    }
    pbc = {m["name"]: m["pbc"] for m in molecules if any(m["pbc"])}
    described = [asdict(settings), content, *([pbc] if pbc else [])]
    identity = json.dumps(described, sort_keys=True).encode()
    return {
        "content_hash": hashlib.sha256(identity).hexdigest(),
        **content,
        "statistics": statistics,
        "molecules": molecules,
    }


def _agreement(records: Sequence[dict[str, Any]]) -> float | None:
    """Check that all records agree in what a dataset has one of; the base step, fs."""
    first: dict[str, dict[str, Any]] = {}
    timed = next((r for r in records if r["timestep_fs"] is not None), None)
    for record in records:
        where = f"trajectory {record['name']}"
        first.setdefault(record["molecule"], record)
        expected: list[tuple[dict[str, Any], tuple[str, ...]]] = [
            (records[0], ("method", "constraints")),
            (first[record["molecule"]], OF_MOLECULES),
        ]
        if timed is not None and record["timestep_fs"] is not None:
            expected.append((timed, ("timestep_fs",)))
        for other, keys in expected:
            values = {key: other[key] for key in keys}
            same_identity(where, record, f"trajectory {other['name']}", values)
    return None if timed is None else float(timed["timestep_fs"])


def _molecules(records: Sequence[dict[str, Any]], parts: Mapping[str, str]) -> list[dict[str, Any]]:
    made = []
    for name in sorted({r["molecule"] for r in records}):
        own = [r for r in records if r["molecule"] == name]
        thermal = [r for r in own if r["sums"]["thermal"]]
        training = [r for r in thermal if parts[r["name"]] == "train"] or thermal
        first = own[0]
        coordinates = {kind: {"indices": first["coordinates"][kind]} for kind in KINDS}
        if training:
            averages = equilibrium(
                [r["sums"]["moments"] for r in training],
                [r["sums"]["thermal"] for r in training],
            )
            coordinates = {kind: {**coordinates[kind], **averages[kind]} for kind in KINDS}
        described = {key: first[key] for key in OF_MOLECULES}
        made.append({"name": name, **described, "coordinates": coordinates})
    return made


def _check_same_molecule(
    records: Sequence[dict[str, Any]], parts: Mapping[str, str], settings: DatasetSettings
) -> None:
    """Two names of one molecule would let it be in two parts."""
    parts_of: dict[str, dict[str, set[str]]] = {}
    for record in records:
        if record["smiles"] is not None:
            names = parts_of.setdefault(record["smiles"], {})
            names.setdefault(record["molecule"], set()).add(parts[record["name"]])
    listed = {*settings.validation, *settings.test}
    for smiles, names in parts_of.items():
        whole = settings.split == "molecule" or listed & set(names)
        if whole and len(names) > 1 and len(set().union(*names.values())) > 1:
            raise ValueError(
                f"{sorted(names)} are one molecule ({smiles}), but would be in different parts; "
                "list all these names in validation= or test=, or leave all but one of them out"
            )


def _check_elements(
    records: Sequence[dict[str, Any]], parts: Mapping[str, str], elements: Sequence[int]
) -> None:
    for record in records:
        unknown = sorted(set(record["numbers"]) - set(elements))
        if unknown:
            raise ValueError(
                f"{record['molecule']} is in the {parts[record['name']]} part and has the atomic "
                f"numbers {unknown}, which no molecule of the training part has; list the "
                "molecules of validation= and test= so that it is not among them"
            )


def run_dataset(
    trajectories: Sequence[Path], overrides: Sequence[str], output: Path, check: bool = False
) -> DatasetFile:
    """Make or extend a dataset, with progress and a summary on the console.

    Parameters
    ----------
    trajectories : sequence of Path
        None to verify only.
    overrides : sequence of str
        ``key=value``, the fields of :class:`DatasetSettings`.
    output : Path
    check : bool
        Whether to compare every shard with its hash.

    Raises
    ------
    FileNotFoundError
        If there is no trajectory.
    ValueError
        If the settings, the trajectories or the folder cannot be used.
    """
    console = Console(highlight=False, soft_wrap=True)
    if trajectories:
        settings = override(DatasetSettings, overrides)
        dataset = make_dataset(trajectories, output, settings, progress=True)
    else:
        dataset = open_dataset(output)
    for part in PARTS:
        shards = [shard for shard in dataset.shards if shard.part == part]
        counts: Counter[int] = Counter()
        for shard in shards:
            for k in dataset.settings["k"]:
                every = dataset.settings["every"]
                counts[k] += sum(len(window_starts(run, k, every)) for run in shard.segments)
        console.print(
            f"{part}: {len({shard.molecule for shard in shards})} molecules, {len(shards)} "
            f"trajectories, {sum(shard.frames for shard in shards)} frames; windows: "
            + ", ".join(f"{count} of {k} steps" for k, count in counts.items())
        )
    if dataset.cells:
        cells = escape(", ".join(dataset.cells))
        console.print(f"No windows in periodic cells ({cells}): {NO_JUMPS_IN_CELLS}")
    if check:
        verify(dataset)
        console.print(f"{len(dataset.shards)} shards are intact")
    console.print(f"Dataset {escape(str(output))}: {dataset.content_hash}")
    return dataset
