"""Labels of couplings: arrays of the stage, signs of parts, frames left out, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from kstep_integrators import named_molecule
from kstep_integrators.observables.couplings import (
    AmbiguousOrbital,
    dimer_coupling,
    dimer_state,
    orbital_reference,
)
from kstep_integrators.observables.couplings.dimer import dimer_kind
from kstep_training.observables.labels.coupling_labels import (
    CouplingLabelSettings,
    label_couplings,
)
from kstep_training.observables.labels.label import label
from kstep_training.observables.labels.label_folder import read_labels

METHOD = "HF/sto-3g"


def slid(slide: float) -> Atoms:
    one, other = named_molecule("ethene"), named_molecule("ethene")
    normal = np.linalg.svd(one.positions - one.positions.mean(0))[2][2]
    along = one.positions[1] - one.positions[0]
    other.positions += 3.7 * normal + slide * along / np.linalg.norm(along)
    return one + other


def test_arrays_are_those_of_single_calls() -> None:
    frames = [slid(0.2), slid(0.9)]
    settings = CouplingLabelSettings(reference=METHOD, reference_2="LDA/sto-3g")
    arrays, failures = label_couplings(frames, settings, frames[0])
    assert failures == {}
    assert str(arrays["kind"]) == "C2H4+C2H4"
    assert arrays["molecule"].tolist() == [0] * 6 + [1] * 6
    reference = orbital_reference(frames[0])
    for row, atoms in enumerate(frames):
        state = dimer_state(atoms, reference=reference)
        assert arrays["cheap"][row] == pytest.approx(state.coupling.value, abs=1e-9)
        assert arrays["populations"][row] == pytest.approx(state.populations, abs=1e-9)
        assert arrays["quadrupole"][row] == pytest.approx(state.quadrupole, abs=1e-7)
        for name in ("separation", "angle", "participation"):
            assert arrays[name][row] == pytest.approx(getattr(state, name), abs=1e-9)
        found = dimer_coupling(atoms, METHOD, reference=reference).value
        assert arrays["reference"][row] == pytest.approx(found, abs=1e-6)
    assert (np.sign(arrays["cheap"]) == np.sign(arrays["reference"])).all()
    assert (np.sign(arrays["reference"]) == np.sign(arrays["reference_2"])).all()
    assert np.abs(arrays["reference"] - arrays["reference_2"]).min() > 1e-3


def test_a_folder_of_labels(tmp_path: Path) -> None:
    write(tmp_path / "pair.xyz", [slid(0.2 * i) for i in range(3)])
    settings = CouplingLabelSettings(reference=METHOD, part_frames=2, interval_fs=50.0)
    total, reports = label("couplings", [tmp_path / "pair.xyz"], tmp_path / "labels", settings)
    assert total == 2
    assert [report["status"] for _, report in reports] == ["done", "done"]
    labels = read_labels(tmp_path / "labels")
    assert labels.kind == "couplings"
    assert [len(part["cheap"]) for part in labels.parts] == [2, 1]
    # One phase in both parts, though each has its own calculation of the reference.
    values = np.concatenate([part["reference"] for part in labels.parts])
    assert (np.sign(values) == np.sign(values[0])).all()
    assert (np.diff(np.abs(values)) < 0.0).all()


def test_frames_that_fail_are_left_out_and_named() -> None:
    near = slid(0.2)
    reacted = near.copy()
    reacted.positions[6:] -= 0.75 * (near.positions[6:].mean(0) - near.positions[:6].mean(0))
    settings = CouplingLabelSettings(reference=METHOD)
    arrays, failures = label_couplings([near, reacted], settings, near)
    assert len(arrays["reference"]) == 1
    assert list(failures) == [1]
    assert "consists of 1 separate molecule" in failures[1]
    assert label_couplings([reacted], settings, near)[0] == {}


def test_a_trajectory_of_degenerate_orbitals_is_refused() -> None:
    one, other = named_molecule("benzene"), named_molecule("benzene")
    other.translate(8.0 * np.linalg.svd(one.positions - one.positions.mean(0))[2][2])
    with pytest.raises(AmbiguousOrbital, match="near-degenerate"):
        label_couplings([one + other], CouplingLabelSettings(), one + other)


def test_kind() -> None:
    one, other = named_molecule("furan"), named_molecule("ethene")
    other.translate([8.0, 0.0, 0.0])
    assert dimer_kind(one + other) == dimer_kind(other + one) == "C2H4+C4H4O"


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="carrier is 'both', expected 'hole'"):
        CouplingLabelSettings(carrier="both")
    with pytest.raises(ValueError, match="method is 'HF', expected 'GFN2-xTB'"):
        CouplingLabelSettings(reference="HF")
    with pytest.raises(ValueError, match=r"reference is 'GFN2-xTB', expected a functional"):
        CouplingLabelSettings(reference="GFN2-xTB")
    with pytest.raises(ValueError, match="does not know the functional 'PBE7'"):
        CouplingLabelSettings(reference_2="PBE7/def2-SVP")
