"""Time of one call for energy and forces through ASE; run by the Python of a peer's environment.

    PYTHON benchmarks/peer_speed.py {kstep,eager,mace,schnetpack,torchani,sgdml} FRAMES.traj OUT

Networks have the weights they were initialized with, which do for time. Each call is at another of
the frames, one after the other. But for ``kstep`` and ``eager``, the network of this project by its
kernel and in PyTorch, nothing of this project is imported, whose packages would clash with the
peers'.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read

SECONDS, LABELS = 2.0, 200
"""Of calls; frames that sGDML's model stands on."""
CUTOFF, CHANNELS, LAYERS = 5.0, 64, 3
MACE = {"channels": 32, "interactions": 2, "max_ell": 2, "correlation": 2}
"""Of the small model of ``peer_fits.py``."""
PACKAGES = {"kstep": "kstep-integrators", "eager": "kstep-integrators", "mace": "mace-torch"}


def kstep(frames: list[Atoms], folder: Path, backend: str = "auto") -> tuple[Any, dict[str, Any]]:
    """The bundled network by what is taken by default, the kernel."""
    from benchmarks.wall_clock import NetworkCalculator

    calculator = NetworkCalculator(backend)
    weights = sum(p.numel() for p in calculator.potential.network.parameters())
    return calculator, {"backend": calculator.potential.backend, "weights": weights}


def eager(frames: list[Atoms], folder: Path) -> tuple[Any, dict[str, Any]]:
    """The same in PyTorch."""
    return kstep(frames, folder, "eager")


def mace(frames: list[Atoms], folder: Path) -> tuple[Any, dict[str, Any]]:
    """A small model."""
    from mace import modules  # first: it lets torch read the constants of its e3nn
    from mace.calculators import MACECalculator
    from e3nn import o3  # isort: skip
    import torch

    torch.set_default_dtype(torch.float32)
    numbers, channels = [1, 6, 7, 8], MACE["channels"]
    model = modules.ScaleShiftMACE(
        r_max=CUTOFF, num_bessel=8, num_polynomial_cutoff=5, max_ell=MACE["max_ell"],
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
        num_interactions=MACE["interactions"], num_elements=len(numbers),
        hidden_irreps=o3.Irreps(f"{channels}x0e + {channels}x1o"), MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.zeros(len(numbers)), avg_num_neighbors=10.0, atomic_numbers=numbers,
        correlation=MACE["correlation"], gate=torch.nn.functional.silu, atomic_inter_shift=0.0,
        atomic_inter_scale=1.0,
    )  # fmt: skip
    weights = sum(p.numel() for p in model.parameters())
    calculator = MACECalculator(models=[model], device="cpu", default_dtype="float32")
    return calculator, {"weights": weights, "channels": channels, "layers": MACE["interactions"]}


def schnetpack(frames: list[Atoms], folder: Path) -> tuple[Any, dict[str, Any]]:
    """PaiNN of the size of the bundled network."""
    import torch

    # SchNetPack 2.0 takes a type variable from there, which newer versions of PyTorch have not.
    torch.utils.data.dataloader.T_co = Any  # type: ignore[attr-defined]
    import schnetpack as spk
    from schnetpack.interfaces.ase_interface import SpkCalculator
    from schnetpack.transform import ASENeighborList

    network = spk.representation.PaiNN(
        n_atom_basis=CHANNELS, n_interactions=LAYERS, radial_basis=spk.nn.GaussianRBF(16, CUTOFF),
        cutoff_fn=spk.nn.CosineCutoff(CUTOFF),
    )  # fmt: skip
    model = spk.model.NeuralNetworkPotential(
        network,
        [spk.atomistic.PairwiseDistances()],
        [spk.atomistic.Atomwise(CHANNELS, output_key="energy"), spk.atomistic.Forces()],
    )
    weights = sum(p.numel() for p in model.parameters())
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # the file is a whole module, made here
    with tempfile.TemporaryDirectory() as folder:
        torch.save(model, f"{folder}/model")
        calculator = SpkCalculator(
            model_file=f"{folder}/model", neighbor_list=ASENeighborList(CUTOFF),
            energy_key="energy", force_key="forces", energy_unit="eV", position_unit="Ang",
        )  # fmt: skip
    return calculator, {"weights": weights, "channels": CHANNELS, "layers": LAYERS}


def torchani(frames: list[Atoms], folder: Path) -> tuple[Any, dict[str, Any]]:
    """One network much like one of the eight that ANI-2x averages."""
    from torchani.arch import simple_ani

    model = simple_ani(("H", "C", "N", "O"), lot="b973c-def2mtzvp")
    weights = sum(p.numel() for p in model.parameters())
    return model.ase(), {"weights": weights, "members": 1}


def sgdml(frames: list[Atoms], folder: Path) -> tuple[Any, dict[str, Any]]:
    """A model on as many frames as it takes for a small error, their labels made up."""
    from sgdml.intf.ase_calc import SGDMLCalculator
    from sgdml.predict import GDMLPredict
    from sgdml.train import GDMLTrain

    file = folder / f"sgdml-{frames[0].symbols}.npz"  # made once: it takes minutes
    if not file.exists():
        rng = np.random.default_rng(0)
        x = frames[0].positions + 0.1 * rng.normal(size=(LABELS, len(frames[0]), 3))
        data = {
            "type": "d", "name": np.array("made up"), "theory": np.array("made up"),
            "z": frames[0].numbers, "R": x, "F": rng.normal(size=x.shape), "E": np.zeros(LABELS),
        }  # fmt: skip
        trainer = GDMLTrain(max_processes=1)
        task = trainer.create_task(data, LABELS, data, 0, 20, use_sym=False)
        np.savez(file, **trainer.train(task))
    calculator = SGDMLCalculator(str(file))
    # As it stands it would start a pool of processes.
    fitted = np.load(file, allow_pickle=True)
    calculator.gdml_predict = GDMLPredict(fitted, num_workers=0, max_processes=1)
    return calculator, {"labels": LABELS, "permutations": len(fitted["perms"])}


PEERS = {f.__name__: f for f in (kstep, eager, mace, schnetpack, torchani, sgdml)}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=sorted(PEERS))
    parser.add_argument("frames", type=Path)
    parser.add_argument("output", type=Path)
    given = parser.parse_args()
    frames: list[Atoms] = list(read(given.frames, ":"))
    calculator, about = PEERS[given.peer](frames, given.output.parent)
    atoms, times = frames[0].copy(), list[float]()
    atoms.calc = calculator
    for frame in frames[:3]:
        atoms.positions = frame.positions
        atoms.get_forces()
    while sum(times) < SECONDS or len(times) < 3:
        atoms.positions = frames[len(times) % len(frames)].positions
        began = time.process_time()
        atoms.get_forces()
        atoms.get_potential_energy()  # most have kept it; asked for first, forces would cost anew
        times.append(time.process_time() - began)
    version = importlib.metadata.version(PACKAGES.get(given.peer, given.peer))
    row = {"peer": given.peer, "version": version, "us": 1e6 * statistics.median(times), **about}
    given.output.write_text(json.dumps(row))


if __name__ == "__main__":
    main()
