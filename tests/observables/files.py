"""Files of observables with networks as they are before any fit, and structures for them."""

from pathlib import Path

import torch
from ase import Atoms
from ase.build import molecule

from kstep_integrators.observables.networks.delta_coupling import DeltaCoupling
from kstep_integrators.observables.networks.xanes import XANESNetwork
from kstep_integrators.observables.observable_file import ObservableHeader, write_observable


def ethene_pair(distance: float = 3.8, slide: float = 0.6, turn: float = 0.0) -> Atoms:
    """Two molecules, one turned about its axis (degrees): at 180 the sign is the other."""
    one, other = molecule("C2H4"), molecule("C2H4")
    other.rotate(turn, "z")
    other.translate([distance, slide, 0.0])
    return one + other


def couplings_file(path: Path) -> Path:
    """Of a network that corrects nothing."""
    torch.manual_seed(0)
    network = DeltaCoupling([1, 6], layers=1, lmax=1, radial=4)
    header = ObservableHeader("pairs", "HF/def2-svp", cheap_method="GFN2-xTB", carrier="hole")
    write_observable(path, network, header)
    return path


def spectra_file(path: Path, edges: dict[int, float] | None = None) -> Path:
    torch.manual_seed(0)
    network = XANESNetwork([1, 6, 8], edges or {6: 285.0}, [0.0, 1.0, 2.0, 3.0], layers=1)
    write_observable(path, network, ObservableHeader("carbon", "CAM-B3LYP/6-31G"))
    return path
