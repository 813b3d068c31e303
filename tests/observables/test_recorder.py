"""Observables written along a run, and gone on with when it is resumed."""

import numpy as np
import pytest
from ase import units
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.md.verlet import VelocityVerlet

from kstep_integrators import KStepWarning, Observable, ObservableRecorder
from kstep_integrators.observables.recorder import read_record
from tests.observables.files import couplings_file, ethene_pair, spectra_file


def carbon(folder):
    return Observable.load(spectra_file(folder / "carbon.safetensors"))


def run(steps, start=0):
    atoms = molecule("CH4")
    atoms.calc = EMT()
    dyn = VelocityVerlet(atoms, 0.5 * units.fs)
    dyn.nsteps = start
    return dyn, steps


def test_a_line_for_each_call(tmp_path):
    observable, (dyn, steps) = carbon(tmp_path), run(6)
    recorder = ObservableRecorder(observable, dyn, tmp_path / "spectra.csv")
    dyn.attach(recorder, interval=2)
    seen = []
    dyn.attach(lambda: seen.append(observable(dyn.atoms)), interval=2)
    dyn.run(steps)
    record = read_record(tmp_path / "spectra.csv")
    assert record["step"].tolist() == [0, 2, 4, 6]
    assert record["time_ps"] == pytest.approx([0.0, 0.001, 0.002, 0.003])
    written = np.stack([record[f"spectrum_{i}"] for i in range(4)], axis=1)
    assert written.tolist() == np.array(seen).tolist()


def test_a_resumed_run_goes_on_in_its_file(tmp_path):
    observable, file = carbon(tmp_path), tmp_path / "spectra.csv"
    dyn, steps = run(6)
    dyn.attach(ObservableRecorder(observable, dyn, file), interval=2)
    dyn.run(steps)
    whole = file.read_bytes()
    cut = whole[: whole.index(b"\n4,") + 5]  # a process that was killed in its line
    for content, last, steps in ((whole, 2, [0, 2, 4, 6]), (cut, 4, [0, 2, 6, 8])):
        file.write_bytes(content)
        dyn, _ = run(6, start=last)
        recorder = ObservableRecorder(observable, dyn, file)
        assert read_record(file)["step"].tolist() == [0, 2]
        dyn.attach(recorder, interval=2)
        dyn.run(4)
        assert read_record(file)["step"].tolist() == steps


def test_a_file_whose_first_lines_are_torn_is_begun_again(tmp_path):
    observable, file = carbon(tmp_path), tmp_path / "spectra.csv"
    dyn, steps = run(2)
    dyn.attach(ObservableRecorder(observable, dyn, file))
    dyn.run(steps)
    whole = file.read_bytes()
    second = whole.index(b"\n") + 1
    third = whole.index(b"\n", second) + 1
    for size in (1, second - 1, second, second + 30, third, third + 10):
        file.write_bytes(whole[:size])  # of a process that was killed, resumed at its step 1
        dyn, _ = run(2, start=1)
        ObservableRecorder(observable, dyn, file)()
        assert read_record(file)["step"].tolist() == [1]
    file.write_bytes(whole.replace(b"# spectrum", b"# spectra")[: second + 5])
    with pytest.raises(ValueError, match="it is of another observable"):
        ObservableRecorder(observable, dyn, file)


def test_a_run_begun_anew_is_warned_of(tmp_path):
    observable, file = carbon(tmp_path), tmp_path / "spectra.csv"
    dyn, steps = run(2)
    dyn.attach(ObservableRecorder(observable, dyn, file))
    dyn.run(steps)
    dyn, _ = run(2)
    with pytest.warns(KStepWarning, match=r"is begun anew, with its 3 lines"):
        ObservableRecorder(observable, dyn, file)
    assert file.read_bytes() == b""


def test_a_file_of_another_observable_is_refused(tmp_path):
    file = tmp_path / "spectra.csv"
    file.write_text("# coupling by another\n1,2\n3\n")
    dyn, _ = run(2, start=4)
    with pytest.raises(ValueError, match="it is of another observable"):
        ObservableRecorder(carbon(tmp_path), dyn, file)
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ValueError, match="no line of titles"):
        read_record(tmp_path / "empty.csv")


def test_the_first_structure_gives_the_sign_after_a_resumption_too(tmp_path):
    observable = Observable.load(couplings_file(tmp_path / "pairs.safetensors"))
    file, frames = tmp_path / "couplings.csv", [ethene_pair(turn=t) for t in (0.0, 160.0, 30.0)]
    expected = observable(frames)
    assert expected[0] * expected[1] < 0.0
    for number, atoms in enumerate(frames):
        dyn = VelocityVerlet(atoms, 1.0)
        dyn.nsteps = number
        ObservableRecorder(observable, dyn, file)()
    assert read_record(file)["coupling"] == pytest.approx(expected, abs=1e-9)


def test_atoms_that_it_was_not_made_for(tmp_path):
    observable = Observable.load(couplings_file(tmp_path / "pairs.safetensors"))
    with pytest.raises(ValueError, match="two"):
        ObservableRecorder(observable, run(1)[0], tmp_path / "couplings.csv")
