import pytest
import torch

from kstep_integrators.correctors import Impulse, NoCorrection, half_kick, make_corrector
from kstep_integrators.state import Evaluation


def test_the_half_kick_by_hand(state):
    physics = Evaluation(torch.zeros(1), torch.full((9, 3), 3.0, dtype=torch.float64))
    inner = Evaluation(torch.zeros(1), torch.full((9, 3), 1.0, dtype=torch.float64))
    kicked = half_kick(state, Impulse()(state, physics, inner, 0.4, None))
    # h/2 (3 - 1) = 0.4
    torch.testing.assert_close(kicked.momenta, state.momenta + 0.4)
    assert torch.equal(kicked.positions, state.positions)
    assert half_kick(state, NoCorrection()(state, physics, inner, 0.4, None)) is state


def test_fixed_atoms_take_no_kick(state):
    mobile = torch.ones(9, 1, dtype=torch.float64)
    mobile[2] = 0
    state = state.replace(mobile=mobile, momenta=state.momenta * mobile)
    physics = Evaluation(torch.zeros(1), torch.ones(9, 3, dtype=torch.float64))
    inner = Evaluation(torch.zeros(1), torch.zeros(9, 3, dtype=torch.float64))
    kicked = half_kick(state, Impulse()(state, physics, inner, 1.0, None))
    assert kicked.momenta[2].abs().max() == 0
    torch.testing.assert_close(kicked.momenta[3], state.momenta[3] + 0.5)


def test_wrong_correctors_are_refused(state):
    with pytest.raises(ValueError, match="unknown corrector 'magic'"):
        make_corrector("magic", ("impulse",))
    with pytest.raises(ValueError, match="cannot take the corrector 'impulse'; it takes"):
        make_corrector("impulse", ("none",))
    physics = Evaluation(torch.zeros(1), torch.zeros(9, 3))
    with pytest.raises(ValueError, match="needs a jump with a potential"):
        Impulse()(state, physics, None, 1.0, None)
