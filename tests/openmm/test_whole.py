"""A solute whose particles are given in any periodic images is put together."""

import numpy as np
import pytest

from kstep_integrators.openmm.whole import Tree, tree_of
from tests.openmm.periodic_systems import CUBE, SLANTED


def chain(length, count=12):
    """Particles in a row, in no order, a fifth of a nanometre or less apart."""
    x = np.zeros((count, 3))
    x[:, 0] = np.linspace(0.0, length, count)
    return np.random.default_rng(1).permutation(x + 0.3)


@pytest.mark.parametrize("box", [CUBE, SLANTED], ids=["cube", "slanted"])
@pytest.mark.parametrize("length", [0.5, 1.3], ids=["short", "longer than half the box"])
def test_pieces_are_put_together(box, length):
    x = np.vstack([np.zeros((2, 3)), chain(length)])
    atoms = np.arange(2, len(x))
    torn = x.copy()
    torn[2:] += np.random.default_rng(2).integers(-2, 3, (len(atoms), 3)) @ box
    tree = tree_of(atoms, torn, box)
    found = tree.whole(torn, box)
    assert np.array_equal(found[:2], x[:2])
    assert found[2:] - found[2] == pytest.approx(x[2:] - x[2], abs=1e-12)
    assert found[2] == pytest.approx(torn[2])
    assert tree.whole(x, box) is x


def test_one_particle_is_whole():
    x = np.array([[9.0, 0.0, 0.0], [-7.0, 0.0, 0.0]])
    assert tree_of(np.array([1]), x, CUBE).whole(x, CUBE) is x


def test_links_that_are_too_long():
    x = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.65]])
    with pytest.raises(ValueError, match=r"particle 1 .* is 0.42 .* from particle 0.*at most 0.4"):
        tree_of(np.arange(2), x, CUBE)
    tree = Tree(np.arange(2), np.zeros(2, dtype=int))
    with pytest.raises(ValueError, match="larger box"):
        tree.whole(x, CUBE)
    assert tree.whole(0.9 * x, CUBE) is not None


def test_a_solute_that_touches_its_image():
    x = chain(1.45, 11)
    with pytest.raises(ValueError, match="touches its own image"):
        tree_of(np.arange(11), x, CUBE)
