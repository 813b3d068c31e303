"""Observables averaged along Metropolized jumps: error bars, labels beside them, and the cost.

    python -m benchmarks.run --suite observed_coupling --model fit/couplings.safetensors
    python -m benchmarks.run --suite observed_spectrum --model fit/xanes.safetensors

Frames are taken after equal numbers of strides, rejected ones included: the canonical ensemble of
GFN2-xTB. Some of them, evenly spaced, are labelled by the method that the network was fitted to;
what the network is off by on those, in the mean, is what its average along the whole run is off
by, and taken from that it leaves an average without the network's bias. Seconds are of the
processor; those of labels for every frame are extrapolated from the ones that were made.

Run and labels do not depend on the network, and are kept for the next one.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.md.velocitydistribution import thermalize_momenta
from numpy.typing import NDArray

from benchmarks.observable_fits import DATA, unpacked
from benchmarks.results import kept
from benchmarks.suite import Options, option
from kstep_integrators import KStepDynamics, Observable
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.units import FS, PS
from kstep_training.inputs.molecules import read_molecule
from kstep_training.inputs.start import relax
from kstep_training.observables.dynamics.dimer_dynamics import DimerSettings, start_dimer
from kstep_training.observables.fit.errors import mean_squares, spectrum_errors
from kstep_training.observables.labels.kinds import find_kind
from kstep_training.observables.labels.label_folder import Labels, read_labels
from kstep_training.observables.observe.averages import averaged
from kstep_training.observables.samples.broadening import Broadening, broaden
from kstep_training.observables.samples.spectrum_samples import GridSettings, spectrum_samples

__all__ = ["observed_coupling", "observed_spectrum"]

Array = NDArray[np.float64]
BASE_FS, STRIDE_FS, FRICTION_PER_PS = 0.5, 20.0, 5.0
EQUILIBRATION_PS = 2.0
PART = 5
"""Frames that are labelled together; what is the same for them is made once for each part."""
KEPT = {"couplings": ("cheap", "reference"), "xanes": ("excitations", "strengths")}
"""Arrays of labels, by kind."""


@dataclass(frozen=True)
class ObservedOptions(Options):
    """The run, and how many of its frames are labelled."""

    model: Path = option(Path("observable.safetensors"), "made by kstep fit of the labels")
    length_ps: float = option(100.0, "of the run, rejected strides included")
    interval_fs: float = option(100.0, "between frames, rounded to strides")
    labelled: int = option(100, "frames with a label")
    seed: int = option(0, "of start, momenta and noise")


@dataclass(frozen=True)
class ObservedCouplingOptions(ObservedOptions):
    """A dimer, and what its observable was fitted to."""

    labels: Path = option(DATA / "couplings_labels.zip", "ZIP or folder of labels")
    pair: tuple[str, ...] = option(("ethene", "ethene"), "two molecules of bundled names")
    most: float = option(5.0, "distance of the centres from which they are held, angstrom")


@dataclass(frozen=True)
class ObservedSpectrumOptions(ObservedOptions):
    """A molecule, and what its observable was fitted to."""

    labels: Path = option(DATA / "xanes_labels.zip", "ZIP or folder of labels")
    molecule: str = option("CCO", "bundled name or SMILES")
    temperature_K: float = option(400.0, "of the run; the labels of the data are of 400 K")


def _molecule_dynamics(source: str, kelvin: float, seed: int) -> KStepDynamics:
    """Metropolized jumps of the bundled model under GFN2-xTB from the relaxed molecule."""
    atoms, rng = read_molecule(source).atoms, np.random.default_rng(seed)
    atoms.calc = xtb_calculator("GFN2-xTB")
    relax(atoms)
    thermalize_momenta(atoms, temperature_K=kelvin, rng=rng)
    return KStepDynamics(
        atoms, "organic-gfn2", k=round(STRIDE_FS / BASE_FS), timestep=BASE_FS * FS,
        corrector="none", metropolize=True, temperature_K=kelvin, friction=FRICTION_PER_PS / PS,
        rng=rng,
    )  # fmt: skip


def _run(dynamics: KStepDynamics, options: ObservedOptions) -> dict[str, Any]:
    """Positions of frames, angstrom, and what the run took."""
    atoms, each = dynamics.atoms, max(1, round(options.interval_fs / STRIDE_FS))
    dynamics.run(round(1e3 * EQUILIBRATION_PS / STRIDE_FS))
    began, before, travelled = time.process_time(), dynamics.stats, dynamics.get_time()
    start = before.jumps, before.accepted, before.physics_evaluations
    positions = []
    for _ in range(round(1e3 * options.length_ps / (each * STRIDE_FS))):
        dynamics.run(each)
        positions.append(atoms.get_positions().tolist())
    stats = dynamics.stats
    jumps = stats.jumps - start[0]
    return {
        "numbers": atoms.numbers.tolist(),
        "positions": positions,
        "interval_fs": each * STRIDE_FS,
        "stride_fs": STRIDE_FS,
        "accepted": (stats.accepted - start[1]) / jumps,
        "evaluations": stats.physics_evaluations - start[2],
        "travelled_ps": (dynamics.get_time() - travelled) / PS,
        "cpu_seconds": time.process_time() - began,
    }


def _spaced(count: int, chosen: int) -> NDArray[np.int64]:
    """Places of so many of all frames, evenly spaced; all if there are not more."""
    return np.unique(np.linspace(0, count - 1, min(chosen, count)).round().astype(np.int64))


def _labelled(
    labels: Labels, frames: Sequence[Atoms], places: NDArray[np.int64], folder: Path
) -> tuple[NDArray[np.int64], list[dict[str, Array]], float]:
    """Places of the frames that have a label, arrays of each part, and seconds per frame."""
    kind = find_kind(labels.kind)
    fields = {field.name for field in dataclasses.fields(kind.settings)}
    settings = kind.settings(**{k: v for k, v in labels.settings.items() if k in fields})
    found, parts, seconds = list[int](), list[dict[str, Array]](), 0.0
    for first in range(0, len(places), PART):
        some = places[first : first + PART]

        def make() -> dict[str, Any]:
            began = time.process_time()
            arrays, failed = kind.function([frames[i] for i in some], settings, frames[0])  # noqa: B023
            spent = time.process_time() - began
            values = {name: arrays[name].tolist() for name in KEPT[labels.kind]} if arrays else {}
            return {"failed": sorted(failed), "seconds": spent, "values": values}

        made = kept(folder / f"{'-'.join(map(str, some))}.json", make)
        found += [int(i) for place, i in enumerate(some) if place not in made["failed"]]
        if made["values"]:
            parts.append({name: np.array(value) for name, value in made["values"].items()})
        seconds += made["seconds"]
    if not parts:
        raise ValueError(f"none of {len(places)} frames could be labelled; see {folder}")
    return np.array(found), parts, seconds / len(places)


def _average(values: Array) -> dict[str, Any]:
    """Mean with its standard error; None where the frames are too few to tell."""
    found = averaged([{"x": np.asarray(values)}], "x")
    return {"mean": found.mean, "error": found.error, "samples": found.effective_samples}


def _root(average: dict[str, Any]) -> dict[str, Any]:
    """Of a mean square: its root, to first order in the error."""
    mean = float(np.sqrt(max(average["mean"], 0.0)))
    error = None if average["error"] is None else average["error"] / (2.0 * max(mean, 1e-12))
    return {**average, "mean": mean, "error": error}


def _compared(
    name: str, predicted: Array, labels: Array, places: NDArray[np.int64], square: bool
) -> dict[str, Any]:
    """Average along the run, the labels' beside it, and one without bias made of both."""
    if square:
        predicted, labels = predicted**2, labels**2
    along, known = _average(predicted), _average(labels)
    off = _average(predicted[places] - labels)
    errors = along["error"], off["error"]
    error = None if None in errors else float(np.hypot(*errors))
    better = {"mean": along["mean"] - off["mean"], "error": error, "samples": None}
    if square:
        same = float(np.sqrt(predicted[places].mean()))
        along, known, better = _root(along), _root(known), _root(better)
        scale = same + known["mean"]
        bias = None if off["error"] is None else off["error"] / scale
        off = {"mean": same - known["mean"], "error": bias, "samples": off["samples"]}
    return {"prediction": name, "along": along, "labels": known, "off": off, "corrected": better}


def _check(observable: Observable, labels: Labels) -> None:
    """Refuse an observable that was fitted to other labels."""
    digest = observable.header.training.get("labels_sha256")
    if digest != labels.digest:
        raise ValueError(
            f"{observable.header.name} was fitted to other labels (SHA-256 {digest}, expected "
            f"{labels.digest}); name them with --labels"
        )


def _about(observable: Observable, run: dict[str, Any]) -> dict[str, Any]:
    """The observable and the run."""
    return {
        "observable": observable.header.name,
        "digest": observable.digest,
        "method": observable.header.method,
        "errors": observable.header.errors,
        "training_labels": sum(observable.header.training["labels"].values()),
        "physics": "GFN2-xTB",
        **{name: value for name, value in run.items() if name not in ("positions", "numbers")},
        "frames": len(run["positions"]),
    }


def _seconds(run: dict[str, Any], network: float, label: float) -> dict[str, float]:
    """Seconds of the run, of its frames by the network, and by labels: extrapolated."""
    frames = len(run["positions"])
    return {
        "run": run["cpu_seconds"],
        "network_per_frame": network / frames,
        "label_per_frame": label,
        "network": network,
        "labels_extrapolated": frames * label,
    }


def _frames(run: dict[str, Any]) -> list[Atoms]:
    return [Atoms(run["numbers"], x) for x in run["positions"]]


def _folder(options: ObservedOptions, name: str) -> Path:
    length = f"{options.length_ps:g}-{options.interval_fs:g}-{options.seed}"
    return options.cache / "observed_run" / f"{name}-{length}"


def observed_coupling(options: ObservedCouplingOptions) -> dict[str, Any]:
    """Magnitude and root mean square of a coupling along a run, by a network and by labels."""
    labels = read_labels(unpacked(options.labels, options.cache))
    observable = Observable.load(options.model)
    _check(observable, labels)
    folder = _folder(options, "-".join((*options.pair, f"{options.most:g}")))
    settings = DimerSettings(
        most=options.most, timestep_fs=BASE_FS, k=round(STRIDE_FS / BASE_FS), seed=options.seed,
        friction_per_ps=FRICTION_PER_PS,
    )  # fmt: skip
    first, second = options.pair
    run = kept(folder / "run.json", lambda: _run(start_dimer(first, second, settings), options))
    about, frames = _about(observable, run), _frames(run)
    began = time.process_time()
    values = observable.measure(frames, frames[0])
    network = time.process_time() - began
    places, parts, label = _labelled(
        labels, frames, _spaced(len(frames), options.labelled), folder / labels.digest[:12]
    )
    wanted = 1e3 * np.abs(np.concatenate([part["reference"] for part in parts]))
    predictions = {"network": values["coupling"], "V0 alone": values["cheap"]}
    rows = [
        {"quantity": quantity, **_compared(name, 1e3 * np.abs(its), wanted, places, square)}
        for quantity, square in (("mean magnitude", False), ("root mean square", True))
        for name, its in predictions.items()
    ]
    return {
        **about, "pair": list(options.pair), "temperature_K": settings.temperature_K,
        "labelled": len(places), "cpu": _seconds(run, network, label), "rows": rows,
    }  # fmt: skip


def _training_mean(labels: Labels, observable: Any, grid: GridSettings, atoms: Atoms) -> Any:
    """Mean training spectrum of the same molecule, (E,); None if it was not trained on."""
    samples = spectrum_samples(labels.parts, grid)
    train = observable.header.training["split"].get("train", [])
    same = [
        spectra.mean(0)
        for graph, name, spectra in zip(
            samples.graphs, samples.trajectory.tolist(), samples.spectra, strict=True
        )
        if name in train and np.array_equal(graph.z.numpy(), atoms.numbers)
    ]
    return np.mean(same, axis=0) if same else None


def observed_spectrum(options: ObservedSpectrumOptions) -> dict[str, Any]:
    """Mean spectrum along a run by a network, against that of labels of the same frames."""
    labels = read_labels(unpacked(options.labels, options.cache))
    observable: Any = Observable.load(options.model, element=labels.settings["element"])
    _check(observable, labels)
    grid = GridSettings(**observable.header.training["settings"]["grid"])
    kelvin = options.temperature_K
    folder = _folder(options, f"{read_molecule(options.molecule).name}-{kelvin:g}")
    run = kept(
        folder / "run.json",
        lambda: _run(_molecule_dynamics(options.molecule, kelvin, options.seed), options),
    )
    about, frames = _about(observable, run), _frames(run)
    began = time.process_time()
    predicted = observable.measure(frames)["spectrum"]
    network = time.process_time() - began
    folder /= labels.digest[:12]
    chosen = _spaced(len(frames), options.labelled)
    places, parts, label = _labelled(labels, frames, chosen, folder)
    count = len(observable.absorbers(frames[0]))
    edge = observable.network.references[atomic_numbers[labels.settings["element"]]]
    wanted = _spectra(parts, observable.energies, edge, grid.lines) / count
    rest = _at_rest(frames[0])
    _, still, _ = _labelled(labels, [rest], np.zeros(1, dtype=np.int64), folder / "rest")
    relaxed = _spectra(still, observable.energies, edge, grid.lines) / count
    made = {
        "network, the same frames": predicted[places].mean(0),
        "network, all frames": predicted.mean(0),
        "labels of training": _training_mean(labels, observable, grid, frames[0]),
        "label of the relaxed molecule": relaxed[0],
    }
    spacing = float(observable.energies[1] - observable.energies[0])
    mean = wanted.mean(0)
    units = mean_squares(mean[None], spacing)
    rows = [
        {"prediction": name, **spectrum_errors(its[None], mean[None], spacing, units)}
        for name, its in made.items() if its is not None
    ]  # fmt: skip
    # Means over every second frame differ by twice the error of the mean over all.
    halves = wanted[::2].mean(0)[None], wanted[1::2].mean(0)[None]
    floor = spectrum_errors(*halves, spacing, units)
    rows.append({
        "prediction": "statistical error of the labels",
        **{name: value / 4.0 for name, value in floor.items() if name != "count"},
    })  # fmt: skip
    curves = {"network": predicted.mean(0), "labels": mean, "spread": wanted.std(0)}
    return {
        **about, "molecule": options.molecule, "temperature_K": kelvin, "labelled": len(places),
        "cpu": _seconds(run, network, label), "rows": rows,
        "energies_eV": observable.energies.round(4).tolist(),
        "error": averaged([{"x": predicted}], "x").error,
        **{name: its.round(7).tolist() for name, its in curves.items()},
    }  # fmt: skip


def _at_rest(atoms: Atoms) -> Atoms:
    """The molecule at the nearest minimum."""
    rest: Atoms = atoms.copy()
    rest.calc = xtb_calculator("GFN2-xTB")
    relax(rest)
    rest.calc = None
    return rest


def _spectra(
    parts: Sequence[dict[str, Array]], energies: Array, edge: float, lines: Broadening
) -> Array:
    """Spectra (F, E) of labels, summed over the absorbers, 1/eV; widths count from the edge."""
    grid = energies - edge
    return np.concatenate(
        [broaden(part["excitations"] - edge, part["strengths"], grid, lines) for part in parts]
    )
