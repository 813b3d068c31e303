"""Repulsion at close contact."""

import numpy as np
import pytest
import torch
from ase.data import covalent_radii

from kstep_integrators.mechanics.padding import make_padding
from kstep_integrators.nn.common.graph import displacements
from kstep_integrators.nn.common.neighbor_lists import dense_graph
from kstep_integrators.nn.energy.heads import Repulsion
from kstep_integrators.nn.energy.network import EnergyNetwork
from tests.conftest import ELEMENTS


@pytest.mark.parametrize("pair", [(1, 1), (1, 6), (1, 8), (6, 6), (6, 7), (7, 8), (8, 8)])
def test_repulsion_pushes_apart_and_vanishes_at_bond_length(pair):
    net = EnergyNetwork(ELEMENTS, channels=8, layers=1).double()
    numbers = torch.tensor(pair)
    graph = dense_graph(net.species_of[numbers], make_padding(torch.zeros(2, dtype=torch.int64)))
    repulsion = net.repulsion
    bond = covalent_radii[pair[0]] + covalent_radii[pair[1]]
    previous = np.inf
    for d in np.linspace(0.05, bond, 20):
        x = torch.tensor([[0, 0, 0], [d, 0, 0]], dtype=torch.float64)[None]
        energy = float(repulsion(displacements(x, graph)[1], graph).sum())
        assert 0 <= energy < previous
        previous = energy
    assert previous == 0


def test_screened_coulomb_by_hand():
    # two carbons at 0.5 A: a = 0.88534 * 0.529177 / (2 * 6^0.23) = 0.155123 A, x = 3.22325
    # phi = 0.18175 e^-10.3138 + 0.50986 e^-3.03724 + 0.28022 e^-1.29865 + 0.02817 e^-0.649871
    #     = 0.000006 + 0.024452 + 0.076477 + 0.014707 = 0.115642
    # 36 * 14.399645 / 0.5 * 0.115642 = 119.896 eV; u = 0.5 / 1.52, cutoff = 0.811...
    graph = dense_graph(torch.tensor([0, 0]), make_padding(torch.zeros(2, dtype=torch.int64)))
    d = torch.tensor([[[0.0, 0.5], [0.5, 0.0]]], dtype=torch.float64)
    d[0, 0, 0] = d[0, 1, 1] = 1000.0
    energy = Repulsion([6], torch.tensor([[1.52]])).double()(d, graph).sum()
    u = 0.5 / 1.52
    cut = 1 - 35 * u**4 + 84 * u**5 - 70 * u**6 + 20 * u**7
    assert float(energy) == pytest.approx(119.896 * cut, rel=1e-3)
