"""Fields of the header of a model file."""

from __future__ import annotations

import dataclasses
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from safetensors import safe_open
from safetensors.torch import save_file

from kstep_integrators import KStepDynamics, load_model
from kstep_integrators.models.model_file import ModelHeader, write_model
from tests.conftest import hot, network, physics
from tests.what_is_set.table import HONOURED, Row, Section, no_such_moment, outcome_of

__all__ = ["SECTION", "missing"]

_KEY = "kstep_integrators"


def _write(path: Path, **changes: Any) -> Path:
    """A model file whose header has other values, as they stand in the file."""
    built = network()
    whole = path.with_suffix(".whole")
    write_model(whole, built, ModelHeader("untrained", built.config, "none"))
    with safe_open(str(whole), framework="pt") as handle:
        described = json.loads(handle.metadata()[_KEY])
        weights = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    described |= changes
    save_file(weights, str(path), {_KEY: json.dumps(described)})
    return path


def _molecule() -> Atoms:
    atoms = hot()
    atoms.calc = physics()
    return atoms


def _run(path: Path, atoms: Atoms | None = None) -> KStepDynamics:
    model = load_model(path, device="cpu", dtype=torch.float64)
    return KStepDynamics(atoms or _molecule(), model, k=2)


def _warned(word: str, **info: int) -> Any:
    """A run of ethanol that says otherwise in ``info`` is warned of with a word."""

    def probe(path: Path) -> str:
        atoms = _molecule()
        atoms.info.update(info)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            _run(path, atoms)
        return "warned of" if any(word in str(one.message) for one in said) else "not asked"

    return probe


def _told(name: str) -> Any:
    """What a loaded model says of itself."""

    def probe(path: Path) -> str:
        value = getattr(load_model(path, device="cpu").header, name)
        return HONOURED if value == CHANGES[name][0] else "lost"

    return probe


def _stepped(path: Path) -> str:
    """The base step of a run that asks for none."""
    return HONOURED if np.isclose(_run(path).dt, 2 * 0.4 * units.fs) else "ignored"


def _periodic(path: Path) -> str:
    """A run in a cell is accepted."""
    atoms = _molecule()
    atoms.set_cell([20.0] * 3)
    atoms.set_pbc(True)
    return outcome_of(lambda: _run(path, atoms), ("periodic",))


def _based(path: Path) -> str:
    """Without the potential that it corrects it is not loaded."""
    outcome = outcome_of(lambda: load_model(path), ("base",))
    return HONOURED if outcome == "refused" else "ignored"


_FEW = {**network().config, "elements": [1, 6, 7], "shifts": [0.0] * 3}

CHANGES: dict[str, tuple[Any, Any, Any]] = {
    "name": ("other", 3, _told("name")),
    "network": (_FEW, [1], None),
    "method": ("GFN1-xTB", 3, _told("method")),
    "kind": ("increments", "flow", None),
    "constraints": ("HBonds", 3, _told("constraints")),
    "charge": ([1, 1], ["a", 1], _warned("charge", charge=0)),
    "multiplicities": ([3], "one", _warned(
        "multiplicit", multiplicity=1)),
    "periodic": (True, "maybe", _periodic),
    "timestep_fs": (0.4, -1.0, _stepped),
    "licence": ("CC0", 3, _told("licence")),
    "base": ({"calculator": "another"}, 3, _based),
    "training": ({"recipe": "other"}, [1], _told("training")),
}  # fmt: skip
"""Another value as it stands in the file, one without sense, and the probe of the first."""


def _unlike(path: Path) -> str:
    """Header and weights that do not fit are refused."""
    outcome = outcome_of(lambda: load_model(path), ("header", "weights"))
    return HONOURED if outcome == "refused" else "ignored"


@dataclass(frozen=True)
class FieldRow:
    """One field of the header."""

    name: str

    def row(self) -> Row:
        return Row(self.name, (self.set, self.refuse, no_such_moment, no_such_moment, self.resumed))

    def set(self, folder: Path) -> str:
        path = _write(folder / "model.safetensors", **{self.name: CHANGES[self.name][0]})
        probe = CHANGES[self.name][2] or _unlike
        outcome: str = probe(path)
        return outcome

    def refuse(self, folder: Path) -> str:
        path = _write(folder / "model.safetensors", **{self.name: CHANGES[self.name][1]})
        return outcome_of(lambda: load_model(path), ("header",))

    def resumed(self, folder: Path) -> str:
        path = _write(folder / "model.safetensors")
        atoms = _molecule()
        run = KStepDynamics(
            atoms, load_model(path, device="cpu"), k=2, checkpoint=folder / "run.ckpt"
        )
        run.run(2)
        _write(path, **{self.name: CHANGES[self.name][0]})
        return outcome_of(
            lambda: KStepDynamics.resume(folder / "run.ckpt", physics()), ("model", "header")
        )


SECTION = Section(
    "Model files",
    "Fields of the header. *set*: a run asks for it, or it is told by `model.header`; *saved and "
    "resumed*: the file has another value when a run goes on with it.",
    [FieldRow(name).row() for name in CHANGES],
)


def missing() -> set[str]:
    """Fields that no row tries."""
    return {field.name for field in dataclasses.fields(ModelHeader)} ^ {*CHANGES}
