"""Labels from elsewhere: units, elements and method are as they should be, or refused."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from kstep_integrators import KStepWarning, units
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.diagnostics.npz_schema import FIELDS
from kstep_integrators.learning.label_file import LabelFile
from kstep_integrators.learning.label_sources import read_labels
from kstep_integrators.learning.label_units import said_units
from kstep_integrators.learning.labels import Label
from kstep_integrators.physics.identity import settings_of
from kstep_training.trajectory import trajectory_of, write_npz

ETHANOL = molecule("CH3CH2OH")
GFN2 = {"calculator": "'tblite'", "method": "'GFN2-xTB'", "xc": "None"}
UNKNOWN = "does not say which method"


@pytest.fixture(scope="module")
def frames() -> list[Atoms]:
    """Six geometries of GFN2, far from each other."""
    rng, found = np.random.default_rng(0), []
    calculator = xtb_calculator("GFN2-xTB")
    for _ in range(6):
        atoms = ETHANOL.copy()
        atoms.positions += rng.normal(scale=0.03, size=(9, 3))
        atoms.calc = calculator
        found.append(single(atoms, atoms.get_potential_energy(), atoms.get_forces()))
    return found


def single(atoms: Atoms, energy: float, forces, **info) -> Atoms:
    atoms = atoms.copy()
    atoms.info.update(info)
    given = {} if forces is None else {"forces": forces}
    atoms.calc = SinglePointCalculator(atoms, energy=energy, **given)
    return atoms


def scaled(frames, energy: float, force: float, **info) -> list[Atoms]:
    return [
        single(one, one.calc.results["energy"] * energy, one.calc.results["forces"] * force, **info)
        for one in frames
    ]


def read(path, molecules=(ETHANOL,), physics=GFN2, **asked) -> list[Label]:
    return read_labels([path], molecules, physics, **asked)


def assert_are(labels, frames, tolerance=1e-12) -> None:
    assert len(labels) == len(frames)
    for label, frame in zip(labels, frames, strict=True):
        np.testing.assert_allclose(label.positions, frame.positions, atol=1e-7)
        np.testing.assert_allclose(label.energy, frame.calc.results["energy"], rtol=tolerance)
        np.testing.assert_allclose(label.forces, frame.calc.results["forces"], atol=1e-6)
        assert (label.molecule, label.evaluations) == (0, 0)


def test_labels_of_an_earlier_run(tmp_path):
    physics = settings_of(LennardJones())
    with LabelFile(tmp_path / "a.traj", physics) as labels:
        labels.append(Label.of(ETHANOL, -1.0, np.zeros((9, 3)), molecule=3, step=5))
    (label,) = read(tmp_path / "a.traj", physics=physics)
    assert (label.energy, label.molecule, label.step, label.evaluations) == (-1.0, 0, 5, 0)
    with pytest.raises(ValueError, match=r"another physics: sigma 1\.0, now 1\.2"):
        read(tmp_path / "a.traj", physics=settings_of(LennardJones(sigma=1.2)))


@pytest.mark.parametrize("name", ["a.traj", "a.xyz", "a.extxyz"])
def test_frames_that_say_no_method_are_taken_with_a_warning(tmp_path, frames, name):
    write(tmp_path / name, frames, format="traj" if name == "a.traj" else "extxyz")
    with pytest.warns(KStepWarning, match=f"{UNKNOWN}.*GFN2-xTB"):
        assert_are(read(tmp_path / name), frames)


def test_a_method_by_name_is_compared(tmp_path, frames):
    write(tmp_path / "a.xyz", scaled(frames, 1, 1, method="GFN2-xTB"), format="extxyz")
    assert_are(read(tmp_path / "a.xyz"), frames)
    write(tmp_path / "b.xyz", scaled(frames, 1, 1, method="GFN1-xTB"), format="extxyz")
    with pytest.raises(ValueError, match="'GFN1-xTB', the physics of the run is 'GFN2-xTB'"):
        read(tmp_path / "b.xyz")
    dft = {"calculator": "'pyscfcalculator'", "xc": "'b3lyp'", "basis": "'def2-svp'"}
    write(tmp_path / "c.xyz", scaled(frames, 1, 1, method="b3lyp/def2-svp"), format="extxyz")
    read(tmp_path / "c.xyz", physics=dft)
    with pytest.warns(KStepWarning, match="says 'GFN2-xTB'"):
        read(tmp_path / "a.xyz", physics={"calculator": "'mine'"})
    for more_or_less in ("B3LYP", "b3lyp/def2-svp d3bj"):
        write(tmp_path / "e.xyz", scaled(frames, 1, 1, method=more_or_less), format="extxyz")
        with pytest.warns(KStepWarning, match=f"says '{more_or_less}'; .* b3lyp def2-svp"):
            read(tmp_path / "e.xyz", physics=dft)
    write(tmp_path / "e.xyz", scaled(frames, 1, 1, method="xTB"), format="extxyz")
    with pytest.raises(ValueError, match="of the method 'xTB', the physics of the run is 'GFN2"):
        read(tmp_path / "e.xyz")
    mixed = [*scaled(frames[:3], 1, 1, method="a"), *scaled(frames[3:], 1, 1, method="b")]
    write(tmp_path / "d.xyz", mixed, format="extxyz")
    with pytest.raises(ValueError, match=r"several methods, \['a', 'b'\]"):
        read(tmp_path / "d.xyz")


def test_npz_is_converted(tmp_path, frames):
    trajectory = trajectory_of(frames, np.arange(6.0), 300.0, {"method": "GFN2-xTB"})
    trajectory.has_label[2] = False
    write_npz(tmp_path / "a.npz", trajectory)
    assert_are(read(tmp_path / "a.npz"), [*frames[:2], *frames[3:]])
    write_npz(tmp_path / "b.npz", trajectory_of(frames, np.arange(6.0), 300.0, {"method": "PBE"}))
    with pytest.raises(ValueError, match="'PBE', the physics of the run is 'GFN2-xTB'"):
        read(tmp_path / "b.npz")


def test_npz_of_a_run_under_pressure_has_the_cell_of_each_frame(tmp_path, frames):
    periodic = [atoms.copy() for atoms in frames]
    for number, (atoms, known) in enumerate(zip(periodic, frames, strict=True)):
        atoms.set_cell([10.0 + number, 11.0, 12.0])
        atoms.pbc = True
        atoms.calc = known.calc
    trajectory = trajectory_of(periodic, np.arange(6.0), 300.0, {"method": "GFN2-xTB"})
    write_npz(tmp_path / "a.npz", trajectory)
    labels = read(tmp_path / "a.npz", [periodic[0]])
    lengths = [label.cell[0, 0] for label in labels]
    np.testing.assert_allclose(lengths, 10.0 + np.arange(6), rtol=1e-12)


def test_nothing_is_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("it was unpickled",))

    arrays = {name: np.array([Bomb()], dtype=object) for name in FIELDS}
    np.savez(tmp_path / "a.npz", **arrays)
    (tmp_path / "b.traj").write_bytes(pickle.dumps(Bomb()))
    for name in ("a.npz", "b.traj"):
        with pytest.raises(ValueError, match=name):
            read(tmp_path / name)


def test_units_that_a_frame_names_are_converted(tmp_path, frames):
    force = units.BOHR / units.HARTREE
    changed = scaled(
        frames, 1 / units.HARTREE, force,
        energy_unit="Hartree", force_unit="Ha/Bohr", method="GFN2-xTB",
    )  # fmt: skip
    write(tmp_path / "a.xyz", changed, format="extxyz")
    assert_are(read(tmp_path / "a.xyz"), frames, tolerance=1e-7)
    write(tmp_path / "b.xyz", scaled(frames, 1, 1, energy_unit="parsec"), format="extxyz")
    with pytest.warns(KStepWarning), pytest.raises(ValueError, match="'parsec', expected one of"):
        read(tmp_path / "b.xyz")
    with pytest.raises(ValueError, match=r"'eV', expected an energy of .* over a length"):
        said_units({"forces_unit": "eV"}, "frame 0")


@pytest.mark.parametrize(
    ("unit", "force"),
    [
        ("hartree/bohr", units.BOHR / units.HARTREE),
        ("kcal/mol/A", 1 / units.KCAL_PER_MOL),
        ("kJ/mol/A", 1 / units.KJ_PER_MOL),
        ("kJ/mol/nm", 1 / units.KJ_PER_MOL_NM),
    ],
)
@pytest.mark.parametrize("energy_too", [True, False])
def test_units_that_no_frame_names_are_recognized(tmp_path, frames, unit, force, energy_too):
    energy = {"h": 1 / units.HARTREE, "c": 1 / units.KCAL_PER_MOL}.get(
        unit[0] if unit[1] != "J" else "", 1 / units.KJ_PER_MOL
    )
    energy = energy if energy_too else 1.0
    energy = 1 / units.KCAL_PER_MOL if energy_too and unit.startswith("kcal") else energy
    write(tmp_path / "a.traj", scaled(frames, energy, force, method="GFN2-xTB"))
    with pytest.raises(ValueError, match=f"(look like|as with eV and) {unit}") as refused:
        read(tmp_path / "a.traj")
    assert "force_unit" in str(refused.value)


def test_forces_and_energies_of_two_units_are_told_by_neighbours(tmp_path, frames):
    """Hartree and hartree/bohr of frames of a run, whose energies the forces foretell."""
    calculator, atoms = xtb_calculator("GFN2-xTB"), ETHANOL.copy()
    atoms.calc, near = calculator, []
    direction = np.random.default_rng(1).normal(size=(9, 3))
    for _ in range(5):
        atoms.positions += 0.005 * direction
        near.append(single(atoms, atoms.get_potential_energy(), atoms.get_forces()))
    changed = scaled(near, 1 / units.HARTREE, units.BOHR / units.HARTREE, method="GFN2-xTB")
    write(tmp_path / "a.traj", changed)
    with pytest.raises(ValueError, match=r"are 1\.89 times .* as with hartree and hartree/bohr"):
        read(tmp_path / "a.traj")
    write(tmp_path / "b.traj", scaled(near, 1, 1, method="GFN2-xTB"))
    assert_are(read(tmp_path / "b.traj"), near)


def test_other_molecules_are_refused(tmp_path, frames):
    write(tmp_path / "a.traj", scaled(frames, 1, 1, method="GFN2-xTB"))
    with pytest.raises(ValueError, match=r"frame 0 of .*C2H6O, expected H2O"):
        read(tmp_path / "a.traj", molecules=[molecule("H2O")])
    with pytest.raises(ValueError, match="C2H6O in another order of atoms, expected C2H6O"):
        read(tmp_path / "a.traj", molecules=[ETHANOL[::-1]])
    labels = read(tmp_path / "a.traj", molecules=[molecule("H2O"), ETHANOL])
    assert {label.molecule for label in labels} == {1}
    ion = ETHANOL.copy()
    ion.info["charge"] = 1
    write(tmp_path / "b.traj", scaled(frames, 1, 1, method="GFN2-xTB", charge=0))
    with pytest.raises(ValueError, match="charge 0, the run 1"):
        read(tmp_path / "b.traj", molecules=[ion])
    assert {one.molecule for one in read(tmp_path / "b.traj", molecules=[ion, ETHANOL])} == {1}
    write(tmp_path / "c.traj", scaled(frames, 1, 1, method="GFN2-xTB", charge=1))
    for said, of_run in (("None", 0), ("-1", -1)):
        with pytest.raises(ValueError, match=f"charge 1, the run {of_run}"):
            read(tmp_path / "c.traj", physics={**GFN2, "charge": said})
    read(tmp_path / "c.traj", physics={**GFN2, "charge": "1"})
    box = ETHANOL.copy()
    box.cell, box.pbc = [9, 9, 9], True
    with pytest.raises(ValueError, match=r"pbc \[False, False, False\], the run \[True"):
        read(tmp_path / "a.traj", molecules=[box])


def test_what_is_missing_is_named(tmp_path, frames):
    bare = ETHANOL.copy()
    bare.info.update(REF_energy=1.0, method="GFN2-xTB")
    write(tmp_path / "a.xyz", bare, format="extxyz")
    with pytest.raises(ValueError, match=r"no energy; its info has .*'REF_energy'"):
        read(tmp_path / "a.xyz")
    write(tmp_path / "b.traj", single(ETHANOL, -1.0, None, method="GFN2-xTB"))
    with pytest.raises(ValueError, match="no forces, which the run needs"):
        read(tmp_path / "b.traj")
    assert read(tmp_path / "b.traj", forces=False)[0].forces is None
    holes = np.full((9, 3), np.nan)
    write(tmp_path / "c.traj", single(ETHANOL, -1.0, holes, method="GFN2-xTB"))
    with pytest.raises(ValueError, match="forces that are not finite"):
        read(tmp_path / "c.traj")
    with pytest.raises(FileNotFoundError, match="no file of labels"):
        read(tmp_path / "none.traj")
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(ValueError, match=r"ends in '\.csv', expected"):
        read(tmp_path / "a.csv")


def test_the_order_of_files_stays(tmp_path, frames):
    for name, part in (("a.traj", frames[:2]), ("b.xyz", frames[2:])):
        write(tmp_path / name, scaled(part, 1, 1, method="GFN2-xTB"))
    paths = [tmp_path / "a.traj", str(tmp_path / "b.xyz")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_are(read_labels(paths, [ETHANOL], GFN2), frames)
