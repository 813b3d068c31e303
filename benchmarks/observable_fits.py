"""Fits of observables to labels, one setting changed at a time, and learning curves.

Each variant is the base set of overrides with a few more, fitted once for each seed by the stage
that ``kstep fit`` is. A fit that is finished is not made again, one that was interrupted goes on;
results have all that are finished, so that variants can be fitted one at a time:

    python -m benchmarks.run --suite coupling_fits --variants base
    python -m benchmarks.run --suite coupling_fits --variants no-field-node labels-50

What differs by no more than fits of other seeds do is no difference. Finished fits are known by
labels and overrides: after a change of the networks, take another ``--cache``.
"""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.callbacks import Callback

from benchmarks.results import kept, machine
from benchmarks.suite import Options, option
from kstep_integrators.observables.observable_file import read_observable
from kstep_training.observables.fit.errors import coupling_errors
from kstep_training.observables.fit.fit_data import FIT_STAGES, make_fit_data
from kstep_training.observables.fit.fit_observable import fit_observable
from kstep_training.observables.labels.label_folder import Labels, read_labels
from kstep_training.options import override

__all__ = ["BASE", "DATA", "coupling_fits", "spectrum_fits", "unpacked", "variants"]

DATA = Path(__file__).parent / "data"
BASE: dict[str, tuple[str, ...]] = {
    "couplings": (
        "split.held_out=[C2H4+C4H4S]", "network.layers=3", "network.lmax=2", "network.radial=20",
        "fit.epochs=40",
    ),
    "xanes": (
        "split.held_out=[C2H4O,C2H7N]", "grid.stop_eV=14", "fit.batch_size=8", "fit.epochs=60",
    ),
}  # fmt: skip
"""Overrides of all variants, by kind of labels; everything else is as ``kstep fit`` has it."""
CURVE = (50, 100, 200, 400, 800)
"""Labels of learning curves, as far as there are more of them than that."""
REFERENCES = ("reference", "reference_2")


def variants(kind: str, base: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Overrides of each variant beyond the base, by its name.

    The base has a twin fitted beside it: a network without V0, or one of scalars only.
    """
    stage: Any = override(FIT_STAGES[kind], base)
    lmax, jitter = stage.network.lmax, stage.fit.jitter
    found: dict[str, tuple[str, ...]] = {"base": ("twin=true",)}
    if kind == "couplings":
        found["no-field-node"] = ("network.field_node=false",)
        degrees = [degree for degree in (lmax - 1, lmax + 1) if degree > 0]
        found |= {f"lmax-{degree}": (f"network.lmax={degree}",) for degree in degrees}
        found["no-orbital-pairs"] = ("network.orbital_pairs=false",)
        found["magnitude"] = ("network.orbital_pairs=false", "magnitude=true")
    else:
        found["no-attention"] = ("network.pooling=absorber",)
        found["no-norms"] = ("network.norms=false",)
    found["no-jitter" if jitter else "jitter"] = (f"fit.jitter={0.0 if jitter else 0.01}",)
    for count in CURVE:
        # Few labels are seen more often: an epoch of them has few steps.
        epochs = stage.fit.epochs * min(4, CURVE[-1] // count)
        found[f"labels-{count}"] = (f"split.labels={count}", f"fit.epochs={epochs}")
    return found


def unpacked(source: Path, cache: Path) -> Path:
    """A folder of labels: the source itself, or what its ZIP archive holds, unpacked once.

    ValueError: if an archive has no folder ``labels``.
    """
    if source.is_dir():
        return source
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    folder = cache / f"{source.stem}-{digest}"
    if not (folder / "labels").is_dir():
        with zipfile.ZipFile(source) as archive:
            archive.extractall(folder)
    if not (folder / "labels" / "manifest.json").is_file():
        raise ValueError(f"{source} has no labels/manifest.json; expected what kstep label leaves")
    return folder / "labels"


class ProcessorSeconds(Callback):
    """Seconds of the processor in each fit, kept in its folder over interruptions."""

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to count."""
        del pl_module
        self.file = Path(trainer.checkpoint_callback.dirpath) / "seconds.json"
        self.before = json.loads(self.file.read_text()) if self.file.exists() else 0.0
        self.began = time.process_time()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Keep what an epoch took."""
        del trainer, pl_module
        self.file.write_text(json.dumps(self.before + time.process_time() - self.began))


def _fit(folder: Path, kind: str, overrides: tuple[str, ...], labels: Path) -> dict[str, Any]:
    """One variant: errors of all parts, of the network, its twin and simple predictions."""
    stage = override(FIT_STAGES[kind], overrides)
    path = fit_observable(stage, labels, folder, [ProcessorSeconds()])
    network, header, _ = read_observable(path)
    data = make_fit_data(stage, read_labels(labels))
    train = data.samples["train"]
    fitted = data.target.errors(data.target.predicted(network, train), train, train)
    report = json.loads((folder / "evaluation.json").read_text())
    record = header.training
    seconds = {"network": folder, data.target.twin_name: folder / "twin"}
    return {
        "overrides": list(overrides),
        "labels": record["labels"],
        "epochs": record["epochs"],
        "validation": record["validation"],
        "cpu_seconds": {
            name: json.loads((place / "seconds.json").read_text())
            for name, place in seconds.items()
            if place.is_dir()
        },
        "weights": sum(one.numel() for one in network.parameters()),
        "parts": {"train": {"network": fitted}, **report["parts"]},
        "kinds": report["kinds"],
        "versions": {**machine()["versions"], **record["versions"]},
    }


def _rows(options: FitOptions, kind: str, labels: Labels, source: Path) -> list[dict[str, Any]]:
    """All variants that are asked for, or finished."""
    base = (*BASE[kind], *options.overrides)
    known = variants(kind, base)
    counts = make_fit_data(override(FIT_STAGES[kind], base), labels).samples
    known = {
        name: more for name, more in known.items()
        if not name.startswith("labels-") or int(name[7:]) < len(counts["train"])
    }  # fmt: skip
    if strange := set(options.variants) - set(known):
        raise ValueError(
            f"variants has {', '.join(sorted(strange))}, expected some of {', '.join(known)}"
        )
    place, rows = options.cache / f"{kind}_fits", []
    seeds = {int(file.stem.split("-")[-2]) for file in place.glob("*.json")} | {*options.seeds}
    asked = options.variants or tuple(known)
    for name, more in known.items():
        for seed in sorted(seeds):
            overrides = (*base, f"fit.seed={seed}", *more)
            made_of = json.dumps([overrides, labels.digest]).encode()
            folder = place / f"{name}-{seed}-{hashlib.sha256(made_of).hexdigest()[:8]}"
            file = folder.with_name(f"{folder.name}.json")
            if file.exists() or (name in asked and seed in options.seeds):
                row = kept(file, lambda: _fit(folder, kind, overrides, source))  # noqa: B023
                rows.append({"variant": name, "seed": seed, **row})
    return rows


def _agreement(labels: Labels) -> dict[str, Any]:
    """Couplings by two reference methods: how far the first is from the second."""
    parts = [part for part in labels.parts if "reference_2" in part]
    if not parts:
        raise ValueError("second has labels of one method; label with reference_2=METHOD")
    kinds = np.concatenate([np.full(len(p["frame"]), str(p["kind"])) for p in parts])
    first, second = (np.abs(np.concatenate([p[name] for p in parts])) for name in REFERENCES)
    slope, offset = np.polyfit(first, second, 1)
    chosen = {"all": np.full(len(kinds), True)} | {k: kinds == k for k in sorted({*kinds.tolist()})}
    return {
        "methods": [labels.settings[name] for name in REFERENCES],
        "slope": float(slope),
        "offset_meV": 1e3 * float(offset),
        "rows": [
            {
                "kind": kind,
                "plain": coupling_errors(first[of], second[of], 1.0),
                "line": coupling_errors(slope * first[of] + offset, second[of], 1.0),
            }
            for kind, of in chosen.items()
        ],
    }


@dataclass(frozen=True)
class FitOptions(Options):
    """Variants that are fitted."""

    variants: tuple[str, ...] = option((), "some of them, and those that are finished; all")
    seeds: tuple[int, ...] = option((0,), "of weights, order, jitter: each variant for each")
    overrides: tuple[str, ...] = option((), "KEY=VALUE of kstep fit, beyond the base set")


@dataclass(frozen=True)
class CouplingFitOptions(FitOptions):
    """Labels of couplings, and variants."""

    labels: Path = option(DATA / "couplings_labels.zip", "ZIP or folder of labels")
    second: Path = option(
        DATA / "couplings_pbe0_labels.zip",
        "ZIP or folder of labels by two methods, left out where there is none",
    )

    @classmethod
    def smoke(cls, cache: Path) -> CouplingFitOptions:
        """One epoch of two variants."""
        tiny = ("fit.epochs=1", "network.layers=1", "network.radial=4", "fit.batch_size=64")
        return cls(cache, ("no-field-node", "labels-50"), overrides=tiny)


@dataclass(frozen=True)
class SpectrumFitOptions(FitOptions):
    """Labels of spectra, and variants."""

    labels: Path = option(DATA / "xanes_labels.zip", "ZIP or folder of labels")

    @classmethod
    def smoke(cls, cache: Path) -> SpectrumFitOptions:
        """One epoch of a small network."""
        tiny = ("fit.epochs=1", "network.layers=1", "network.features=8x0e+4x1o", "network.lmax=1",
                "grid.spacing=0.4", "fit.batch_size=64")  # fmt: skip
        return cls(cache, ("labels-50",), overrides=tiny)


def coupling_fits(options: CouplingFitOptions) -> dict[str, Any]:
    """Errors of couplings: variants of the network and of the fit, by number of labels."""
    folder = unpacked(options.labels, options.cache)
    labels = read_labels(folder)
    result = {"base": [*BASE["couplings"], *options.overrides], "labels": labels.settings}
    if options.second.exists():
        result["second"] = _agreement(read_labels(unpacked(options.second, options.cache)))
    return {**result, "rows": _rows(options, "couplings", labels, folder)}


def spectrum_fits(options: SpectrumFitOptions) -> dict[str, Any]:
    """Errors of spectra: variants of the network and of the fit, by number of labels."""
    folder = unpacked(options.labels, options.cache)
    labels = read_labels(folder)
    result = {"base": [*BASE["xanes"], *options.overrides], "labels": labels.settings}
    return {**result, "rows": _rows(options, "xanes", labels, folder)}
