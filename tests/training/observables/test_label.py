"""Folders of labels: parts, what is kept, what is left out, and reading them back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write

from kstep_integrators.cli import main
from kstep_training import reported_tasks
from kstep_training.observables.labels import label as module
from kstep_training.observables.labels.kinds import KINDS, LabelKind, find_kind
from kstep_training.observables.labels.label import label, run_label
from kstep_training.observables.labels.label_folder import read_labels
from kstep_training.observables.labels.parts import cut_trajectories
from kstep_training.observables.labels.settings import LabelSettings
from kstep_training.observables.labels.xanes_labels import XANESLabelSettings
from kstep_training.tasks import map_tasks
from kstep_training.trajectory import trajectory_of, write_npz
from tests.training.interrupts import interrupt, interruptible

SETTINGS = XANESLabelSettings(element="O", basis="sto-3g", window_eV=1.0, part_frames=2)


def water(stretch: float = 0.0) -> Atoms:
    return Atoms("OH2", [[0, 0, 0.12], [0, 0.76 + stretch, -0.47], [0, -0.76, -0.47]])


@pytest.fixture
def trajectory(tmp_path: Path) -> Path:
    path = tmp_path / "water.xyz"
    write(path, [water(0.01 * i) for i in range(3)])
    return path


def here(
    function: Callable[[Any], Any], jobs: Sequence[Any], *workers: object
) -> Iterator[tuple[Any, Any]]:
    """As ``map_tasks``, in this process."""
    del workers
    for job in jobs:
        try:
            yield job, function(job)
        except Exception as error:  # noqa: BLE001  (a result, as there)
            yield job, error


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reported_tasks, "map_tasks", here)


def labelled(path: Path, folder: Path, settings: LabelSettings = SETTINGS) -> dict[str, Any]:
    total, reports = label("xanes", [path], folder, settings)
    found = dict(reports)
    assert len(found) == total
    return found


def test_parts_have_the_frames_that_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "run7" / "run.xyz"
    path.parent.mkdir()
    write(path, [water(0.001 * i) for i in range(20)])
    settings = LabelSettings(first=1, stride=4, frames=4, part_frames=3, interval_fs=2.0)
    first, second = cut_trajectories([path], settings)
    assert (first.name, second.name, second.trajectory) == ("run7.0", "run7.1", "run7")
    assert first.places.tolist() == [1, 5, 9]
    assert second.places.tolist() == [13]
    assert second.time_fs.tolist() == [26.0]
    assert second.reference.positions[1, 1] == pytest.approx(0.761, abs=1e-9)
    assert first.digest != second.digest
    assert np.isnan(cut_trajectories([path], LabelSettings())[0].time_fs).all()


def test_shards_of_simulate_are_trajectories_too(tmp_path: Path) -> None:
    path = tmp_path / "water.300K.0.npz"
    write_npz(path, trajectory_of([water(), water(0.1)], np.array([0.0, 1.0]), 300.0))
    (part,) = cut_trajectories([path], LabelSettings())
    assert part.name == "water.300K.0.0"
    assert part.time_fs.tolist() == pytest.approx([0.0, 10.180505671], abs=1e-6)
    assert part.frames[1].positions[1, 1] == pytest.approx(0.86, abs=1e-12)
    with pytest.raises(ValueError, match=r"interval_fs is 2\.0, but .* says the time of its fra"):
        cut_trajectories([path], LabelSettings(interval_fs=2.0))


def test_trajectories_that_cannot_be_cut_are_refused(trajectory: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no trajectory"):
        cut_trajectories([tmp_path / "none.xyz"], LabelSettings())
    with pytest.raises(ValueError, match="has 3 frames, and first is 3; nothing to label"):
        cut_trajectories([trajectory], LabelSettings(first=3))
    other = tmp_path / "other" / "water.xyz"
    other.parent.mkdir()
    write(other, [water(), Atoms("HOH", water().positions)])
    with pytest.raises(ValueError, match=r"frame 1 of .* has other atoms than frame 0"):
        cut_trajectories([other], LabelSettings())
    with pytest.raises(ValueError, match="are both called 'water' in a folder of labels"):
        cut_trajectories([trajectory, trajectory], LabelSettings())


def test_frames_of_another_charge_are_refused(tmp_path: Path) -> None:
    path, frames = tmp_path / "water.xyz", [water(0.01 * i) for i in range(3)]
    frames[1].info["charge"] = -2
    write(path, frames)
    with pytest.raises(ValueError, match=r"frame 1 of .* has charge -2, and .* with charge 0"):
        cut_trajectories([path], SETTINGS)
    with pytest.raises(ValueError, match=r"frame 1 of .* has charge -2"):
        cut_trajectories([path], LabelSettings())
    frames[1].info = {"charge": 0, "multiplicity": 3}
    write(path, frames)
    with pytest.raises(ValueError, match=r"frame 1 of .* has multiplicity 3, .* multiplicity 1;"):
        cut_trajectories([path], SETTINGS)
    frames[1].info = {"charge": 0}
    write(path, frames)
    (part, _) = cut_trajectories([path], SETTINGS)
    assert part.frames[1].info == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"first": -1}, "first is -1, expected a whole number from 0"),
        ({"stride": 0}, "stride is 0, expected at least 1"),
        ({"frames": 0}, "frames is 0, expected at least 1"),
        ({"part_frames": 0}, "part_frames is 0, expected at least 1"),
        ({"interval_fs": 0.0}, r"interval_fs is 0\.0, expected a positive number"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelSettings(**changes)


def test_finished_parts_are_kept_and_missing_ones_made(
    trajectory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "labels"
    first = labelled(trajectory, folder)
    assert {n: (r["status"], r["frames"]) for n, r in first.items()} == {
        "water.0": ("done", 2),
        "water.1": ("done", 1),
    }
    whole, stamp = read_labels(folder), (folder / "parts/water.0.npz").stat().st_mtime_ns
    assert whole.settings["basis"] == "sto-3g"
    assert [part["frame"].tolist() for part in whole.parts] == [[0, 1], [2]]
    assert {str(part["kind"]) for part in whole.parts} == {"H2O"}

    (folder / "parts/water.1.npz").unlink()
    (folder / "parts/water.1.npz.partial").write_bytes(b"half")
    assert labelled(trajectory, folder) == first
    again = read_labels(folder)
    assert (folder / "parts/water.0.npz").stat().st_mtime_ns == stamp
    assert again.parts[1]["excitations"].tolist() == whole.parts[1]["excitations"].tolist()
    assert not list(folder.rglob("*.partial"))

    # A trajectory that has grown: its last part has more frames than it had.
    write(trajectory, [water(0.01 * i) for i in range(4)])
    assert labelled(trajectory, folder)["water.1"]["frames"] == 2
    assert (folder / "parts/water.0.npz").stat().st_mtime_ns == stamp

    monkeypatch.setattr(
        reported_tasks, "map_tasks", lambda _, jobs, *__: iter([]) if not jobs else 1 / 0
    )
    assert len(labelled(trajectory, folder)) == 2


def test_another_setting_is_another_folder(trajectory: Path, tmp_path: Path) -> None:
    labelled(trajectory, tmp_path / "labels")
    other = XANESLabelSettings(element="O", basis="6-31g", window_eV=1.0, part_frames=2)
    with pytest.raises(ValueError, match=r"label\.basis was 'sto-3g', now '6-31g'"):
        label("xanes", [trajectory], tmp_path / "labels", other)


def test_another_trajectory_of_the_same_name_is_refused(trajectory: Path, tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    labelled(trajectory, folder)
    before = read_labels(folder)
    message = r"water\.0\.npz has labels of other frames than those of 'water' now"
    for frames in ([water(0.2)], [Atoms("HOH", water().positions)]):
        write(trajectory, frames)
        with pytest.raises(ValueError, match=message):
            label("xanes", [trajectory], folder, SETTINGS)
    assert read_labels(folder).digest == before.digest


def test_two_runs_in_one_folder_lose_nothing_of_each_other(tmp_path: Path) -> None:
    folder, runs = tmp_path / "labels", []
    for name in ("one", "other"):
        write(tmp_path / f"{name}.xyz", [water(0.01 * i) for i in range(3)])
        runs.append(label("xanes", [tmp_path / f"{name}.xyz"], folder, SETTINGS)[1])
    for _ in range(2):  # part by part in turns
        for reports in runs:
            assert next(reports)[1]["status"] == "done"
    assert [str(part["trajectory"]) for part in read_labels(folder).parts] == [
        "one", "one", "other", "other",
    ]  # fmt: skip


def test_labels_of_an_earlier_version_are_not_added_to(trajectory: Path, tmp_path: Path) -> None:
    folder, first = tmp_path / "labels", tmp_path / "labels/parts/water.0.npz"
    labelled(trajectory, folder)
    with np.load(first) as file:
        old = {name: file[name] for name in file.files if name != "shares"}
    np.savez(first, **old)
    assert len(labelled(trajectory, folder)) == 2  # there is nothing to add
    write(trajectory, [water(0.01 * i) for i in range(4)])
    with pytest.raises(ValueError, match=r"water\.0\.npz has no shares: an earlier version"):
        label("xanes", [trajectory], folder, SETTINGS)


def test_frames_that_fail_are_left_out_and_named(
    trajectory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def some(
        frames: Sequence[Atoms], settings: Any, reference: Atoms
    ) -> tuple[dict[str, Any], dict[int, str]]:
        arrays, _ = KINDS["xanes"].function(frames[:1], settings, reference)
        return arrays, dict.fromkeys(range(1, len(frames)), "too odd")

    def none(
        frames: Sequence[Atoms], settings: Any, reference: Atoms
    ) -> tuple[dict[str, Any], dict[int, str]]:
        return {}, dict.fromkeys(range(len(frames)), "too odd")

    for function in (some, none):
        monkeypatch.setattr(
            module, "find_kind", lambda _, f=function: FakeKind("", "", "", function=f)
        )
        reports = labelled(trajectory, tmp_path / function.__name__)
        if function is some:
            assert reports["water.0"]["left_out"] == {"1": "too odd"}
            assert read_labels(tmp_path / "some").parts[0]["positions"].shape == (1, 3, 3)
        else:
            assert [r["status"] for r in reports.values()] == ["failed", "failed"]
            assert reports["water.1"]["reason"] == "too odd"
            with pytest.raises(ValueError, match="has no part that is done; run kstep label xan"):
                read_labels(tmp_path / "none")


class FakeKind(LabelKind):
    def __init__(self, *names: str, function: Any) -> None:
        super().__init__(*names)
        object.__setattr__(self, "_function", function)

    @property
    def settings(self) -> type[LabelSettings]:
        return XANESLabelSettings

    @property
    def function(self) -> Any:
        return self._function  # type: ignore[attr-defined]


def test_a_part_that_cannot_be_labelled_fails_and_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "hydroxyl.xyz"
    write(path, Atoms("OH", [[0, 0, 0], [0, 0, 0.97]]))
    for _ in range(2):
        (report,) = labelled(path, tmp_path / "labels").values()
        assert report["reason"].startswith("ValueError: HO of charge 0 has 9 electrons")


def test_what_is_no_request_is_refused(trajectory: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"kind 'colours' are unknown, expected one of \['coup"):
        find_kind("colours")
    with pytest.raises(TypeError, match="settings of xanes are a LabelSettings, expected XANESL"):
        label("xanes", [trajectory], tmp_path, LabelSettings())
    with pytest.raises(ValueError, match="no trajectories are given; name files that ASE reads"):
        label("xanes", [], tmp_path, SETTINGS)


def test_problems_are_on_the_console(
    trajectory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_label("xanes", [trajectory], ["element=O", "basis=sto-3g"], tmp_path / "out", 1)
    screen = " ".join(capsys.readouterr().out.split())
    assert "water.0: 3 of 3 frames of H2O have no excitation 25 eV above their first" in screen
    assert "3 frames labelled in" in screen
    assert "1 parts done, 0 failed" in screen


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"hole": None}, "has no array 'hole', which labels of xanes have"),
        ({"strengths": np.full((2, 2), np.nan)}, "'strengths' in .* has numbers that are not fin"),
        ({"strengths": np.zeros((2, 3))}, r"'strengths' in .* has the shape \(2, 3\), expected \("),
        ({"frame": np.zeros(2)}, "'frame' in .* has the type float64, expected int"),
        ({"frame": np.array([None, None])}, "is no file of plain arrays"),
    ],
)
def test_damaged_labels_are_refused(
    damage: dict[str, Any], message: str, trajectory: Path, tmp_path: Path
) -> None:
    labelled(trajectory, tmp_path / "labels")
    path = tmp_path / "labels/parts/water.0.npz"
    with np.load(path) as file:
        arrays = {**file, **damage}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match=message):
        read_labels(tmp_path / "labels")


def test_what_is_no_folder_of_labels_is_refused(trajectory: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no manifest\.json in"):
        read_labels(tmp_path)
    labelled(trajectory, tmp_path / "labels")
    (tmp_path / "labels/parts/water.0.npz").write_bytes(b"PK nonsense")
    with pytest.raises(ValueError, match="is no file of plain arrays"):
        read_labels(tmp_path / "labels")
    (tmp_path / "labels/parts/water.0.npz").unlink()
    with pytest.raises(FileNotFoundError):
        read_labels(tmp_path / "labels")
    (tmp_path / "manifest.json").write_text(json.dumps({"settings": {}, "molecules": {}}))
    with pytest.raises(ValueError, match="holds no labels but something else"):
        read_labels(tmp_path)


def test_workers_label_and_the_command_resumes(
    trajectory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reported_tasks, "map_tasks", map_tasks)
    words = [
        "label", "xanes", str(trajectory), "element=O", "basis=sto-3g", "window_eV=1",
        "--workers", "1", "--output", str(tmp_path / "labels"),
    ]  # fmt: skip
    assert main(words) == 0
    (part,) = read_labels(tmp_path / "labels").parts
    assert part["excitations"].shape[0] == 3
    np.testing.assert_allclose(
        part["positions"], [atoms.positions for atoms in read(trajectory, ":")], atol=1e-12
    )
    monkeypatch.setattr(
        reported_tasks, "map_tasks", lambda _, jobs, *__: iter([]) if not jobs else 1 / 0
    )
    assert main(words) == 0


def test_ctrl_c_ends_with_one_line(trajectory: Path, tmp_path: Path) -> None:
    frames = [water(0.0001 * i) for i in range(400)]
    write(trajectory, frames)
    folder = tmp_path / "labels"
    words = ["label", "xanes", str(trajectory), "element=O", "basis=6-31g", "window_eV=1"]
    with interruptible(*words, "part_frames=1", "--workers", "1", "--output", str(folder)) as run:
        while run.poll() is None and not list(folder.glob("parts/*.npz")):
            pass
        interrupt(run)
    done = len(list(folder.glob("parts/*.npz")))
    assert 0 < done < 400
    manifest = json.loads((folder / "manifest.json").read_text())
    assert 0 <= done - len(manifest["parts"]) <= 2
    shutil.rmtree(folder)
