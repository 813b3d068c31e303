"""Trajectories made elsewhere: every format reads as what was written, faults are found."""

import dataclasses
import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from kstep_integrators import units
from kstep_integrators.cli import main
from kstep_training.evaluate.checks import MISS
from kstep_training.evaluate.frames import read_trajectory
from kstep_training.evaluate.outside import outside_metrics, run_outside
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.evaluate.verdict import check_molecule
from kstep_training.trajectory import Trajectory, write_npz
from tests.training.evaluate.harmonic_runs import Harmonic

MOLECULE = Harmonic()
RUN = MOLECULE.run(60, 2.0, 0)


def images(record, time=True, energy=True, momenta=True, **kwargs):
    made = []
    for i in range(len(record)):
        atoms = Atoms(record.numbers, positions=record.positions[i], **kwargs)
        if momenta:
            atoms.set_momenta(record.momenta[i])
        if time:
            atoms.info.update(time=float(record.time[i]), time_unit="ase")
        if energy:
            atoms.calc = SinglePointCalculator(atoms, energy=float(record.energies[i]))
        made.append(atoms)
    return made


def npz(path, record):
    write_npz(
        path,
        Trajectory(
            numbers=record.numbers,
            masses=record.masses,
            positions=record.positions,
            velocities=record.momenta / record.masses[:, None],
            forces=np.zeros_like(record.positions),
            energies=record.energies,
            temperature=np.full(len(record), 300.0),
            time=record.time,
            has_label=np.isfinite(record.energies),
            cell=record.cell,
            pbc=np.array(record.pbc),
        ),
    )
    return path


def same(record, momenta=True, energies=True, tolerance=1e-6):
    np.testing.assert_array_equal(record.numbers, RUN.numbers)
    np.testing.assert_allclose(record.positions, RUN.positions, atol=tolerance)
    np.testing.assert_allclose(record.time, RUN.time, rtol=1e-5, atol=1e-6)
    if momenta:
        np.testing.assert_allclose(record.momenta, RUN.momenta, atol=1e-5)
    else:
        assert np.isnan(record.momenta).all()
    if energies:
        np.testing.assert_allclose(record.energies, RUN.energies, atol=1e-6)
    else:
        assert np.isnan(record.energies).all()


def test_npz(tmp_path):
    same(read_trajectory(npz(tmp_path / "a.npz", RUN)))


@pytest.mark.parametrize("name", ["a.traj", "a.extxyz"])
def test_files_of_ase(tmp_path, name):
    path = tmp_path / name
    write(path, images(RUN))
    same(read_trajectory(path))
    write(path, images(RUN, energy=False, momenta=False))
    same(read_trajectory(path), momenta=False, energies=False)
    write(path, images(RUN, time=False))
    with pytest.raises(ValueError, match="does not say the time"):
        read_trajectory(path)
    same(read_trajectory(path, interval_fs=2.0))


def test_dcd(tmp_path):
    import MDAnalysis

    pdb, dcd = tmp_path / "a.pdb", tmp_path / "a.dcd"
    write(pdb, images(RUN)[0], format="proteindatabank")
    universe = MDAnalysis.Universe.empty(len(RUN.numbers), trajectory=True)
    universe.load_new(RUN.positions.astype(np.float32))
    with pytest.warns(UserWarning, match="No dimensions"):
        universe.atoms.write(str(dcd), frames="all")
    with warnings.catch_warnings():
        # Ahead of MDAnalysis's own filters, which show what pytest's would make an error.
        warnings.simplefilter("error")
        record = read_trajectory(dcd, pdb, interval_fs=2.0)
    same(record, False, False, 1e-3)
    with pytest.raises(ValueError, match="give a topology"):
        read_trajectory(dcd)


def test_refusals(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        read_trajectory(tmp_path / "none.npz")
    text = tmp_path / "a.xyz"
    text.write_text("nothing")
    with pytest.raises(ValueError, match="no file that ASE reads"):
        read_trajectory(text)
    one = tmp_path / "one.extxyz"
    write(one, images(RUN)[:1])
    with pytest.raises(ValueError, match="has 1 frames"):
        read_trajectory(one)
    uneven = tmp_path / "uneven.extxyz"
    write(uneven, [images(RUN)[i] for i in (0, 1, 4)])
    with pytest.raises(ValueError, match="expected equal intervals"):
        read_trajectory(uneven)
    other = tmp_path / "other.extxyz"
    write(other, [images(RUN)[0], Atoms("H2", positions=[[0, 0, 0], [0, 0, 1.0]])])
    with pytest.raises(ValueError, match="other atoms than the first"):
        read_trajectory(other)
    opened = [bulk("Cu", a=3.6), bulk("Cu", a=3.6)]
    opened[1].pbc = (True, True, False)
    crystal = tmp_path / "crystal.extxyz"
    write(crystal, opened)
    with pytest.raises(ValueError, match=r"frame 1 of .* has pbc"):
        read_trajectory(crystal)


def runs(count, first, **change):
    made = [MOLECULE.run(800, 2.0, first + s, **change) for s in range(count)]
    return [dataclasses.replace(r, facts={"source": "a", "error": ""}) for r in made]


SETTINGS = EvaluateSettings()


def verdicts(mine, reference):
    checks = check_molecule(outside_metrics(mine, reference, SETTINGS), None)
    return {(c.method, c.what): c for c in checks}


def test_sound_trajectories_pass_and_shifted_ones_do_not():
    reference = runs(8, 0)
    sound = verdicts(runs(8, 100), reference)
    assert not [key for key, c in sound.items() if c.status == MISS]
    assert ("trajectory", "bonds") in sound
    wrong = verdicts(runs(8, 100, stiffer=1.02), reference)
    assert wrong["trajectory", "spectrum"].status == MISS


def test_a_wrong_distribution_is_found():
    reference = runs(8, 0, fresh=True)
    # Every mode stiffer by a tenth: narrower distributions.
    wrong = [
        dataclasses.replace(r, positions=x0 + (r.positions - x0) / 1.1)
        for r in runs(8, 100, fresh=True)
        for x0 in [MOLECULE.atoms.positions]
    ]
    assert verdicts(wrong, reference)["trajectory", "bonds"].status == MISS


def test_kinetic_energies_of_another_shape_are_found():
    # Every element has its temperature, but in every frame the same.
    def level(r):
        momenta = r.momenta.copy()
        for chosen in (r.numbers == z for z in np.unique(r.numbers)):
            kinetic = (momenta[:, chosen] ** 2).sum((1, 2), keepdims=True)
            momenta[:, chosen] *= np.sqrt(kinetic.mean() / kinetic)
        return dataclasses.replace(r, momenta=momenta)

    reference = runs(8, 0, fresh=True)
    sound = verdicts(runs(8, 100, fresh=True), reference)
    assert sound["trajectory", "kinetic"].status != MISS
    wrong = verdicts([level(r) for r in runs(8, 100, fresh=True)], reference)
    assert wrong["trajectory", "kinetic"].status == MISS
    assert wrong["trajectory", "equipartition"].status != MISS


def test_one_long_run_is_cut_into_blocks():
    metrics = outside_metrics(runs(1, 100), runs(1, 0), SETTINGS)
    assert metrics["methods"]["trajectory"]["runs"] == 8
    assert metrics["methods"]["trajectory"]["shapes"]["bonds"]["runs"] == [8, 8]


def crystal(seed, spread, lattice=4.05):
    atoms = bulk("Al", cubic=True, a=lattice) * (2, 2, 2)
    rng = np.random.default_rng(seed)
    x = atoms.positions + rng.normal(0.0, spread, (80, *atoms.positions.shape))
    record = dataclasses.replace(
        RUN,
        numbers=atoms.numbers.astype(np.int64),
        masses=atoms.get_masses(),
        positions=x,
        momenta=np.full_like(x, np.nan),
        energies=np.full(80, np.nan),
        time=np.arange(80) * 10.0 * units.FS,
        cell=atoms.cell[:],
        pbc=(True, True, True),
    )
    return dataclasses.replace(record, facts={"source": "crystal", "error": ""})


def test_radial_distributions_of_a_crystal():
    reference = [crystal(s, 0.12) for s in range(8)]
    same_law = verdicts([crystal(s, 0.12) for s in range(10, 18)], reference)
    assert same_law["trajectory", "g(r) Al-Al"].status != MISS
    hotter = verdicts([crystal(s, 0.18) for s in range(10, 18)], reference)
    assert hotter["trajectory", "g(r) Al-Al"].status == MISS


def test_different_systems_are_refused():
    with pytest.raises(ValueError, match="has other atoms than crystal"):
        outside_metrics(runs(1, 0), [crystal(0, 0.1)], SETTINGS)


def test_the_command(tmp_path, capsys):
    paths = {
        name: npz(tmp_path / f"{name}.npz", MOLECULE.run(700, 2.0, seed))
        for seed, name in enumerate(("mine", "theirs"))
    }
    output = tmp_path / "out"
    arguments = ["--trajectory", str(paths["mine"]), "--reference", str(paths["theirs"])]
    assert main(["evaluate", "resolution=80", *arguments, "--output", str(output)]) == 0
    assert (output / "evaluation.html").exists()
    assert "made elsewhere" in (output / "evaluation.html").read_text()
    assert "bonds" in (output / "evaluation.json").read_text()
    assert "mine.npz" in capsys.readouterr().out
    assert main(["evaluate", *arguments[:2], "--output", str(output)]) == 2
    assert "0 references were given" in capsys.readouterr().err
    assert main(["evaluate", "organic-gfn2", "water", *arguments]) == 2
    assert "evaluate a model on molecules, or" in capsys.readouterr().err


def test_crystals_are_drawn(tmp_path, capsys):
    paths = []
    for seed in range(2):
        record = crystal(seed, 0.12)
        path = tmp_path / f"{seed}.extxyz"
        frames = images(record, energy=False, momenta=False, cell=record.cell, pbc=True)
        write(path, frames)
        paths.append(path)
    report = run_outside(paths[:1], paths[1:], [], tmp_path / "out")
    assert "Radial distributions" in (tmp_path / "out" / "evaluation.html").read_text()
    assert report["molecules"][0]["methods"]["trajectory"]["radial"]["Al-Al"]["distance"] < 0.5


def test_cells_that_change_are_read_and_compared(tmp_path):
    paths = []
    for seed in range(2):
        record = crystal(seed, 0.12)
        scale = np.random.default_rng(seed).uniform(0.99, 1.01, len(record))
        frames = images(record, energy=False, momenta=False, cell=record.cell, pbc=True)
        for atoms, factor in zip(frames, scale, strict=True):
            atoms.set_cell(atoms.cell[:] * factor, scale_atoms=True)
        path = tmp_path / f"{seed}.extxyz"
        write(path, frames)
        read = read_trajectory(path)
        np.testing.assert_allclose(read.cell, record.cell * scale[:, None, None], atol=1e-6)
        paths.append(path)
    known = read_trajectory(paths[1])
    paths[1] = tmp_path / "1.npz"
    npz(paths[1], dataclasses.replace(known, momenta=np.zeros_like(known.positions)))
    np.testing.assert_allclose(read_trajectory(paths[1]).cell, known.cell, rtol=1e-6)
    report = run_outside(paths[:1], paths[1:], [], tmp_path / "out")
    density = report["molecules"][0]["methods"]["trajectory"]["cell"]["density"]
    assert density["mean"] == pytest.approx(2.698, abs=0.03)
    assert density["error"] > 0.0
