"""Suites of observables: fits by variant, averages along runs, and their tables."""

import json
import zipfile

import numpy as np
import pytest
from ase.build import molecule

from benchmarks import observable_fits, observed_run, results, run, tables_observables
from kstep_integrators.observables.networks.delta_coupling import DeltaCoupling
from kstep_integrators.observables.networks.xanes import XANESNetwork
from kstep_integrators.observables.observable_file import ObservableHeader, write_observable
from kstep_training.observables.labels.core_spectra import CoreLevels, core_excitations
from kstep_training.observables.labels.label_folder import read_labels
from kstep_training.observables.samples.spectrum_samples import (
    GridSettings,
    spectrum_grid,
    spectrum_samples,
)
from tests.observables.files import couplings_file
from tests.training.observables.synthetic_labels import (
    coupling_labels,
    coupling_part,
    spectrum_labels,
    spectrum_part,
    write_folder,
)

TINY = (
    *("fit.epochs=1", "fit.batch_size=32", "network.layers=1", "network.radial=4"),
    *("network.features=4x0e+1o", "network.hidden=8", "split.held_out=[]"),
)


def test_fits_one_variant_at_a_time(tmp_path, monkeypatch):
    labels = coupling_labels(tmp_path / "labels", trajectories=8, frames=12)
    given = ["--labels", str(labels), "--overrides", *TINY, "--cache", str(tmp_path / "cache"),
             "--second", str(tmp_path / "none"), "--output", str(tmp_path)]  # fmt: skip
    for variants in (["no-field-node", "base"], ["labels-50"]):
        assert run.main(["--suite", "coupling_fits", "--variants", *variants, *given]) == 0
    result = json.loads((tmp_path / "coupling_fits.json").read_text())
    rows = {row["variant"]: row for row in result["rows"]}
    assert list(rows) == ["base", "no-field-node", "labels-50"]
    assert result["base"][-len(TINY) :] == list(TINY)
    base = rows["base"]
    assert list(base["parts"]["test"]) == ["network", "without V0", "V0 alone", "a V0 + b", "ridge"]
    assert base["labels"] == {"train": 72, "validation": 12, "test": 12}
    assert base["parts"]["train"]["network"]["count"] == 72
    assert set(base["cpu_seconds"]) == {"network", "without V0"}
    assert rows["labels-50"]["labels"]["train"] == 50
    assert "network.field_node=false" in rows["no-field-node"]["overrides"]
    assert base["weights"] > rows["no-field-node"]["weights"]
    assert all(row["cpu_seconds"]["network"] > 0.0 for row in rows.values())

    monkeypatch.setattr(results, "RESULTS", tmp_path)
    table = tables_observables.coupling_fits()
    error = f"{base['parts']['test']['network']['mae']:.1f}"
    assert f"| {error} |" in next(line for line in table.splitlines() if "**network**" in line)
    assert "| network, without V0 |" in table
    assert "| labels-50 |" not in table
    assert f"test {base['parts']['test']['network']['spread']:.1f}." in table
    curve = tables_observables.coupling_curve().splitlines()
    assert [line.split("|")[1].strip() for line in curve[2:]] == ["50", "72"]
    assert "no labels by a second method" in tables_observables.coupling_references()


def test_fits_of_spectra(tmp_path, monkeypatch):
    labels = spectrum_labels(tmp_path / "labels", trajectories=4, frames=6)
    given = ["--suite", "spectrum_fits", "--labels", str(labels), "--overrides", *TINY,
             "network.heads=1", "network.lmax=1", "grid.spacing=0.5", "--variants", "no-norms",
             "--seeds", "1", "2", "--cache", str(tmp_path), "--output", str(tmp_path)]  # fmt: skip
    assert run.main(given) == 0
    assert run.main([*given, "--seeds", "2"]) == 0  # those of seed 1 are there as well
    rows = json.loads((tmp_path / "spectrum_fits.json").read_text())["rows"]
    assert [(row["variant"], row["seed"]) for row in rows] == [("no-norms", 1), ("no-norms", 2)]
    one, other = (row["parts"]["test"]["network"]["mse"] for row in rows)
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    assert f"{(one + other) / 2:.4f} ± {abs(one - other) / 2**0.5:.4f} / " in (
        tables_observables.spectrum_fits()
    )


@pytest.mark.parametrize("name", ["coupling_fits", "spectrum_fits"])
def test_the_smallest_size_on_the_labels_that_are_shipped(name, tmp_path):
    given = ["--suite", name, "--smoke", "--cache", str(tmp_path), "--output", str(tmp_path)]
    assert run.main(given) == 0
    rows = json.loads((tmp_path / f"{name}.json").read_text())["rows"]
    assert rows[-1]["labels"]["train"] == 50
    assert {"validation", "test", "held_out"} < set(rows[-1]["parts"])


def test_variants_that_there_are_not(tmp_path):
    labels = coupling_labels(tmp_path / "labels", trajectories=4, frames=4)
    options = observable_fits.CouplingFitOptions(tmp_path, ("labels-50",), (0,), TINY, labels)
    with pytest.raises(ValueError, match="variants has labels-50, expected some of base"):
        observable_fits.coupling_fits(options)


def test_variants_differ_from_the_base():
    found = observable_fits.variants("couplings", ("network.lmax=1", "fit.jitter=0"))
    assert "lmax-0" not in found
    assert found["lmax-2"] == ("network.lmax=2",)
    assert found["jitter"] == ("fit.jitter=0.01",)
    assert found["no-orbital-pairs"] == ("network.orbital_pairs=false",)


@pytest.mark.parametrize("kind", ["couplings", "xanes"])
def test_labels_that_are_shipped_are_unpacked_once(kind, tmp_path):
    source = observable_fits.DATA / f"{kind}_labels.zip"
    folder = observable_fits.unpacked(source, tmp_path)
    assert read_labels(folder).kind == kind
    (folder / "mine").touch()
    assert observable_fits.unpacked(source, tmp_path) == folder
    assert (folder / "mine").exists()
    assert observable_fits.unpacked(folder, tmp_path) == folder
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("elsewhere/manifest.json", "{}")
    with pytest.raises(ValueError, match=r"other\.zip has no labels/manifest\.json"):
        observable_fits.unpacked(tmp_path / "other.zip", tmp_path)


def test_two_reference_methods_are_compared(tmp_path, monkeypatch):
    parts = {}
    for number, kind in enumerate(("H2O+HF", "H2O+H2O")):
        part = coupling_part(kind, kind, 10, seed=number)
        parts[kind] = {**part, "reference_2": -0.8 * part["reference"]}
    settings = {"reference": "HF/def2-SVP", "reference_2": "PBE0/def2-SVP"}
    labels = read_labels(write_folder(tmp_path / "two", "couplings", settings, parts))
    found = observable_fits._agreement(labels)
    assert found["slope"] == pytest.approx(0.8)
    assert [row["kind"] for row in found["rows"]] == ["all", "H2O+H2O", "H2O+HF"]
    assert found["rows"][0]["plain"]["mape"] == pytest.approx(25.0)
    assert found["rows"][0]["line"]["mae"] == pytest.approx(0.0, abs=1e-9)
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    (tmp_path / "coupling_fits.json").write_text(json.dumps({"second": found, "rows": []}))
    assert "0.80 HF/def2-SVP" in tables_observables.coupling_references()
    one = read_labels(coupling_labels(tmp_path / "one", trajectories=1, frames=2))
    with pytest.raises(ValueError, match="labels of one method"):
        observable_fits._agreement(one)


def test_averages_lose_the_bias_of_the_prediction():
    """An offset of 7 in the mean of the labelled frames is one along the run."""
    rng = np.random.default_rng(0)
    true = 50.0 + 10.0 * rng.normal(size=2000)
    predicted = true + 7.0 + 0.5 * rng.normal(size=2000)
    places = observed_run._spaced(2000, 100)
    row = observed_run._compared("network", predicted, true[places], places, square=False)
    assert row["off"]["mean"] == pytest.approx(7.0, abs=0.2)
    assert row["corrected"]["mean"] == pytest.approx(true.mean(), abs=0.2)
    assert row["along"]["error"] < row["corrected"]["error"] < 0.5 * row["labels"]["error"]
    row = observed_run._compared("network", predicted, true[places], places, square=True)
    root = np.sqrt(np.square(true).mean())
    assert row["corrected"]["mean"] == pytest.approx(root, abs=3.0 * row["corrected"]["error"])
    assert row["off"]["mean"] == pytest.approx(np.sqrt(np.square(predicted).mean()) - root, abs=0.3)
    assert 0.15 < row["along"]["error"] < 0.35


def test_labelled_frames_are_evenly_spaced():
    assert observed_run._spaced(9, 3).tolist() == [0, 4, 8]
    assert observed_run._spaced(3, 10).tolist() == [0, 1, 2]


def test_a_coupling_along_a_run(tmp_path, monkeypatch):
    part = coupling_part("H2O+HF", "known", 2, seed=0)
    settings = {"reference": "HF/STO-3G", "carrier": "hole"}
    folder = write_folder(tmp_path / "labels", "couplings", settings, {"known.0": part})
    record = {"labels_sha256": read_labels(folder).digest, "labels": {"train": 2}}
    network = DeltaCoupling([1, 6], layers=1, lmax=1, radial=4)  # corrects nothing
    header = ObservableHeader(
        "pairs", "HF/STO-3G", cheap_method="GFN2-xTB", carrier="hole", training=record
    )
    write_observable(tmp_path / "pairs.safetensors", network, header)
    options = observed_run.ObservedCouplingOptions(
        tmp_path, tmp_path / "pairs.safetensors", 0.16, 20.0, 6, labels=folder
    )
    found = observed_run.observed_coupling(options)
    network, cheap = found["rows"][:2]
    assert (found["frames"], found["labelled"], found["training_labels"]) == (8, 6, 2)
    for name in ("along", "off"):
        assert network[name]["mean"] == pytest.approx(cheap[name]["mean"], rel=1e-4)
    assert network["labels"]["mean"] > 1.0
    assert found["cpu"]["labels_extrapolated"] == pytest.approx(8 * found["cpu"]["label_per_frame"])
    begun = (tmp_path / "observed_run").rglob("*.json")
    before = {path: path.stat().st_mtime_ns for path in begun}
    assert len(before) == 3  # the run, and two parts of labels
    again = observed_run.observed_coupling(options)
    assert again["rows"] == found["rows"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    results.write("observed_coupling", found, tmp_path)
    assert "| mean magnitude | V0 alone |" in tables_observables.observed_coupling()
    assert "| ethene, ethene | 8 |" in tables_observables.observed_cost()


def test_a_spectrum_along_a_run(tmp_path, monkeypatch):
    folder = spectrum_labels(tmp_path / "labels", trajectories=1, frames=2)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["settings"]["label"] |= {"xc": "hf", "basis": "sto-3g", "tda": True, "window_eV": 1.0}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    record = {
        "labels_sha256": read_labels(folder).digest,
        "labels": {"train": 2},
        "split": {"train": ["water-0"]},
        "settings": {"grid": {"gaussian": 1.5}},
    }
    grid, _ = spectrum_grid(read_labels(folder).parts, GridSettings(gaussian=1.5))
    edge = core_excitations(molecule("H2O"), "O", CoreLevels("hf", "sto-3g", tda=True)).energies[0]
    network = XANESNetwork([1, 8], {8: float(edge)}, grid.tolist(), layers=1)
    header = ObservableHeader(
        "oxygen", "TDA hf/sto-3g", kind="spectrum", unit="1/eV", training=record
    )
    write_observable(tmp_path / "oxygen.safetensors", network, header)
    options = observed_run.ObservedSpectrumOptions(
        tmp_path, tmp_path / "oxygen.safetensors", 0.08, 20.0, 4, labels=folder, molecule="water"
    )
    found = observed_run.observed_spectrum(options)
    errors = {row["prediction"]: row["mse"] for row in found["rows"]}
    assert len(found["energies_eV"]) == len(found["labels"]) == len(found["network"]) == len(grid)
    assert errors["label of the relaxed molecule"] < 1.0  # nearer than no spectrum at all
    assert errors["statistical error of the labels"] < errors["label of the relaxed molecule"]
    assert np.trapezoid(found["labels"], found["energies_eV"]) > 0.0
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    results.write("observed_spectrum", found, tmp_path)
    assert "against labels of 4 frames" in tables_observables.observed_spectrum()


def test_an_observable_of_other_labels_is_refused(tmp_path):
    folder = coupling_labels(tmp_path / "labels", trajectories=1, frames=2)
    options = observed_run.ObservedCouplingOptions(
        tmp_path, couplings_file(tmp_path / "pairs.safetensors"), labels=folder
    )
    with pytest.raises(ValueError, match="pairs was fitted to other labels"):
        observed_run.observed_coupling(options)


def test_tables_without_results_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    for name in tables_observables.__all__:
        assert getattr(tables_observables, name)().startswith("Not measured yet")


def test_spectra_of_labels_are_those_that_are_fitted_to():
    """Lines widen from the edge of the element on, not from zero."""
    part = spectrum_part("water", 3, seed=0)
    samples = spectrum_samples([part], GridSettings())
    (edge,) = samples.edges.values()
    energies = samples.energies + edge
    found = observed_run._spectra([part], energies, edge, GridSettings().lines)
    wanted = np.array([spectra.sum(0) for spectra in samples.spectra])
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
    assert found.max() > 0.03  # of narrow lines
