"""Cutting trajectories and logs back to where they were marked."""

import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read
from ase.io.trajectory import Trajectory

from kstep_integrators.ase.outputs import Marks, Outputs
from tests.conftest import hot


def frames(numbers):
    for number in numbers:
        atoms = hot()
        atoms.positions += number
        atoms.calc = SinglePointCalculator(atoms, energy=float(number), forces=atoms.positions)
        yield atoms


def append(path, numbers):
    for atoms in frames(numbers):  # opened anew for each, as ASE's dynamics do
        with Trajectory(path, "a") as trajectory:
            trajectory.write(atoms)


# The table of frames moves when it is full, at 1 and at 42.
@pytest.mark.parametrize("kept", [0, 1, 2, 41, 42, 43])
@pytest.mark.parametrize("surplus", [0, 1, 45])
def test_a_cut_trajectory_goes_on_byte_for_byte(kept, surplus, tmp_path):
    straight, path = tmp_path / "straight.traj", tmp_path / "md.traj"
    append(straight, range(90))
    append(path, range(kept))
    outputs = Outputs(path, None)
    mark = outputs.mark()
    before = path.read_bytes() if kept else b""
    append(path, range(100, 100 + surplus))
    if kept or surplus:
        with open(path, "ab") as handle:
            handle.write(b"half a frame")
    outputs.check(mark)
    outputs.cut(mark)
    assert outputs.mark() == mark
    if kept:
        assert [atoms.get_potential_energy() for atoms in read(path, ":")] == list(range(kept))
        assert path.stat().st_size == len(before)
    outputs.cut(mark)
    append(path, range(kept, 90))
    assert path.read_bytes() == straight.read_bytes()


def test_a_process_that_dies_while_it_cuts_leaves_a_sound_file(tmp_path, monkeypatch):
    path = tmp_path / "md.traj"
    append(path, range(42))
    outputs = Outputs(path, None)
    mark = outputs.mark()
    append(path, range(42, 50))

    def die(descriptor):
        raise KeyboardInterrupt

    # flush_to_disk, which marks, has a descriptor of its own
    monkeypatch.setattr("kstep_integrators.trajectory_marks.flush_to_disk", lambda path: None)
    monkeypatch.setattr("kstep_integrators.trajectory_marks.os.fsync", die)
    with pytest.raises(KeyboardInterrupt):
        outputs.cut(mark)
    monkeypatch.undo()
    assert len(read(path, ":")) == 42
    outputs.cut(mark)
    assert outputs.mark() == mark


def test_a_log_is_cut(tmp_path):
    path = tmp_path / "md.log"
    outputs = Outputs(None, path)
    empty = outputs.mark()
    path.write_text("line\n" * 2000)
    mark = outputs.mark()
    with open(path, "a") as log:
        log.write("more")
    outputs.cut(mark)
    assert path.read_text() == "line\n" * 2000
    outputs.cut(empty)
    assert path.read_text() == ""


def test_nothing_is_cut_if_either_file_is_wrong(tmp_path):
    outputs = Outputs(tmp_path / "md.traj", tmp_path / "md.log")
    append(outputs.trajectory, range(3))
    outputs.log.write_text("line\n")
    mark = outputs.mark()
    append(outputs.trajectory, range(3, 5))
    outputs.log.write_text("enil\n")
    with pytest.raises(ValueError, match=r"md.log is not the one"):
        outputs.cut(mark)
    assert len(read(outputs.trajectory, ":")) == 5


def test_no_outputs():
    outputs = Outputs(None, None)
    assert outputs.mark() == Marks(None, None)
    outputs.cut(outputs.mark())


def test_another_kind_of_file(tmp_path):
    path = tmp_path / "md.traj"
    for text in ("x", "- of Ulm" + "y" * 100):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"md.traj is not an ASE trajectory of format version"):
            Outputs(path, None).mark()
