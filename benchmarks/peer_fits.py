"""Fits of other packages to one file of labels; run by the Python of the peer's own environment.

    PYTHON benchmarks/peer_fits.py {sgdml,mace} LABELS.traj OUTPUT.json
        [--train 20 60 ...] [--test 300] [--limit SECONDS]

Fits the first frames of the file, as many as each of ``--train`` says, and tests on those from
``--test`` on. Imports nothing of this project, whose packages would clash with the peers'.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read

SIGMAS = (5, 10, 20, 40, 80)
"""Length scales of sGDML; the one with the smallest error on the last fifth of the labels wins."""
CHOOSING = 100
"""Labels at most that take part in that choice, evenly spaced."""
MACE: dict[str, Any] = {
    "channels": 32, "vectors": True, "max_ell": 2, "interactions": 2, "correlation": 2,
    "cutoff_A": 5.0, "batch": 10, "learning_rate": 0.01, "ema": 0.99, "dtype": "float32",
    "energy_weight": 1.0, "force_weight": 100.0,
}  # fmt: skip
"""Of the small model; the rest is as in ``mace_run_train``."""
Forces = Callable[[Atoms], "np.ndarray[Any, Any]"]


def cpu_seconds() -> float:
    """Of this process and those that it has waited for."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def rms(frames: list[Atoms], forces: Forces) -> float:
    """Force error per component, meV/angstrom."""
    gaps = [forces(frame) - frame.get_forces() for frame in frames]
    return 1e3 * float(np.sqrt(np.mean(np.square(gaps))))


def microseconds(frames: list[Atoms], forces: Forces) -> float:
    """CPU time of one force, the least of five rounds."""
    rounds = []
    for _ in range(5):
        started = time.process_time()
        for frame in frames[:20]:
            forces(frame)
        rounds.append((time.process_time() - started) / len(frames[:20]))
    return 1e6 * min(rounds)


def sgdml(train: list[Atoms], limit: float) -> tuple[Forces, Any]:
    """Kernel on inverse distances with the permutations that it finds; all length scales tried."""
    from sgdml.predict import GDMLPredict
    from sgdml.train import GDMLTrain

    trainer = GDMLTrain(max_processes=1)

    def dataset(frames: list[Atoms]) -> dict[str, Any]:
        return {
            "type": "d", "name": np.array("labels"), "theory": np.array("labels"),
            "z": frames[0].numbers, "R": np.array([f.positions for f in frames]),
            "F": np.array([f.get_forces() for f in frames]),
            "E": np.array([f.get_potential_energy() for f in frames]),
        }  # fmt: skip

    def model(frames: list[Atoms], sigma: int) -> dict[str, Any]:
        data = dataset(frames)
        task = trainer.create_task(data, len(frames), data, 0, sigma)
        fitted: dict[str, Any] = trainer.train(task)
        return fitted

    def forces(fitted: dict[str, Any]) -> Forces:
        predictor = GDMLPredict(fitted, num_workers=0, max_processes=1)
        return lambda frame: predictor.predict(frame.positions.reshape(1, -1))[1].reshape(-1, 3)

    some = train[:: math.ceil(len(train) / CHOOSING)]
    kept = len(some) - len(some) // 5
    errors = {s: rms(some[kept:], forces(model(some[:kept], s))) for s in SIGMAS}
    best = min(errors, key=errors.__getitem__)
    fitted = model(train, best)
    found = {"sigma": best, "validation_meV_per_A": errors, "permutations": len(fitted["perms"])}
    return forces(fitted), found


def mace(train: list[Atoms], limit: float) -> tuple[Forces, Any]:
    """A small model from scratch: Adam, rate falling as a cosine to zero at the limit of time."""
    import torch
    from mace import data, modules, tools  # first: it lets torch read the constants of its e3nn
    from mace.tools import torch_geometric
    from e3nn import o3  # isort: skip

    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.set_default_dtype(getattr(torch, MACE["dtype"]))
    table = tools.AtomicNumberTable(sorted(set(train[0].numbers.tolist())))
    keys = data.KeySpecification(info_keys={"energy": "label"}, arrays_keys={"forces": "label"})

    def graph(frame: Atoms) -> Any:
        copy = Atoms(frame.numbers, frame.positions)
        copy.info["label"] = frame.get_potential_energy()
        copy.arrays["label"] = frame.get_forces()
        config = data.config_from_atoms(copy, key_specification=keys)
        return data.AtomicData.from_config(config, z_table=table, cutoff=MACE["cutoff_A"])

    def loader(graphs: list[Any], batch: int, shuffle: bool) -> Any:
        return torch_geometric.dataloader.DataLoader(graphs, batch, shuffle=shuffle)

    graphs = [graph(frame) for frame in train]
    energies = np.array([f.get_potential_energy() for f in train]) / len(train[0])
    channels = MACE["channels"]
    model = modules.ScaleShiftMACE(
        r_max=MACE["cutoff_A"], num_bessel=8, num_polynomial_cutoff=5, max_ell=MACE["max_ell"],
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
        num_interactions=MACE["interactions"], num_elements=len(table),
        hidden_irreps=o3.Irreps(f"{channels}x0e + {channels}x1o" if MACE["vectors"]
                                else f"{channels}x0e"),
        MLP_irreps=o3.Irreps("16x0e"), atomic_energies=np.full(len(table), energies.mean()),
        avg_num_neighbors=float(np.mean([g.edge_index.shape[1] / len(train[0]) for g in graphs])),
        atomic_numbers=table.zs, correlation=MACE["correlation"],
        gate=torch.nn.functional.silu, atomic_inter_shift=0.0,
        atomic_inter_scale=float(np.sqrt(np.mean([f.get_forces() ** 2 for f in train]))),
    )  # fmt: skip
    loss_of = modules.WeightedEnergyForcesLoss(MACE["energy_weight"], MACE["force_weight"])
    optimizer = torch.optim.Adam(model.parameters(), MACE["learning_rate"], amsgrad=True)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(MACE["ema"])
    )

    def forces(frame: Atoms) -> Any:
        (batch,) = loader([graph(frame)], 1, False)
        return average.module(batch.to_dict())["forces"].detach().numpy()

    started, steps, epochs = cpu_seconds(), 0, 0
    done = 0.0
    while done < 1.0:
        for batch in loader(graphs, min(MACE["batch"], len(graphs) // 5), True):
            for group in optimizer.param_groups:
                group["lr"] = MACE["learning_rate"] * 0.5 * (1 + math.cos(math.pi * min(done, 1)))
            optimizer.zero_grad()
            loss_of(batch, model(batch.to_dict(), training=True)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            average.update_parameters(model)
            steps += 1
            done = (cpu_seconds() - started) / limit
        epochs += 1
    weights = sum(p.numel() for p in model.parameters())
    return forces, {**MACE, "weights": weights, "steps": steps, "epochs": epochs}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=("sgdml", "mace"))
    parser.add_argument("labels", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--train", type=int, nargs="+", default=[20, 60, 150, 300])
    parser.add_argument("--test", type=int, default=300)
    parser.add_argument("--limit", type=float, default=300.0, help="CPU seconds of one fit")
    given = parser.parse_args()
    frames: list[Atoms] = list(read(given.labels, ":"))
    fit = {"sgdml": sgdml, "mace": mace}[given.peer]
    versions = {"sgdml": "sgdml", "mace": "mace-torch"}
    rows = []
    for count in given.train:
        wall, cpu = time.perf_counter(), cpu_seconds()
        forces, settings = fit(frames[:count], given.limit)
        row = {
            "peer": given.peer, "version": importlib.metadata.version(versions[given.peer]),
            "labels": count, "seconds": time.perf_counter() - wall,
            "cpu_seconds": cpu_seconds() - cpu,
            "test_meV_per_A": rms(frames[given.test :], forces),
            "train_meV_per_A": rms(frames[:count], forces),
            "microseconds": microseconds(frames[given.test :], forces), "settings": settings,
        }  # fmt: skip
        rows.append(row)
        given.output.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
