"""Curves and numbers of cells with known motion: crystals, diffusing gases, slabs, refusals."""

import dataclasses

import numpy as np
import pytest
from ase.build import bulk, fcc111
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.md.velocitydistribution import thermalize_momenta

from kstep_integrators.units import FS, GPA, PS
from kstep_training.evaluate.cell_curves import cell_curves, compare_cells, drawn, unwrapped
from kstep_training.evaluate.cell_figures import cell_curves_figure, cell_notes
from kstep_training.evaluate.cells import cell_numbers, cell_rows, first_minima, pressure_difference
from kstep_training.evaluate.checks import MISS, check_curves, check_pressure
from kstep_training.evaluate.controls import velocity_verlet
from kstep_training.evaluate.counting import spot_check
from kstep_training.evaluate.energy_and_spectra import temperatures
from kstep_training.evaluate.noise import block_records, independence
from kstep_training.evaluate.plan import REFERENCE, Method
from kstep_training.evaluate.record import Record, read_record, write_record

FRAMES = 80


def make(atoms, positions, interval_fs=50.0, pressures=(), fixed=(), cell=None):
    """A record; momenta are unknown, and so are energies."""
    held = np.zeros(len(atoms), dtype=bool)
    held[list(fixed)] = True
    return Record(
        atoms.numbers.astype(np.int64), atoms.get_masses(),
        np.arange(len(positions)) * interval_fs * FS, positions,
        np.full_like(positions, np.nan), np.full(len(positions), np.nan),
        {"error": "", "spot": {"pressure": list(pressures)}},
        atoms.cell.array if cell is None else cell, tuple(bool(b) for b in atoms.pbc), held,
    )  # fmt: skip


def crystal(seed, spread=0.1, **more):
    atoms = bulk("Cu", cubic=True, a=3.6) * (2, 1, 1)
    rng = np.random.default_rng(seed)
    return make(atoms, atoms.positions + rng.normal(0.0, spread, (FRAMES, 8, 3)), **more)


def gas(seed, coefficient=0.5, frames=FRAMES):
    """Brownian motion of 10 atoms, wrapped; the coefficient in angstrom^2/ps."""
    atoms = bulk("Cu", cubic=True, a=12.0)[[0] * 10]
    rng = np.random.default_rng(seed)
    width = np.sqrt(2.0 * coefficient * 0.05)
    steps = rng.normal(0.0, width, (frames, 10, 3))
    steps -= steps.mean(axis=1, keepdims=True)  # at no net momentum
    positions = rng.uniform(0.0, 12.0, (10, 3)) + np.cumsum(steps, axis=0)
    return make(atoms, positions % 12.0)


def slab(seed, spread=0.05, pbc=(True, True, False), fixed=range(4)):
    atoms = fcc111("Cu", (2, 2, 3), a=3.6, vacuum=5.0)
    atoms.pbc = pbc
    x = np.random.default_rng(seed).normal(0.0, spread, (FRAMES, 12, 3))
    x[:, list(fixed)] = 0.0
    return make(atoms, atoms.positions + x, fixed=fixed)


def method(name, role="test", part="dynamics"):
    return Method(name, part, role, "outside", 4.0, 4.0, 1.0)


def rows(mine, reference):
    methods = [method(REFERENCE, "reference"), method("jumps")]
    return cell_rows({REFERENCE: reference, "jumps": mine}, methods, 0.1)


def statuses(row):
    return {check.what: check.status for check in check_curves("dynamics", "jumps", row)}


def test_coordination_and_density_of_a_crystal():
    found = rows([crystal(s) for s in range(4)], [crystal(s) for s in range(10, 14)])
    numbers = found["jumps"]["cell"]
    (name, known), = numbers["coordination"].items()  # fmt: skip
    assert name == "Cu around Cu"
    assert known["mean"] == pytest.approx(12.0, abs=0.01)
    assert 2.7 < known["cutoff"] < 3.4
    assert numbers["density"]["mean"] == pytest.approx(9.05, abs=0.01)
    assert "pressure" not in numbers
    assert "coordination" in found[REFERENCE]["cell"]
    assert "radial" not in found[REFERENCE]


def test_radial_distributions_of_another_law_are_a_miss():
    reference = [crystal(s) for s in range(8)]
    assert (
        MISS not in statuses(rows([crystal(s) for s in range(10, 18)], reference)["jumps"]).values()
    )
    hotter = rows([crystal(s, 0.15) for s in range(10, 18)], reference)["jumps"]
    assert statuses(hotter)["g(r) Cu-Cu"] == MISS
    assert statuses(hotter)["S(k) all atoms"] == MISS


def test_structure_factors_of_a_gas_and_of_a_crystal():
    curve = cell_curves([gas(s) for s in range(8)], True)["structure"]["all atoms"]
    assert np.abs(curve.mean - 1.0).mean() < 0.1
    (cold,) = cell_curves([crystal(0, 0.01)], False)["structure"].values()
    count = len(crystal(0).numbers)
    first = np.flatnonzero(cold.mean > 0.9 * count)[0]  # (220): others share a shell with waves
    assert cold.x[first] == pytest.approx(2.0 * np.pi * np.sqrt(8.0) / 3.6)
    assert cold.mean[first] == pytest.approx(
        count * np.exp(-((0.01 * cold.x[first]) ** 2)), rel=1e-3
    )
    assert cold.mean[cold.x < 2.9].max() < 0.1  # below (111) there is nothing


def test_diffusion_within_three_errors_and_another_one_found():
    reference = [gas(s) for s in range(8)]
    found = rows([gas(s) for s in range(10, 18)], reference)["jumps"]
    known = found["cell"]["diffusion"]["Cu"]
    # Without drift 9 of 10 atoms move.
    assert abs(known["mean"] - 0.9 * 0.5) < 3 * known["error"]
    assert known["error"] < 0.1
    assert statuses(found)["displacement Cu"] != MISS
    slow = rows([gas(s, 0.2) for s in range(10, 18)], reference)["jumps"]
    assert statuses(slow)["displacement Cu"] == MISS


def test_displacements_at_other_intervals_are_compared_where_both_are_known():
    fine, coarse = [gas(s) for s in range(4)], [gas(s) for s in range(4)]
    coarse = [
        dataclasses.replace(r, time=r.time[::4], positions=r.positions[::4],
                            momenta=r.momenta[::4], energies=r.energies[::4])
        for r in coarse
    ]  # fmt: skip
    compared = compare_cells(cell_curves(coarse, True), cell_curves(fine, True))
    assert compared["displacement"]["Cu"]["runs"] == [4, 4]
    odd = [dataclasses.replace(r, time=1.3 * r.time) for r in coarse]
    assert "displacement" not in compare_cells(cell_curves(odd, True), cell_curves(fine, True))


def test_frames_too_far_apart_have_no_displacement_and_a_note_says_so():
    wild = [dataclasses.replace(r, positions=r.positions[:, ::-1] * 7.0 % 12.0)
            for r in map(gas, range(2))]  # fmt: skip
    assert unwrapped(wild[0]) is None
    found = rows(wild, wild)
    assert "displacement" not in found["jumps"]
    assert found["jumps"]["cell"]["diffusion"] == {}
    notes = cell_notes(
        {"pbc": [True] * 3, "methods": {"jumps": {"part": "dynamics", **found["jumps"]}}}
    )
    assert any("No diffusion" in note for note in notes)
    assert any("No pressure" in note for note in notes)


def test_a_slab_with_fixed_layers():
    found = rows([slab(s) for s in range(2)], [slab(s) for s in range(5, 7)])["jumps"]
    assert set(found["curves"]) == {"profile", "displacement"}
    density = np.array(found["curves"]["profile"]["mass density"]["y"])
    assert density.max() > 5.0
    assert found["cell"]["coordination"] == {}
    assert "density" not in found["cell"]
    # Two directions of eight atoms that shake: 2 x 2 x 0.05^2 at every lag.
    late = found["curves"]["displacement"]["Cu"]["y"][1:]
    assert np.mean(late) == pytest.approx(4 * 0.05**2, rel=0.1)
    assert set(statuses(found)) == {"displacement Cu", "profile of mass density"}
    assert "A slab" in cell_notes({"pbc": [True, True, False], "methods": {}})[0]


@pytest.mark.parametrize("pbc", [(True, False, False), (False, True, True)])
def test_other_mixed_periodicity(pbc):
    found = rows([slab(s, pbc=pbc) for s in range(2)], [slab(s, pbc=pbc) for s in range(5, 7)])
    assert ("profile" in found["jumps"]["curves"]) == (sum(pbc) == 2)
    assert found["jumps"]["cell"]["diffusion"]["Cu"]["mean"] == pytest.approx(0.0, abs=0.01)
    assert cell_notes({"pbc": list(pbc), "methods": {}})[0].startswith(("A slab", "A wire"))


def test_isolated_molecules_have_nothing_of_it():
    alone = [slab(s, pbc=(False,) * 3) for s in range(2)]
    assert rows(alone, alone) == {}


def test_pressure_is_that_of_the_checks():
    mine = [crystal(s, pressures=[1.0 * GPA, 2.0 * GPA + s * GPA]) for s in range(4)]
    other = [crystal(s, pressures=[1.0 * GPA]) for s in range(4)]
    numbers = cell_numbers(mine, {}, {}, False)
    assert numbers["pressure"]["mean"] == pytest.approx(np.mean([1.5, 2.0, 2.5, 3.0]))
    for paired in (True, False):
        apart = pressure_difference(mine, other, paired)
        assert apart["mean"] == pytest.approx(1.25)
        assert apart["error"] == pytest.approx(np.std([0.5, 1.0, 1.5, 2.0], ddof=1) / 2)
    assert pressure_difference([crystal(0)], [crystal(0)], False) is None
    (check,) = check_pressure("dynamics", "jumps", {"pressure_difference": apart})
    assert (check.status, check.what) == ("pass", "pressure")
    apart = {**apart, "mean": 10.0}
    assert check_pressure("dynamics", "jumps", {"pressure_difference": apart})[0].status == MISS
    assert check_pressure("dynamics", "jumps", {}) == []


def test_pressures_are_found_at_landings():
    atoms = bulk("Cu", cubic=True, a=3.5)
    atoms.calc = EMT()
    thermalize_momenta(atoms, 600.0, rng=np.random.default_rng(0))
    run = Method("verlet-2", "dynamics", "control", "verlet", 2.0, 4.0, 0.02)
    record = velocity_verlet(run, atoms, lambda atoms: EMT())
    assert record.pbc == (True, True, True)
    found = spot_check(record, atoms, lambda atoms: EMT(), 2)
    atoms.positions, last = record.positions[-1], record.momenta[-1]
    atoms.set_momenta(last)
    stress = atoms.get_stress(include_ideal_gas=True)
    assert found["pressure"][1] == pytest.approx(-stress[:3].mean(), rel=1e-9)
    # Neither slabs nor a physics without stress have one.
    open_cell = dataclasses.replace(record, pbc=(True, True, False))
    assert "pressure" not in spot_check(open_cell, atoms, lambda atoms: EMT(), 2)
    assert "pressure" not in spot_check(record, atoms, lambda atoms: NoStress(), 2)
    assert "pressure" not in spot_check(record, atoms, lambda atoms: BrokenStress(), 2)


class NoStress(EMT):
    """A physics of energies and forces."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012


class BrokenStress(EMT):
    """A physics that promises a stress and has none of this cell."""

    def get_stress(self, atoms=None):
        raise PropertyNotImplementedError("no stress")


def test_a_cell_that_changes():
    record = crystal(0)
    cells = record.cell * np.linspace(0.95, 1.05, FRAMES)[:, None, None]
    changing = dataclasses.replace(
        record, positions=record.positions * np.linspace(0.95, 1.05, FRAMES)[:, None, None],
        cell=cells,
    )  # fmt: skip
    blocks = block_records([changing])
    assert [block.cell.shape for block in blocks] == [(10, 3, 3)] * 8
    found = rows(blocks, blocks)[REFERENCE]["cell"]
    density = found["density"]
    assert density["mean"] == pytest.approx(
        9.05 * np.mean(np.linspace(0.95, 1.05, 80) ** -3.0), rel=1e-3
    )
    assert density["error"] > 0.1


def test_figures():
    reference = [gas(s) for s in range(2)]
    made = {
        name: {"part": "dynamics", "role": role, "curves": drawn(cell_curves(reference, True))}
        for name, role in ((REFERENCE, "reference"), ("impulse-4", "test"), ("verlet-4", "control"))
    }
    picture = cell_curves_figure(made, "displacement", "dynamics")
    assert "impulse-4" in picture
    assert "verlet-4" not in picture
    assert "Cu-Cu" in cell_curves_figure(made, "radial", "dynamics")
    assert "S(k)" in cell_curves_figure(made, "structure", "dynamics")
    assert cell_curves_figure(made, "profile", "dynamics") is None
    assert cell_curves_figure(made, "radial", "ensemble") is None


def test_a_minimum_is_behind_a_peak():
    assert first_minima(cell_curves([crystal(0)], False)["radial"])["Cu-Cu"] < 3.5
    flat = dataclasses.replace(cell_curves([gas(0)], False)["radial"]["Cu-Cu"])
    flat.runs[:] = 0.0
    assert first_minima({"Cu-Cu": flat}) == {}


def test_degrees_of_freedom_beside_fixed_atoms():
    rng = np.random.default_rng(0)
    record = slab(0)
    masses = record.masses[:, None]
    momenta = rng.normal(0.0, np.sqrt(masses * 0.02585), (FRAMES, 12, 3)) * ~record.fixed[:, None]
    record = dataclasses.replace(record, momenta=momenta)
    kelvin = temperatures(record, conserved=True)["Cu"]
    assert kelvin == pytest.approx(300.0, abs=3 * 300.0 * np.sqrt(2 / (FRAMES * 24)))
    other = dataclasses.replace(record, momenta=rng.permutation(momenta))
    assert independence([record, other], True)["p_value"] <= 1.0


def test_records_keep_their_cell(tmp_path):
    record = slab(0)
    write_record(tmp_path / "run.npz", record)
    again = read_record(tmp_path / "run.npz")
    assert again.pbc == (True, True, False)
    np.testing.assert_array_equal(again.cell, record.cell)
    np.testing.assert_array_equal(again.fixed, record.fixed)
    alone = dataclasses.replace(record, pbc=(False,) * 3, fixed=np.zeros(12, dtype=bool))
    write_record(tmp_path / "alone.npz", alone)
    assert "cell" not in np.load(tmp_path / "alone.npz")
    assert not read_record(tmp_path / "alone.npz").fixed.any()
    assert record.interval / PS == pytest.approx(0.05)
