"""Folders of labels whose couplings and spectra follow a law that is known, and cost nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

MOLECULES = {
    "HF": ([1, 9], [[0.0, 0.0, -0.5], [0.0, 0.0, 0.5]]),
    "H2O": ([8, 1, 1], [[0.0, 0.0, 0.1], [0.0, 0.76, -0.5], [0.0, -0.76, -0.5]]),
}


def write_folder(
    folder: Path, kind: str, settings: dict[str, Any], parts: dict[str, dict[str, Any]]
) -> Path:
    """A folder as the stage ``label`` leaves it."""
    (folder / "parts").mkdir(parents=True)
    reports = {}
    for name, arrays in parts.items():
        np.savez_compressed(folder / "parts" / f"{name}.npz", **arrays)
        reports[name] = {"status": "done", "frames": len(arrays["frame"])}
    manifest = {"settings": {"kind": kind, "label": settings}, "parts": reports}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def orientation(rng: np.random.Generator) -> Array:
    """A rotation matrix."""
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return np.asarray(q * np.linalg.det(q))


def coupling_part(kind: str, trajectory: str, frames: int, seed: int) -> dict[str, Any]:
    """Dimers: V0 falls with R, and Vref is larger by what depends on distances of the atoms."""
    rng = np.random.default_rng(seed)
    a, b = (MOLECULES[name] for name in kind.split("+"))
    numbers = np.array([*a[0], *b[0]])
    molecule = np.repeat([0, 1], [len(a[0]), len(b[0])])
    rows: dict[str, list[Any]] = {}
    for _ in range(frames):
        distance = rng.uniform(3.2, 5.0)
        first, second = (
            np.array(x) @ orientation(rng).T + rng.normal(scale=0.03, size=np.shape(x))
            for x in (a[1], b[1])
        )
        first, second = first - first.mean(0), second - second.mean(0)
        direction = orientation(rng)[0]
        positions = np.concatenate([first, second + distance * direction])
        charges = np.where(numbers == 1, 0.3, -0.6) + 0.05 * rng.normal(size=len(numbers))
        x = positions - positions.mean(0)
        tensor = 1.5 * np.einsum("n,ni,nj->ij", charges, x, x)
        tensor -= 0.5 * np.eye(3) * np.einsum("n,ni,ni->", charges, x, x)
        cheap = 0.05 * np.exp(-(distance - 3.2) / 1.2)
        between = np.linalg.norm(
            positions[molecule == 0][:, None] - positions[molecule == 1], axis=-1
        )
        reference = 1.3 * cheap + 0.03 * np.exp(-(between.min() - 2.0) / 1.0)
        sign = rng.choice([-1.0, 1.0])
        phase = np.where(molecule == 1, sign, 1.0)
        row = {
            "positions": positions,
            "populations": np.stack([charges + 2.0, 3.0 - charges, 0.0 * charges], axis=-1),
            "orbital": np.outer(phase, [0.5, 0.0, 0.0, 0.0]),
            "dipole": charges @ x,
            "quadrupole": tensor[[0, 0, 1, 0, 1, 2], [0, 1, 1, 2, 2, 2]],
            "separation": distance,
            "angle": rng.uniform(0.0, np.pi / 2.0),
            "participation": 1.0 + rng.uniform(),
            "cheap": sign * cheap,
            "reference": sign * reference,
        }
        for key, value in row.items():
            rows.setdefault(key, []).append(value)
    return {
        **{key: np.array(values, dtype=float) for key, values in rows.items()},
        **common(numbers, frames, trajectory, kind),
        "molecule": molecule,
    }


def common(numbers: Any, frames: int, trajectory: str, kind: str) -> dict[str, Any]:
    return {
        "numbers": np.asarray(numbers),
        "frame": np.arange(frames),
        "time_fs": 10.0 * np.arange(frames),
        "trajectory": np.array(trajectory),
        "kind": np.array(kind),
    }


def coupling_labels(
    folder: Path, kinds: tuple[str, ...] = ("H2O+HF",), trajectories: int = 6, frames: int = 20
) -> Path:
    """A folder of couplings."""
    parts = {}
    for k, kind in enumerate(kinds):
        for i in range(trajectories):
            name = f"{kind.replace('+', '-')}-{i}"
            parts[f"{name}.0"] = coupling_part(kind, name, frames, seed=100 * k + i)
    settings = {"reference": "HF/def2-SVP", "carrier": "hole"}
    return write_folder(folder, "couplings", settings, parts)


def spectrum_part(trajectory: str, frames: int, seed: int) -> dict[str, Any]:
    """Water: two lines of oxygen that move with the bonds, as strong as the angle is open."""
    rng = np.random.default_rng(seed)
    numbers, start = MOLECULES["H2O"]
    positions = np.array(start) + rng.normal(scale=0.06, size=(frames, 3, 3))
    bonds = positions[:, 1:] - positions[:, :1]
    lengths = np.linalg.norm(bonds, axis=-1)
    cosine = np.einsum("fi,fi->f", bonds[:, 0], bonds[:, 1]) / lengths.prod(1)
    excitations = 530.0 + np.stack(
        [-4.0 * (lengths.mean(1) - 0.97), 3.0 - 5.0 * np.abs(lengths[:, 0] - lengths[:, 1])], axis=1
    )
    excitations = np.concatenate([excitations, np.full((frames, 1), 536.0)], axis=1)
    strengths = np.stack([0.05 * (1.0 - cosine), 0.03 * (2.0 + cosine)], axis=1)
    strengths = np.concatenate([strengths, np.zeros((frames, 1))], axis=1)
    return {
        **common(numbers, frames, trajectory, "H2O"),
        "positions": positions,
        "absorbers": np.array([0]),
        "excitations": excitations,
        "strengths": strengths,
        "hole": np.ones((frames, 3, 1)),
    }


def spectrum_labels(folder: Path, trajectories: int = 6, frames: int = 20) -> Path:
    """A folder of spectra."""
    parts = {
        f"water-{i}.0": spectrum_part(f"water-{i}", frames, seed=i) for i in range(trajectories)
    }
    settings = {"xc": "camb3lyp", "basis": "def2-svp", "tda": False, "charge": 0, "element": "O"}
    return write_folder(folder, "xanes", settings, parts)
