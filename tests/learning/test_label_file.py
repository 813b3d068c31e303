"""Labels on disk: bit for bit, whole after a kill at any moment, and served once."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import Trajectory, read, write

from kstep_integrators import KStepWarning
from kstep_integrators.learning.label_file import LabelFile
from kstep_integrators.learning.labels import Label, key_of, template_hash
from kstep_integrators.physics.identity import settings_of
from kstep_integrators.trajectory_marks import check_trajectory

PHYSICS = settings_of(LennardJones(sigma=1.1))


def charged() -> Atoms:
    """A molecule of which everything that a file has to keep is set."""
    atoms = molecule("CH3CH2OH")
    atoms.info.update(charge=-1, spin=2, name="ethoxide")
    atoms.set_initial_charges(np.linspace(-0.3, 0.4, 9))
    atoms.set_initial_magnetic_moments([1.0] + [0.0] * 8)
    atoms.set_tags(range(9))
    atoms.set_masses([2.014 if z == 1 else None for z in atoms.numbers])
    atoms.set_momenta(np.ones((9, 3)))
    return atoms


def label_of(atoms: Atoms, seed: int, forces: bool = True, **about: int) -> Label:
    rng = np.random.default_rng(seed)
    moved = atoms.copy()
    moved.positions += rng.normal(scale=0.1, size=moved.positions.shape)
    results = {"dipole": rng.normal(size=3), "charges": rng.normal(size=len(atoms)), "own": [1]}
    energy = rng.normal(loc=-4e3)
    there = rng.normal(size=moved.positions.shape) if forces else None
    return Label.of(moved, energy, there, results=results, **about)


def key(label: Label) -> bytes:
    assert label.template is not None
    hashed = template_hash(label.template)
    return key_of(label.molecule, hashed, label.positions, label.cell, label.pbc)


def assert_same(one: Label, other: Label) -> None:
    """To the last bit."""
    for name in ("numbers", "positions", "cell"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()
    assert (one.pbc, one.energy) == (other.pbc, other.energy)
    assert (one.forces is None) == (other.forces is None)
    assert one.forces is None or one.forces.tobytes() == other.forces.tobytes()
    assert (one.molecule, one.step) == (other.molecule, other.step)
    assert one.evaluations == other.evaluations
    assert one.results.keys() == other.results.keys()
    for name, value in one.results.items():
        assert np.array_equal(value, other.results[name])
    assert one.template is not None
    assert other.template is not None
    assert one.template.info == other.template.info
    assert template_hash(one.template) == template_hash(other.template)


def test_labels_come_back_bit_for_bit(tmp_path):
    crystal = bulk("Cu", cubic=True)
    written = [
        label_of(charged(), 0, molecule=0, step=0, evaluations=0),
        label_of(charged(), 1, forces=False, molecule=0, step=1),
        label_of(crystal, 2, molecule=1, step=1),
        label_of(charged(), 3, molecule=0, step=2),
    ]
    with LabelFile(tmp_path / "a.traj", PHYSICS) as labels:
        for label in written:
            labels.append(label)
        for one, other in zip(written, labels, strict=True):
            assert_same(one, other)
        assert_same(labels[-1], written[3])
        assert [label.step for label in labels[1:3]] == [1, 1]
        with pytest.raises(IndexError):
            labels[4]
    with LabelFile(tmp_path / "a.traj", PHYSICS) as labels:
        labels.append(written[0])
        assert len(labels) == 5
        assert_same(labels[3], written[3])


def test_the_file_is_an_ordinary_trajectory(tmp_path):
    label = label_of(charged(), 0, step=7)
    with LabelFile(tmp_path / "a.traj", PHYSICS) as labels:
        labels.append(label)
    frame = read(tmp_path / "a.traj")
    assert frame.get_potential_energy() == label.energy
    assert np.array_equal(frame.get_forces(), label.forces)
    assert not frame.has("momenta")
    assert frame.info["charge"] == -1
    assert frame.info["kstep_label"]["step"] == 7


def test_info_that_no_file_keeps_is_left_out_in_silence(tmp_path):
    atoms = charged()
    atoms.info["object"] = object()
    with LabelFile(tmp_path / "a.traj", PHYSICS) as labels:
        labels.append(label_of(atoms, 0))
        assert "object" not in labels[0].template.info


def test_another_physics_is_refused_with_both_values(tmp_path):
    with LabelFile(tmp_path / "a.traj", PHYSICS) as labels:
        labels.append(label_of(charged(), 0))
    before = (tmp_path / "a.traj").read_bytes()
    with pytest.raises(ValueError, match=r"sigma 1\.1, now 1\.2"):
        LabelFile(tmp_path / "a.traj", settings_of(LennardJones(sigma=1.2)))
    assert (tmp_path / "a.traj").read_bytes() == before


def test_a_file_that_says_no_physics_is_refused(tmp_path):
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=1.0)
    write(tmp_path / "a.traj", atoms)
    with pytest.raises(ValueError, match="does not say which physics"):
        LabelFile(tmp_path / "a.traj", PHYSICS)
    (tmp_path / "b.traj").write_text("no trajectory")
    with pytest.raises(ValueError, match="not an ASE trajectory"):
        LabelFile(tmp_path / "b.traj", PHYSICS)


def test_labels_after_a_checkpoint_are_served_once(tmp_path):
    with LabelFile(tmp_path / "a.traj", PHYSICS) as labels:
        written = [label_of(charged(), i, step=i, forces=i != 3) for i in range(4)]
        for label in written[:2]:
            labels.append(label)
        mark = labels.mark()
        for label in written[2:]:
            labels.append(label)
        assert labels.take(key(written[2]), True) is None  # the run has it
    check_trajectory(tmp_path / "a.traj", mark)
    with LabelFile(tmp_path / "a.traj", PHYSICS, known=mark.frames) as labels:
        assert (len(labels), labels.pending) == (4, 2)
        assert labels.has(key(written[1]), True)
        assert labels.take(key(written[1]), True) is None
        other = key_of(1, template_hash(charged()), written[2].positions, written[2].cell,
                       written[2].pbc)  # fmt: skip
        assert labels.take(other, True) is None
        neutral = charged()
        neutral.info["charge"] = 0
        other = key_of(0, template_hash(neutral), written[2].positions, written[2].cell,
                       written[2].pbc)  # fmt: skip
        assert labels.take(other, True) is None
        assert not labels.has(key(written[2]), True)
        found = labels.take(key(written[2]), True)
        assert_same(found, written[2])
        assert labels.has(key(written[2]), True)
        assert labels.take(key(written[2]), True) is None
        assert labels.take(key(written[3]), True) is None  # it has no forces
        assert_same(labels.take(key(written[3]), False), written[3])
        assert not labels.has(key(written[3]), True)
        assert labels.pending == 0


def test_fewer_labels_than_the_checkpoint_had_are_refused(tmp_path):
    with pytest.raises(ValueError, match="holds 0, the checkpoint was written after 3"):
        LabelFile(tmp_path / "a.traj", PHYSICS, known=3)


def test_labels_that_a_crash_has_left_unreadable_are_cut_off(tmp_path):
    path = tmp_path / "a.traj"
    with LabelFile(path, PHYSICS) as labels:
        for i in range(5):
            labels.append(label_of(charged(), i))
    with open(path, "r+b") as handle:
        handle.truncate(path.stat().st_size - 20)
    with pytest.warns(KStepWarning, match="last 1 of 5 labels"):
        labels = LabelFile(path, PHYSICS, known=3)
    with labels:
        assert (len(labels), labels.pending) == (4, 1)
        labels.append(label_of(charged(), 9))
        assert_same(labels[4], label_of(charged(), 9))
    with LabelFile(path, PHYSICS) as labels:
        assert len(labels) == 5
    with open(path, "r+b") as handle:
        handle.truncate(path.stat().st_size - 20)
    with pytest.raises(ValueError, match=r"frame 4 of .* cannot be read"):
        LabelFile(path, PHYSICS, known=5)


KILLED = """
import os, resource, shutil, signal, sys, warnings
sys.path.insert(0, sys.argv[2])
from test_label_file import PHYSICS, LabelFile, assert_same, charged, label_of
from pathlib import Path
warnings.simplefilter("ignore", DeprecationWarning)  # of forks
folder = Path(sys.argv[1])
for begun in (0, 1, 42):  # where ASE makes a new table of frames
    before, after, path = folder / "before", folder / "after", folder / "path"
    before.write_bytes(b"")
    with LabelFile(before, PHYSICS) as labels:
        for i in range(begun):
            labels.append(label_of(charged(), i))
    if not begun:
        before.write_bytes(b"")
    shutil.copy(before, after)
    with LabelFile(after, PHYSICS) as labels:
        labels.append(label_of(charged(), begun))
    first, last = before.stat().st_size, after.stat().st_size
    killed = 0
    sizes = [first + n * (last - first) // 7 for n in range(7)]
    for size in sizes:
        shutil.copy(before, path)
        child = os.fork()
        if not child:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            LabelFile(path, PHYSICS).append(label_of(charged(), begun))
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        killed += os.WIFSIGNALED(status)
        with LabelFile(path, PHYSICS, known=begun) as labels:
            assert (len(labels), labels.pending) == (begun, 0), (begun, size, len(labels))
            labels.append(label_of(charged(), begun))
            assert_same(labels[0], label_of(charged(), 0))
            assert_same(labels[begun], label_of(charged(), begun))
    assert killed == len(sizes), (begun, killed)
print("whole")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of file sizes")
def test_a_process_killed_while_it_writes_loses_no_earlier_label(tmp_path):
    """The system kills it when the file would grow beyond a limit."""
    here = __file__.rpartition("/")[0]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), here],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "whole", done.stderr[-2000:]


def test_a_frame_reads_as_a_label_whoever_wrote_it():
    atoms = molecule("H2O")
    with pytest.raises(ValueError, match="no energy"):
        Label.from_frame(atoms)
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=np.ones((3, 3)))
    label = Label.from_frame(atoms)
    assert (label.energy, label.molecule, label.evaluations) == (-3.0, 0, 1)


def test_the_settings_stand_in_the_description(tmp_path):
    with LabelFile(tmp_path / "a.traj", PHYSICS) as labels:
        labels.append(label_of(charged(), 0))
    with Trajectory(tmp_path / "a.traj") as frames:
        assert frames.description["kstep_physics"] == PHYSICS
