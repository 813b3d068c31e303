"""Files of other programs: positions, time and velocities in the units of each format.

Those in ``foreign/`` were written by LAMMPS 2025.7.22 (two argon atoms, 0, 1 and 2 steps of 1 fs,
in three styles of units) and i-PI 3.3 (water, 0.5 fs, every second step).
"""

import gzip
from pathlib import Path

import h5py
import MDAnalysis
import numpy as np
import openmm
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.lj import LennardJones
from ase.io import Trajectory, write
from openmm import app, unit

from kstep_integrators import KStepWarning, units
from kstep_integrators.ensemble.run import run_ensemble
from kstep_integrators.potentials import CalculatorPotential
from kstep_training.evaluate.frames import read_trajectory
from kstep_training.evaluate.outside import run_outside
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.inputs.foreign_frames import read_frames
from kstep_training.inputs.format_units import (
    FORMATS,
    TIME_UNITS,
    GivenUnits,
    table_of_formats,
    velocity_unit,
)
from kstep_training.inputs.molecules import read_molecule

FOREIGN = Path(__file__).parent / "foreign"
FS, BOHR = units.FS, units.BOHR
WATER = np.array([[0.0, 0.0, 0.0], [0.0, 0.76, 0.59], [0.0, -0.76, 0.59]])
SPEED = np.array([[0.001, 0.0, 0.0], [0.0, 0.002, 0.0], [0.0, 0.0, -0.003]])
"""Angstrom / fs."""


def cp2k(path, time=True):
    with path.open("w") as file:
        for frame in range(3):
            clock = f" time = {0.5 * frame:12.3f}," if time else ""
            file.write(f"       3\n i = {frame:8d},{clock} E = {-17.2 + frame:20.10f}\n")
            for symbol, x in zip("OHH", WATER + 0.5 * frame * SPEED, strict=True):
                file.write(f"{symbol:>3s} " + " ".join(f"{c:19.10f}" for c in x) + "\n")
    return path


def extended(path, column="vel", clock="time", scale=1.0, interval=0.5, extra=""):
    with path.open("w") as file:
        for frame in range(3):
            file.write(
                f"3\nProperties=species:S:1:pos:R:3:{column}:R:3 {extra} "
                f'{clock}={interval * frame} pbc="F F F"\n'
            )
            for symbol, x, v in zip("OHH", WATER + 3 * frame * SPEED, SPEED * scale, strict=True):
                file.write(symbol + "".join(f" {c:.9f}" for c in (*x, *v)) + "\n")
    return path


def velocities(record):
    """Angstrom / fs."""
    return record.momenta / record.masses[:, None] * FS


def interval(record):
    return np.diff(record.time)[0] / FS


@pytest.mark.parametrize("style", ["real", "metal", "electron"])
def test_lammps_says_its_units(style):
    """Velocities are displacements over time, whatever the style."""
    record = read_trajectory(FOREIGN / f"{style}.lammpstrj")
    assert interval(record) == pytest.approx(1.0)
    moved = (record.positions[2, 0] - record.positions[0, 0]) / 2.0
    np.testing.assert_allclose(velocities(record).mean(0)[0], moved, rtol=1e-3)
    sides = record.cell.diagonal()
    assert sides == pytest.approx([5.4 if style != "electron" else 5.4 * BOHR] * 3)
    assert record.pbc == (True, True, True)
    with pytest.raises(ValueError, match=f"lammps_units is 'si', but .* says '{style}'"):
        read_trajectory(FOREIGN / f"{style}.lammpstrj", given=GivenUnits(lammps_units="si"))


def test_lammps_that_does_not_is_asked(tmp_path):
    text = (FOREIGN / "metal.lammpstrj").read_text()
    bare = tmp_path / "bare.lammpstrj"
    lines = text.splitlines(keepends=True)
    named = ("ITEM: UNITS", "ITEM: TIME\n")
    starts = [i for i, line in enumerate(lines) if line.startswith(named)]
    kept = [line for i, line in enumerate(lines) if i not in starts and i - 1 not in starts]
    bare.write_text("".join(kept))
    with pytest.raises(ValueError, match="lammps_units=real"):
        read_trajectory(bare, interval_fs=1.0)
    metal = GivenUnits(lammps_units="metal")
    with pytest.raises(ValueError, match="give interval_fs"):
        read_trajectory(bare, given=metal)
    found = read_trajectory(bare, interval_fs=1.0, given=metal)
    wanted = read_trajectory(FOREIGN / "metal.lammpstrj")
    np.testing.assert_allclose(found.momenta, wanted.momenta)
    np.testing.assert_allclose(found.time, wanted.time)
    types = tmp_path / "types.lammpstrj"
    types.write_text(text.replace(" element type", " mol type").replace(" Ar 1 ", " 1 1 "))
    with pytest.raises(ValueError, match="types of atoms and not their elements"):
        read_trajectory(types)
    scaleless = tmp_path / "lj.lammpstrj"
    scaleless.write_text(text.replace("metal", "lj"))
    with pytest.raises(ValueError, match="has the units 'lj'"):
        read_trajectory(scaleless)
    for given in (GivenUnits(time_unit="fs"), GivenUnits(velocity_unit="A/fs")):
        with pytest.raises(ValueError, match="units of its own: lammps_units"):
            read_trajectory(FOREIGN / "metal.lammpstrj", given=given)


@pytest.mark.parametrize("name", ["ipi_bohr.xyz", "ipi_angstrom.xyz", "ipi.extxyz"])
def test_lengths_of_ipi(name):
    """From its comments; it counts steps, and says nothing of time."""
    with pytest.raises(ValueError, match="give interval_fs"):
        read_trajectory(FOREIGN / name)
    record = read_trajectory(FOREIGN / name, interval_fs=1.0)
    np.testing.assert_allclose(record.positions[0, 1], [0.76, 0.59, 0.0], atol=1e-5)
    np.testing.assert_allclose(record.cell.diagonal(), 10.0 * BOHR, rtol=1e-5)
    assert np.isnan(record.momenta).all()
    assert record.pbc == (True, True, True)


def test_velocities_of_ipi_are_no_positions(tmp_path):
    for reader in (read_trajectory, read_molecule, read_frames):
        with pytest.raises(ValueError, match="holds velocities, not positions"):
            reader(FOREIGN / "ipi_velocities.xyz")
    strange = tmp_path / "a.xyz"
    text = (FOREIGN / "ipi_angstrom.xyz").read_text()
    strange.write_text(text.replace("positions{angstrom}", "positions{furlong}"))
    with pytest.raises(ValueError, match="lengths in 'furlong'"):
        read_frames(strange)
    strange.write_text(text.replace("CELL(abcABC)", "CELL{H}"))
    with pytest.raises(ValueError, match="cell as a matrix"):
        read_frames(strange)


def test_compressed_files(tmp_path):
    path = cp2k(tmp_path / "water-pos-1.xyz")
    packed = tmp_path / "water-pos-1.xyz.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert interval(read_trajectory(packed)) == pytest.approx(0.5)
    dump = tmp_path / "a.lammpstrj.gz"
    dump.write_bytes(gzip.compress((FOREIGN / "metal.lammpstrj").read_bytes()))
    assert interval(read_trajectory(dump)) == pytest.approx(1.0)


def test_cp2k(tmp_path):
    path = cp2k(tmp_path / "water-pos-1.xyz")
    record = read_trajectory(path)
    assert interval(record) == pytest.approx(0.5)
    np.testing.assert_allclose(record.energies, (-17.2 + np.arange(3)) * units.HARTREE)
    assert np.isnan(record.momenta).all()
    for given in (GivenUnits(time_unit="ps"), GivenUnits(velocity_unit="bohr/au")):
        with pytest.raises(ValueError, match="is of CP2K: its time is in fs"):
            read_trajectory(path, given=given)
    with pytest.raises(ValueError, match=r"not positions; give water-pos-1.xyz"):
        read_trajectory(path.rename(tmp_path / "water-vel-1.xyz"))
    path = cp2k(tmp_path / "hot-pos-1.xyz")
    path.write_text(path.read_text().replace("-16.2000000000", "**************"))
    record = read_trajectory(path)
    assert interval(record) == pytest.approx(0.5)
    np.testing.assert_array_equal(np.isnan(record.energies), [False, True, False])
    optimization = cp2k(tmp_path / "opt-pos-1.xyz", time=False)
    with pytest.raises(ValueError, match="give interval_fs"):
        read_trajectory(optimization)
    assert read_molecule(optimization).atoms.get_chemical_formula() == "H2O"


@pytest.mark.parametrize(
    ("unit_of_time", "factor"),
    [("fs", 1.0), ("ps", 1e3), ("au", 0.0241888433), ("ase", 10.1805057)],
)
@pytest.mark.parametrize("clock", ["time", "Time"])
def test_the_time_of_extended_xyz_is_asked(tmp_path, unit_of_time, factor, clock):
    path = extended(tmp_path / "a.xyz", "momenta", clock)
    with pytest.raises(ValueError, match=r"does not say .* or not in which unit; .*time_unit="):
        read_trajectory(path)
    record = read_trajectory(path, given=GivenUnits(time_unit=unit_of_time))
    assert interval(record) == pytest.approx(0.5 * factor, rel=1e-7)
    noted = extended(tmp_path / "b.xyz", "momenta", clock, extra=f"time_unit={unit_of_time}")
    assert interval(read_trajectory(noted)) == pytest.approx(0.5 * factor, rel=1e-7)
    other = "ns" if unit_of_time != "ns" else "fs"
    with pytest.raises(ValueError, match="says that it is"):
        read_trajectory(noted, given=GivenUnits(time_unit=other))


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("A/fs", 1.0),
        ("A/ps", 1e3),
        ("nm/ps", 1e2),
        ("m/s", 1e5),
        ("bohr/au", 0.0241888433 / BOHR),
        ("A/akma", 48.88821291),
        ("ase", 1.0 / FS),
    ],
)
@pytest.mark.parametrize("column", ["vel", "velo", "velocities"])
def test_velocities_of_extended_xyz_are_asked(tmp_path, name, scale, column):
    path = extended(tmp_path / "a.xyz", column, scale=scale)
    with pytest.warns(KStepWarning, match=f"the column '{column}' .* no unit .*left out"):
        assert np.isnan(read_trajectory(path, interval_fs=0.5).momenta).all()
    record = read_trajectory(path, interval_fs=0.5, given=GivenUnits(velocity_unit=name))
    np.testing.assert_allclose(velocities(record)[1], SPEED, atol=1e-6)


def test_momenta_are_those_of_ase(tmp_path):
    atoms = molecule("H2O")
    atoms.set_velocities(SPEED / FS)
    for name in ("a.traj", "a.extxyz", "a.json"):
        path = tmp_path / name
        write(path, [atoms, atoms])
        np.testing.assert_allclose(
            velocities(read_trajectory(path, interval_fs=1.0))[0], SPEED, atol=1e-8
        )
        read_trajectory(path, interval_fs=1.0, given=GivenUnits(velocity_unit="ase"))
        with pytest.raises(ValueError, match="are in those of ASE"):
            read_trajectory(path, interval_fs=1.0, given=GivenUnits(velocity_unit="A/fs"))
        with pytest.raises(ValueError, match="says nothing of time"):
            read_trajectory(path, interval_fs=1.0, given=GivenUnits(time_unit="fs"))
    still = tmp_path / "still.extxyz"
    write(still, [molecule("H2O")] * 2)
    with pytest.raises(ValueError, match="has no velocities"):
        read_trajectory(still, interval_fs=1.0, given=GivenUnits(velocity_unit="A/fs"))


def test_what_this_package_writes_says_its_unit(tmp_path):
    """Frames of an ensemble, in any format of ASE that keeps ``info``; those of kstep run."""
    atoms = molecule("H2O")
    made = {"sigma": 0.8, "epsilon": 0.01}
    cheap, settings = CalculatorPotential(LennardJones(**made)), {"k": 4, "timestep": 0.5 * FS}
    frames = [
        run_ensemble([atoms], cheap, lambda atoms: LennardJones(**made), n, **settings).replicas[0]
        for n in (1, 2, 3)
    ]
    frames = [replica.atoms for replica in frames]
    for name in ("a.traj", "a.extxyz"):
        write(tmp_path / name, frames)
        assert interval(read_trajectory(tmp_path / name)) == pytest.approx(2.0)
    with Trajectory(tmp_path / "run.traj", "w") as file:
        for step in range(3):
            atoms.info["kstep"] = {"time": 4.0 * step * FS, "heat": 0.0, "breaks": 0}
            file.write(atoms)
    assert interval(read_trajectory(tmp_path / "run.traj")) == pytest.approx(4.0)


def openmm_water(folder, step_fs):
    """DCD and XTC of OpenMM's own reporters, and their PDB."""
    system, topology = openmm.System(), app.Topology()
    residue = topology.addResidue("HOH", topology.addChain())
    for symbol in "OHH":
        element = app.Element.getBySymbol(symbol)
        topology.addAtom(symbol, element, residue)
        system.addParticle(element.mass)
    springs = openmm.HarmonicBondForce()
    springs.addBond(0, 1, 0.096, 1e5)
    springs.addBond(0, 2, 0.096, 1e5)
    system.addForce(springs)
    integrator = openmm.VerletIntegrator(step_fs * unit.femtoseconds)
    simulation = app.Simulation(topology, system, integrator)
    simulation.context.setPositions(WATER / 10.0)
    simulation.reporters += [
        app.DCDReporter(str(folder / "a.dcd"), 4),
        app.XTCReporter(str(folder / "a.xtc"), 4),
    ]
    simulation.step(12)
    write(folder / "a.pdb", Atoms("OHH", WATER), format="proteindatabank")
    return folder / "a.pdb"


def test_openmm_writes_its_time(tmp_path):
    pdb = openmm_water(tmp_path, 0.25)
    for name in ("a.dcd", "a.xtc"):
        assert interval(read_trajectory(tmp_path / name, pdb)) == pytest.approx(1.0, rel=1e-4)
    with pytest.warns(KStepWarning, match=r"says .* 1 fs apart; interval_fs=2 is taken"):
        assert interval(read_trajectory(tmp_path / "a.dcd", pdb, 2.0)) == pytest.approx(2.0)
    with pytest.raises(ValueError, match=r"time_unit is 'fs', but units of .dcd files are known"):
        read_trajectory(tmp_path / "a.dcd", pdb, given=GivenUnits(time_unit="fs"))


def universe():
    made = MDAnalysis.Universe.empty(3, trajectory=True, velocities=True)
    made.load_new(np.tile(WATER, (3, 1, 1)).astype(np.float32), dt=0.002)
    made.add_TopologyAttr("elements", ["O", "H", "H"])
    made.add_TopologyAttr("names", ["O", "H", "H"])
    made.dimensions = [20.0, 20.0, 20.0, 90.0, 90.0, 90.0]
    return made


H5MD = {"timeunit": "ps", "lengthunit": "Angstrom", "velocityunit": "Angstrom/ps"}


@pytest.mark.parametrize(
    ("name", "options", "found"),
    [
        ("a.trr", {}, 2.0),
        ("a.xtc", {}, 2.0),
        ("a.h5md", H5MD, 2.0),
        ("a.ncdf", {"format": "NCDF", "velocities": True}, 2.0),
        ("a.dcd", {"dt": 0.002}, None),
        ("b.dcd", {"dt": 1.0}, None),
    ],
)
@pytest.mark.filterwarnings("ignore")  # of MDAnalysis about what a molecule without residues lacks
def test_binary_formats(tmp_path, name, options, found):
    path, pdb = tmp_path / name, tmp_path / "a.pdb"
    write(pdb, Atoms("OHH", WATER), format="proteindatabank")
    with MDAnalysis.Writer(str(path), n_atoms=3, **options) as file:
        made = universe()
        for frame in made.trajectory:
            frame.time = 0.002 * frame.frame
            frame.dimensions = [20.0, 20.0, 20.0, 90.0, 90.0, 90.0]
            frame.velocities = SPEED * 1e3
            file.write(made.atoms)
    if found is None:
        # What MDAnalysis writes when nobody says otherwise.
        with pytest.raises(ValueError, match="does not say the time"):
            read_trajectory(path, pdb)
        return
    record = read_trajectory(path, pdb)
    assert interval(record) == pytest.approx(found, rel=1e-4)
    np.testing.assert_allclose(record.positions[0], WATER, atol=1e-2)
    if name in ("a.trr", "a.h5md", "a.ncdf"):
        np.testing.assert_allclose(velocities(record)[1], SPEED, atol=1e-6)


def test_the_step_of_a_dcd_is_in_the_unit_of_its_program(tmp_path):
    """LAMMPS writes 1 fs as 1: in CHARMM's unit that is 48.9 fs."""
    pdb = tmp_path / "a.pdb"
    write(pdb, Atoms("Ar2", [[0, 0, 0], [2.7, 2.7, 0]]), format="proteindatabank")
    with pytest.raises(ValueError, match="does not say the time"):
        read_trajectory(FOREIGN / "lammps.dcd", pdb)
    assert interval(read_trajectory(FOREIGN / "lammps.dcd", pdb, 1.0)) == pytest.approx(1.0)


@pytest.mark.filterwarnings("ignore")
def test_h5md_without_units_is_refused(tmp_path):
    test_binary_formats(tmp_path, "a.h5md", H5MD, 2.0)
    with h5py.File(tmp_path / "a.h5md", "r+") as file:
        del file["particles/trajectory/position/time"].attrs["unit"]
    with pytest.raises(ValueError, match="must have readable units"):
        read_trajectory(tmp_path / "a.h5md", tmp_path / "a.pdb")


def test_other_velocities_of_ase_are_left_out(tmp_path):
    """Of GPUMD: ASE hands on angstrom / fs as its own."""
    atoms = molecule("H2O", cell=[9, 9, 9], pbc=True)
    atoms.set_velocities(SPEED)
    write(tmp_path / "xyz.in", atoms, format="gpumd")
    frames = read_frames(tmp_path / "xyz.in")
    assert frames.velocities is None
    assert "gpumd" in frames.left_out


def test_unknown_units_are_refused():
    with pytest.raises(ValueError, match="time_unit is 'hours', expected one of"):
        EvaluateSettings(time_unit="hours")
    for name in ("A", "A/hour", "mile/fs", ""):
        with pytest.raises(ValueError, match="velocity_unit is"):
            EvaluateSettings(velocity_unit=name)
    with pytest.raises(ValueError, match="style lj have no scale"):
        EvaluateSettings(lammps_units="lj")
    with pytest.raises(ValueError, match="is no text dump of LAMMPS"):
        read_frames(FOREIGN / "ipi_bohr.xyz", GivenUnits(lammps_units="real"))


def test_the_command_takes_the_units(tmp_path):
    path = extended(tmp_path / "a.xyz", column="vel")
    with pytest.raises(ValueError, match="time_unit="):
        run_outside([path], [path], ["velocity_unit=A/fs"], tmp_path / "out")
    given = ["velocity_unit=A/fs", "time_unit=fs"]
    report = run_outside([path], [path], given, tmp_path / "out")
    assert report["settings"]["time_unit"] == "fs"


def test_units_by_hand():
    """An ASE time is 10.18 fs; an atomic one 0.0242 fs; that of CHARMM sqrt(u A^2 mol / kcal)."""
    assert TIME_UNITS["akma"] == pytest.approx(np.sqrt(1.0 / units.KCAL_PER_MOL), rel=1e-6)
    assert TIME_UNITS["au"] == pytest.approx(6.582119569e-16 / 27.211386 * 1e15 * FS, rel=1e-6)
    assert velocity_unit("bohr/au") * FS == pytest.approx(21.8769126, rel=1e-6)


def test_the_guide_has_the_table():
    guide = (Path(__file__).parents[3] / "docs/guide.md").read_text()
    assert table_of_formats() in guide
    assert all(row.reference for row in FORMATS.values())
