"""Labels as samples: the gauge of couplings, the grid of spectra, no trajectory in two parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kstep_training.observables.fit.coupling_target import CouplingTarget
from kstep_training.observables.fit.fit_data import make_fit_data
from kstep_training.observables.fit.fit_stages import CouplingFitStage, SpectrumFitStage
from kstep_training.observables.labels.label_folder import holds_labels, read_labels
from kstep_training.observables.samples.coupling_samples import coupling_samples
from kstep_training.observables.samples.samples import by_part
from kstep_training.observables.samples.spectrum_samples import GridSettings, spectrum_samples
from kstep_training.observables.samples.split import SplitSettings
from tests.training.observables.synthetic_labels import coupling_part, spectrum_part


def test_the_cheap_coupling_is_positive_and_the_product_stays(couplings: Path) -> None:
    parts = read_labels(couplings).parts
    samples = coupling_samples(parts)
    cheap = np.concatenate([part["cheap"] for part in parts])
    reference = np.concatenate([part["reference"] for part in parts])
    assert (cheap < 0.0).any()
    np.testing.assert_array_equal(samples.cheap, np.abs(cheap))
    np.testing.assert_array_equal(samples.cheap * samples.reference, cheap * reference)
    magnitudes = coupling_samples(parts, magnitude=True)
    np.testing.assert_array_equal(magnitudes.cheap, samples.cheap)
    np.testing.assert_array_equal(magnitudes.reference, np.abs(reference))
    # The phase of the second molecule's orbital is turned where V0 is.
    second, graphs = parts[0]["molecule"] == 1, samples.graphs
    for i in range(3):
        turned = np.where(second[:, None], np.sign(cheap[i]), 1.0) * parts[0]["orbital"][i]
        np.testing.assert_allclose(graphs[i].orbital, turned, rtol=1e-6)
    graph = samples.graphs[7]
    row = [getattr(samples, name)[7] for name in ("separation", "angle", "cheap", "participation")]
    np.testing.assert_allclose(graph.globals[0].numpy(), row, rtol=1e-6)


def test_a_second_reference_method_is_judged_as_a_prediction() -> None:
    part = coupling_part("H2O+HF", "run", 6, seed=0)
    assert np.isnan(coupling_samples([part]).second).all()
    part["reference_2"] = 1.1 * part["reference"]
    samples = coupling_samples([part])
    np.testing.assert_allclose(samples.second, 1.1 * samples.reference)
    target = CouplingTarget(CouplingFitStage())
    predicted = target.baselines(samples, samples)["second reference"]
    assert target.errors(predicted, samples, samples)["mape"] == pytest.approx(10.0)


def test_no_trajectory_is_in_two_parts(couplings: Path) -> None:
    stage = CouplingFitStage(split=SplitSettings(held_out=["H2O+H2O"], test_fraction=0.3))
    data = make_fit_data(stage, read_labels(couplings))
    found = {part: set(its.trajectory.tolist()) for part, its in data.samples.items()}
    assert {part: len(names) for part, names in found.items()} == {
        "train": 3,
        "validation": 1,
        "test": 2,
        "held_out": 6,
    }
    assert sum(len(names) for names in found.values()) == len(set.union(*found.values()))
    assert {part: sorted(names) for part, names in found.items()} == data.trajectories
    assert set(data.samples["held_out"].kind.tolist()) == {"H2O+H2O"}
    assert sum(len(its) for its in data.samples.values()) == 2 * 6 * 12


def test_a_number_of_labels(couplings: Path) -> None:
    stage = CouplingFitStage(split=SplitSettings(labels=20))
    train = make_fit_data(stage, read_labels(couplings)).samples["train"]
    assert len(train) == 20
    assert len(set(train.trajectory.tolist())) == 8


def test_one_name_for_two_trajectories() -> None:
    parts = [coupling_part(kind, "same", 2, seed=0) for kind in ("H2O+HF", "HF+HF")]
    with pytest.raises(ValueError, match=r"trajectory 'same' is of H2O\+HF and of HF\+HF"):
        coupling_samples(parts).trajectories  # noqa: B018


def test_spectra_have_the_strength_as_their_area() -> None:
    part = spectrum_part("run", frames=4, seed=1)
    samples = spectrum_samples([part], GridSettings(start_eV=-6.0, stop_eV=12.0, gaussian=0.5))
    area = samples.rows.sum(1) * samples.spacing
    np.testing.assert_allclose(area, part["strengths"].sum(1), rtol=1e-9)
    assert samples.edges == {8: part["excitations"].min()}
    np.testing.assert_allclose(samples.graphs[2].spectrum.numpy(), samples.spectra[2], atol=1e-7)
    assert samples.chosen([1, 2]).edges == samples.edges
    np.testing.assert_array_equal(samples.absorber, 8)


def test_lines_widen_above_ionization() -> None:
    part = spectrum_part("run", frames=3, seed=1)
    wide = GridSettings(ionization_eV=2.0, rise_eV=2.0, widest=2.8)
    widths = wide.lines.gaussian_at([0.0, 2.0, 3.0, 4.0, 9.0])
    np.testing.assert_allclose(widths, [0.8, 0.8, 1.8, 2.8, 2.8], rtol=1e-12)
    assert GridSettings(widest=None).lines.gaussian_at(50.0) == 0.8
    # Excitations end 6 eV above the lowest or a little more.
    even, uneven = (spectrum_samples([part], its) for its in (GridSettings(widest=None), wide))
    assert even.energies[-1] - uneven.energies[-1] == pytest.approx(2.0)
    with pytest.raises(ValueError, match=r"rise_eV is 0\.0, expected a positive number in eV"):
        GridSettings(rise_eV=0.0)
    with pytest.raises(ValueError, match=r"widest is 0\.5, expected at least the width below the"):
        GridSettings(widest=0.5)


def test_spectra_of_absorbers_are_those_of_their_shares() -> None:
    part = spectrum_part("run", frames=4, seed=1)
    shares = part["strengths"][..., None] * [0.5]
    halved = spectrum_samples([{**part, "shares": shares}], GridSettings())
    np.testing.assert_allclose(
        2.0 * halved.rows, spectrum_samples([part], GridSettings()).rows, rtol=1e-9
    )


def test_labels_that_do_not_go_with_the_settings(
    couplings: Path, spectra: Path, tmp_path: Path
) -> None:
    assert holds_labels(couplings)
    assert holds_labels(spectra)
    assert not holds_labels(tmp_path)
    with pytest.raises(ValueError, match="the settings are a SpectrumFitStage, but the labels are"):
        make_fit_data(SpectrumFitStage(), read_labels(couplings))
    none = CouplingFitStage(split=SplitSettings(validation_fraction=0.0))
    with pytest.raises(ValueError, match="leaves no trajectory to validate with"):
        make_fit_data(none, read_labels(couplings))
    with pytest.raises(ValueError, match="holds no frame"):
        coupling_samples([])
    with pytest.raises(ValueError, match="holds no frame"):
        spectrum_samples([], GridSettings())
    with pytest.raises(ValueError, match=r"spacing is 0\.0"):
        GridSettings(spacing=0.0)


def test_elements_that_were_not_trained_on(couplings: Path) -> None:
    stage = CouplingFitStage(split=SplitSettings(held_out=["H2O+HF"]))
    with pytest.raises(ValueError, match="held_out has atoms of F, which the training set has not"):
        make_fit_data(stage, read_labels(couplings))


def test_parts_keep_their_order(spectra: Path) -> None:
    samples = spectrum_samples(read_labels(spectra).parts, GridSettings())
    parts = {f"water-{i}": "train" if i < 4 else "test" for i in range(6)}
    split = by_part(samples, parts)
    assert {part: len(its) for part, its in split.items()} == {"train": 48, "test": 24}
    assert list(split) == ["train", "test"]
