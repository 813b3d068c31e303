"""The exchange between a step and the jump's force, from one stage to the next."""

import numpy as np
import pytest
import torch

from kstep_integrators.correctors import CORRECTORS
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.openmm.stages import (
    CORRECTOR_CODES,
    CORRECTORS_BY_CODE,
    BondMemory,
    Exchange,
    Stage,
)
from kstep_integrators.state import PhaseState
from tests.conftest import hot


def hot_state(scale: float) -> PhaseState:
    """Ethanol, scaled."""
    molecule = hot()
    x = torch.from_numpy(scale * molecule.positions)
    masses = torch.from_numpy(molecule.get_masses())
    return make_state(torch.from_numpy(molecule.numbers), masses, x, torch.zeros_like(x))


def test_memory():
    """Rounded positions are known again; the oldest geometries are not."""
    memory, state = BondMemory(), hot_state(1.0)
    bonded = memory.at(state.positions.numpy() / 10.0, state)
    stretched = hot_state(1.05)
    assert memory.at(stretched.positions.numpy() / 10.0 + 4e-7, stretched) is not bonded
    assert memory.at(state.positions.numpy() / 10.0 + 4e-7, state) is bonded
    for number in range(64):
        memory.put(np.full((9, 3), float(number)), bonded)
    assert memory.at(state.positions.numpy() / 10.0, state) is not bonded


def test_each_stage_has_a_meaning():
    assert all(stage.meaning for stage in Stage)


def test_codes_of_correctors():
    assert {name: CORRECTORS_BY_CODE[code].name for name, code in CORRECTOR_CODES.items()} == {
        name: name for name, kind in CORRECTORS.items() if not kind.averages
    }


def test_positions_come_first():
    with pytest.raises(RuntimeError, match="without the positions before it"):
        Exchange().here()
