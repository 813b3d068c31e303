"""Errors of landings, with answers worked out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kstep_integrators.diagnostics import Landings, jump_errors, mean_structure_errors


def water(angle: float = 100.0, first: float = 1.0, second: float = 1.0) -> np.ndarray:
    """O at the origin, H at two distances and an angle in degrees."""
    turn = np.radians(angle)
    return np.array([[0, 0, 0], [first, 0, 0], [second * np.cos(turn), second * np.sin(turn), 0.0]])


STILL = np.zeros((3, 3))
THERMAL = np.array([water(98, 0.9, 1.1), water(102, 1.1, 0.9)])
"""Deviations of 0.1 angstrom and 2 degrees."""
HEAT = np.array([[[1.0, 0, 0], [0, 3, 0], [0, 0, 5]], [[1.0, 0, 0], [0, 3, 0], [0, 0, 5]]])
"""Mean squares of 1 for O and 17 for H."""


def landings(positions: np.ndarray, velocities: np.ndarray) -> Landings:
    n = len(positions)
    return Landings(
        numbers=[8, 1, 1],
        bonds=[[0, 1], [0, 2]],
        angles=[[1, 0, 2]],
        positions=positions,
        velocities=velocities,
        reference_positions=np.array([water()] * n),
        reference_velocities=np.zeros((n, 3, 3)),
        thermal_positions=THERMAL,
        thermal_velocities=HEAT,
    )


def test_errors_of_bonds_angles_and_velocities() -> None:
    # Bond errors 0.03 and 0 in one jump, 0 and 0 in the other; angle errors 3 and -1 degrees.
    moved = np.array([[0.5, 0, 0], [0, 0, 0], [0, 2, 0]])
    errors = jump_errors(
        [landings(np.array([water(103, 1.03), water(99)]), np.array([STILL, moved]))]
    )
    bond = errors.bonds["H-O"]
    assert bond.rmse == pytest.approx(0.03 / 2)
    assert bond.deviation == pytest.approx(0.1)
    assert bond.thermal == pytest.approx(0.15)
    assert bond.count == 2
    angle = errors.angles["H-O-H"]
    assert angle.rmse == pytest.approx(np.sqrt(5))
    assert angle.deviation == pytest.approx(2.0)
    assert angle.thermal == pytest.approx(np.sqrt(5) / 2)
    assert errors.bonds["all"].thermal == pytest.approx(0.15)
    assert errors.velocities["O"] == pytest.approx(np.sqrt(0.25 / 2))
    assert errors.velocities["H"] == pytest.approx(np.sqrt(4 / 4 / 17))
    assert errors.velocities["all"] == pytest.approx(np.sqrt((0.25 + 4 / 17) / 6))
    assert errors.jumps == 2


def test_standing_still_is_an_error_of_one() -> None:
    still = dataclasses.replace(landings(THERMAL, np.zeros((2, 3, 3))), reference_velocities=HEAT)
    assert jump_errors([still]).velocities == pytest.approx({"H": 1.0, "O": 1.0, "all": 1.0})


def test_the_mean_structure_is_one_deviation_away() -> None:
    mean = np.array([water()] * 2)
    errors = jump_errors([dataclasses.replace(landings(mean, HEAT), reference_positions=THERMAL)])
    assert errors.bonds["all"].thermal == pytest.approx(1.0)
    assert errors.angles["all"].thermal == pytest.approx(1.0)


def test_the_mean_of_each_bond_and_angle_is_a_guess_without_a_structure() -> None:
    anywhere = dataclasses.replace(
        landings(np.array([water(150, 2.0)] * 2), 9 * HEAT),
        reference_positions=np.array([water(103, 1.0, 1.2), water(99)]),
        reference_velocities=HEAT,
    )
    errors = mean_structure_errors([anywhere])
    assert errors.bonds["H-O"].rmse == pytest.approx(0.1)  # 0.2 in one of four
    assert errors.bonds["H-O"].thermal == pytest.approx(1.0)
    assert errors.angles["H-O-H"].rmse == pytest.approx(np.sqrt(5))
    assert errors.velocities == pytest.approx({"H": 1.0, "O": 1.0, "all": 1.0})
    assert errors.positions is None


def test_types_are_joined_over_molecules_and_every_jump_counts_the_same() -> None:
    one = landings(np.array([water(first=1.04)]), np.zeros((1, 3, 3)))
    three = landings(np.array([water()] * 3), np.zeros((3, 3, 3)))
    cyanide = Landings(
        numbers=[7, 6, 1],
        bonds=[[0, 1], [1, 2]],
        angles=[],
        positions=[[[0, 0, 0], [1.2, 0, 0], [2.2, 0, 0]]],
        velocities=np.zeros((1, 3, 3)),
        reference_positions=[[[0, 0, 0], [1.0, 0, 0], [2.0, 0, 0]]],
        reference_velocities=np.zeros((1, 3, 3)),
        thermal_positions=np.array([[[0, 0, 0], [x, 0, 0], [x + 1.0, 0, 0]] for x in (0.9, 1.1)]),
        thermal_velocities=HEAT,
    )
    errors = jump_errors([one, three, cyanide])
    assert errors.jumps == 5
    assert set(errors.bonds) == {"H-O", "C-N", "C-H", "all"}
    assert errors.bonds["H-O"].rmse == pytest.approx(0.04 / np.sqrt(8))
    assert errors.bonds["H-O"].count == 4
    assert errors.bonds["C-N"].thermal == pytest.approx(2.0)
    # C-H is rigid: it has no thermal units, and does not count for all.
    assert errors.bonds["C-H"].thermal is None
    assert errors.bonds["C-H"].rmse == pytest.approx(0.0)
    assert errors.bonds["all"].rmse == pytest.approx(np.sqrt((0.04**2 + 0.2**2) / 9))
    assert errors.bonds["all"].thermal == pytest.approx(np.sqrt((0.4**2 + 2.0**2) / 9))
    assert errors.bonds["all"].count == 5
    assert set(errors.angles) == {"H-O-H", "all"}
    still = dataclasses.replace(one, thermal_positions=np.array([water()] * 2))
    assert set(jump_errors([still]).bonds) == {"H-O"}


def test_a_turned_molecule_has_no_internal_error_but_a_distance() -> None:
    quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    errors = jump_errors([landings(np.array([water() @ quarter.T]), np.zeros((1, 3, 3)))])
    assert errors.bonds["all"].rmse == pytest.approx(0.0, abs=1e-12)
    assert errors.angles["all"].rmse == pytest.approx(0.0, abs=1e-9)
    assert errors.positions == pytest.approx(np.sqrt(4 / 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"velocities": np.zeros((1, 3, 3))}, r"velocities has shape \(1, 3, 3\)"),
        ({"numbers": [8, 1]}, r"positions has shape \(2, 3, 3\); expected \(2, 2, 3\)"),
        ({"thermal_velocities": np.zeros((1, 3, 3))}, "thermal_velocities has shape"),
        ({"positions": np.full((2, 3, 3), np.nan)}, "not finite"),
    ],
)
def test_landings_that_make_no_sense(change: dict[str, np.ndarray], message: str) -> None:
    good = landings(THERMAL, HEAT)
    with pytest.raises(ValueError, match=message):
        jump_errors([dataclasses.replace(good, **change)])


def test_no_landings() -> None:
    for measure in (jump_errors, mean_structure_errors):
        with pytest.raises(ValueError, match="no landings"):
            measure([])
