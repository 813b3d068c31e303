"""Forces that are the gradient of the energy are never accused; those that are not are found."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.md.verlet import VelocityVerlet

from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.learning.gradient_check import GradientVerdict, check_gradient
from kstep_integrators.learning.labels import Label

ARGON = {"sigma": 3.4, "epsilon": 0.0104, "rc": 6.5}


def path_of(atoms: Atoms, calculator, stride_fs: float, points: int = 6) -> list[Label]:
    """Labels of a run at 300 K, a stride apart."""
    rng = np.random.default_rng(0)
    atoms = atoms.copy()
    atoms.calc = calculator
    masses = atoms.get_masses()[:, None]
    atoms.set_momenta(rng.normal(size=(len(atoms), 3)) * np.sqrt(masses * 300 * units.kB))
    atoms.positions += rng.normal(scale=0.02, size=atoms.positions.shape)
    steps = max(1, round(2 * stride_fs))
    run, labels = VelocityVerlet(atoms, stride_fs / steps * units.fs), []
    for _ in range(points):
        labels.append(Label.of(atoms, atoms.get_potential_energy(), atoms.get_forces()))
        run.run(steps)
    return labels


def wrong(labels: list[Label], change) -> list[Label]:
    return [dataclasses.replace(one, forces=change(one.forces)) for one in labels]


def verdict_of(labels: list[Label]) -> GradientVerdict:
    verdict = check_gradient(labels)
    assert verdict is not None
    return verdict


ETHANOL, CRYSTAL = molecule("CH3CH2OH"), bulk("Ar", cubic=True) * (2, 2, 2)
SOUND = {
    "GFN2": (ETHANOL, lambda: xtb_calculator("GFN2-xTB")),
    "GFN1": (ETHANOL, lambda: xtb_calculator("GFN1-xTB")),
    "EMT": (bulk("Cu", cubic=True), EMT),
    "LJ": (CRYSTAL, lambda: LennardJones(**ARGON)),
    "LJ smooth": (CRYSTAL, lambda: LennardJones(**ARGON, smooth=True)),
}


@pytest.mark.parametrize("stride_fs", [0.25, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("name", SOUND)
def test_sound_methods_are_not_accused(name, stride_fs):
    atoms, make = SOUND[name]
    labels = path_of(atoms, make(), stride_fs)
    for points in range(2, len(labels) + 1):
        verdict = verdict_of(labels[:points])
        assert not verdict.wrong
        assert verdict.force_error < 0.75 * verdict.error_bar  # with room


@pytest.fixture(scope="module")
def ethanol() -> list[Label]:
    return path_of(ETHANOL, xtb_calculator("GFN2-xTB"), 0.5)


def test_forces_of_wrong_scale_are_found(ethanol):
    found = verdict_of(wrong(ethanol, lambda forces: 1.05 * forces))
    assert found.wrong
    assert 1.0 / found.scale == pytest.approx(1.05, abs=0.01)


def test_forces_of_another_method_are_found(ethanol):
    other = xtb_calculator("GFN1-xTB")

    def gfn1(label):
        atoms = label.atoms()
        atoms.calc = other
        return dataclasses.replace(label, forces=atoms.get_forces())

    assert verdict_of([gfn1(label) for label in ethanol]).wrong


@pytest.mark.parametrize("stride_fs", [0.25, 0.5, 1.0])
def test_an_offset_as_of_a_wrong_binding_is_found(stride_fs):
    """0.2 eV/angstrom on each component, as reported of GFN1 in one of its bindings."""
    labels = path_of(ETHANOL, xtb_calculator("GFN2-xTB"), stride_fs)
    offset = 0.2 * np.random.default_rng(1).choice([-1.0, 1.0], size=(9, 3))
    assert verdict_of(wrong(labels, lambda forces: forces + offset)).wrong


def test_a_term_that_only_the_energy_has_is_found():
    """Springs on four atoms, without their forces."""
    labels = path_of(CRYSTAL, LennardJones(**ARGON), 4.0)
    shift = [float(np.square(label.positions[:4]).sum()) * 1e-2 for label in labels]
    changed = [
        dataclasses.replace(label, energy=label.energy + extra)
        for label, extra in zip(labels, shift, strict=True)
    ]
    assert verdict_of(changed).wrong


def test_the_error_is_what_was_put_in():
    """A force along the path that the energy does not have, on springs, where rules are exact."""
    direction = np.array([[0.0, 0, 0], [1.0, 0, 0]])
    labels = [
        Label.of(Atoms("H2", x * direction), 5.0 * (x - 0.7) ** 2,
                 (0.3 - 10.0 * (x - 0.7)) * direction)
        for x in (0.70, 0.71, 0.72)
    ]  # fmt: skip
    found = verdict_of(labels)
    assert found.force_error == pytest.approx(0.3, abs=1e-10)
    assert found.differences == pytest.approx([5.0 * 0.02**2])
    assert found.works == pytest.approx([5.0 * 0.02**2 - 0.3 * 0.02])
    assert (found.wrong, found.points, found.sharp) == (True, 3, True)
    assert "off by 0.3 +- 0.00" in found.text()


def test_long_strides_tell_nothing_and_say_so():
    labels = path_of(ETHANOL, xtb_calculator("GFN2-xTB"), 4.0)
    verdict = verdict_of(wrong(labels, lambda forces: 1.01 * forces))
    assert not verdict.wrong
    assert not verdict.sharp
    assert "could not be told" in verdict.text()


def test_energies_in_single_precision_are_granted_their_noise(ethanol):
    def rounded(label):
        return dataclasses.replace(label, energy=float(np.float32(label.energy - 1e5)))

    verdict = verdict_of([rounded(label) for label in ethanol])
    assert not verdict.wrong
    assert verdict.error_bar > 0.3


def test_what_cannot_be_compared_is_left_out(ethanol):
    one, two = ethanol[:2]
    far = dataclasses.replace(two, positions=two.positions + 1.0)
    assert check_gradient([]) is None
    assert check_gradient([one]) is None
    assert check_gradient([one, one]) is None
    assert check_gradient([one, far]) is None
    assert check_gradient([one, dataclasses.replace(two, molecule=1)]) is None
    assert check_gradient([dataclasses.replace(one, forces=None), two]) is None
    nearly = dataclasses.replace(one, positions=one.positions + 1e-15)
    assert check_gradient([one, nearly]) is None
    assert verdict_of([one, nearly, two]).points == 2
    replicas = [dataclasses.replace(label, molecule=i) for label in ethanol for i in (0, 1)]
    both, alone = verdict_of(replicas), verdict_of(ethanol)
    assert both.points == 2 * alone.points
    assert both.force_error == pytest.approx(alone.force_error)
