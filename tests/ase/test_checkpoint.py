"""A resumed run is the uninterrupted one, to the last bit."""

import dataclasses

import numpy as np
import pytest
import torch
from ase import units
from ase.constraints import FixAtoms, FixCom
from ase.io import read

from kstep_integrators import DynamicsFailed, Guard, KStepDynamics, KStepWarning, load_model
from kstep_integrators.ase.checkpoint_file import read_checkpoint
from kstep_integrators.correctors import Filtered, Mollified
from kstep_integrators.testing import BrokenCalculator, CountingCalculator, MorseNetwork
from tests.conftest import REFERENCE, cheap, hot, physics, potential
from tests.direct_systems import silent

FS = units.fs
STEPS = 17
LANGEVIN = {"temperature_K": 300, "friction": 0.02 / FS}
MOLLIFIED = {"corrector": "mollified", "k": 24, "verify_interval": 2}

KINDS = {
    "nve": {},
    "none": {"corrector": "none"},
    "langevin": LANGEVIN,
    "bussi": {"thermostat": "bussi", "temperature_K": 300, "taut": 50 * FS},
    "metropolized": {**LANGEVIN, "metropolize": True, "extra_chances": 1, "k": 30},
    "metropolized none": {
        "temperature_K": 300, "friction": np.inf, "metropolize": True, "corrector": "none",
        "extra_chances": 1, "k": 30,
        "model": cheap(depth=1.2),
    },
    "filtered": {**LANGEVIN, "corrector": Filtered("quartic", dense_limit=4)},
    "mollified": {**MOLLIFIED},
    "mollified langevin": {**MOLLIFIED, **LANGEVIN, "constraint": FixAtoms([1, 5])},
    "mollified reach": {**MOLLIFIED, "corrector": Mollified(2.0)},
    "mollified centred": {**MOLLIFIED, **LANGEVIN, "constraint": FixCom()},
    "mollified bussi": {
        **MOLLIFIED, "thermostat": "bussi", "temperature_K": 300, "taut": 50 * FS,
    },
    "mollified shrink": {**MOLLIFIED, "on_error": "shrink", "force_tolerance": 0.05},
    "mollified fallback": {**MOLLIFIED, "force_tolerance": 0.05},
    "guard": {"corrector": "none", "guard": Guard(max_energy_change=0.02)},
    "shrink": {**LANGEVIN, "on_error": "shrink", "force_tolerance": 0.3},
    "fixed": {**LANGEVIN, "constraint": FixAtoms([1, 5])},
    "centred": {**LANGEVIN, "constraint": FixCom()},
    "network": {**LANGEVIN, "model": potential(), "k": 2},
    "direct": {**LANGEVIN, "model": silent(force_head=True), "k": 2, "force_tolerance": 0.6},
    "lists": {
        **LANGEVIN, "model": potential(dense_limit=4), "corrector": Filtered(dense_limit=4), "k": 2,
    },
}  # fmt: skip


def begin(folder, kind="langevin", interval=3, steps_of_output=2, calculator=None, **more):
    settings = {"k": 4, "model": cheap(depth=1.8), **KINDS[kind], **more}
    atoms = hot()
    atoms.set_constraint(settings.pop("constraint", None))
    atoms.calc = CountingCalculator(physics()) if calculator is None else calculator
    folder.mkdir(exist_ok=True)
    return KStepDynamics(
        atoms, settings.pop("model"), rng=np.random.default_rng(7),
        trajectory=folder / "md.traj", logfile=folder / "md.log", loginterval=steps_of_output,
        checkpoint=folder / "run.ckpt", checkpoint_interval=interval, **settings,
    )  # fmt: skip


def resume(folder, kind="langevin", calculator=None):
    calculator = CountingCalculator(physics()) if calculator is None else calculator
    model = KINDS[kind].get("model", cheap(depth=1.8))
    return KStepDynamics.resume(folder / "run.ckpt", calculator, model)


def numbers(stats):
    return dataclasses.replace(stats, jump_seconds=0.0, physics_seconds=0.0)


def assert_same_run(one, other):
    """Bit for bit: state, counters, noise to come, and every byte of the outputs."""
    np.testing.assert_array_equal(one.atoms.positions, other.atoms.positions)
    np.testing.assert_array_equal(one.atoms.get_momenta(), other.atoms.get_momenta())
    assert torch.equal(one._run.point.physics.energy, other._run.point.physics.energy)
    assert numbers(one.stats) == numbers(other.stats)
    assert one.rng.bit_generator.state == other.rng.bit_generator.state
    for name in ("nsteps", "transferred_energy", "dt", "k"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.get_time() == other.get_time()
    assert one.todict() == other.todict()
    for name in ("trajectory", "log"):
        written = [getattr(dynamics._outputs, name).read_bytes() for dynamics in (one, other)]
        assert written[0] == written[1], name


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_goes_on_as_if_it_had_not(kind, tmp_path):
    through = begin(tmp_path / "through", kind)
    through.run(STEPS)
    rng = np.random.default_rng(sorted(KINDS).index(kind))
    for number, stop in enumerate(rng.choice(np.arange(1, STEPS), 2, replace=False)):
        folder = tmp_path / str(number)
        stopped = begin(folder, kind)
        stopped.run(int(stop))
        evaluations = stopped.atoms.calc.evaluations
        resumed = resume(folder, kind)
        assert resumed.nsteps == stop
        resumed.run(STEPS - int(stop))
        assert_same_run(resumed, through)
        evaluations += resumed.atoms.calc.evaluations
        assert evaluations == through.atoms.calc.evaluations
        assert evaluations == through.stats.physics_evaluations + through.stats.verifications
    if "metropolize" in KINDS[kind]:
        assert 0 < through.stats.flips < STEPS
    if kind.endswith("shrink"):
        assert through.stats.shrinks > 0
    if kind.startswith("mollified"):
        assert through.stats.verifications > 0
    if kind in ("guard", "mollified fallback"):
        assert 0 < through.stats.fallbacks < STEPS


@pytest.mark.parametrize("kind", ["nve", "langevin", "metropolized"])
def test_a_run_that_died_between_checkpoints_goes_on_from_the_last(kind, tmp_path):
    through = begin(tmp_path / "through", kind)
    through.run(STEPS)
    for stop in (1, 8, 13):
        folder = tmp_path / str(stop)
        died = begin(folder, kind)

        def die(died=died, stop=stop):
            if died.nsteps == stop:
                raise MemoryError

        died.attach(die)
        with pytest.raises(MemoryError):
            died.run(STEPS)
        resumed = resume(folder, kind)
        assert resumed.nsteps == 3 * (stop // 3)
        resumed.run(STEPS - resumed.nsteps)
        assert_same_run(resumed, through)
        assert len(read(folder / "md.traj", ":")) == STEPS // 2 + 1


@pytest.mark.parametrize("kind", ["langevin", "bussi", "metropolized"])
def test_ctrl_c_within_a_step_saves_the_step_before(kind, tmp_path):
    class Interrupted(MorseNetwork):
        calls = 0

        def calculate(self, *arguments):
            self.calls += 1
            if self.calls == 11:
                raise KeyboardInterrupt
            super().calculate(*arguments)

    through = begin(tmp_path / "through", kind, calculator=physics())
    through.run(STEPS)
    stopped = begin(tmp_path / "stopped", kind, interval=100, calculator=Interrupted(REFERENCE))
    with pytest.raises(KeyboardInterrupt):
        stopped.run(STEPS)
    assert stopped.nsteps > 0
    with pytest.warns(UserWarning, match=r"calculator 'interrupted'.*, now 'morsenetwork'\)"):
        resumed = resume(tmp_path / "stopped", kind, physics())
    assert resumed.nsteps == stopped.nsteps
    stopped.run(STEPS - stopped.nsteps)  # in the same process: the same noise again
    np.testing.assert_array_equal(stopped.atoms.positions, through.atoms.positions)


def test_a_failed_run_names_its_checkpoint(tmp_path):
    calculator = BrokenCalculator(physics(), range(8, 100))
    dynamics = begin(tmp_path, interval=100, calculator=calculator)
    with pytest.raises(DynamicsFailed, match=r"last good state \(step 6\) is in .*run.ckpt"):
        dynamics.run(STEPS)
    assert not (tmp_path / "md.traj.restart.traj").exists()
    through = begin(tmp_path / "through", calculator=BrokenCalculator(physics(), []))
    through.run(STEPS)
    resumed = resume(tmp_path, calculator=BrokenCalculator(physics(), []))
    assert resumed.nsteps == 6
    resumed.run(STEPS - 6)
    np.testing.assert_array_equal(resumed.atoms.positions, through.atoms.positions)
    assert (tmp_path / "md.traj").read_bytes() == (tmp_path / "through/md.traj").read_bytes()


def test_without_observers_that_saw_the_state_there_is_a_restart_file(tmp_path):
    dynamics = begin(tmp_path, calculator=BrokenCalculator(physics(), range(4, 100)))
    dynamics.run(1)
    dynamics.atoms.positions[0, 0] += 0.01
    with pytest.raises(DynamicsFailed, match=r"is in .*md.traj.restart.traj"):
        dynamics.run(STEPS)
    assert read_checkpoint(tmp_path / "run.ckpt").nsteps == 1


def test_a_checkpoint_is_written_at_the_start_every_interval_and_at_the_end(tmp_path):
    dynamics = begin(tmp_path, interval=4)
    written = {}
    path = tmp_path / "run.ckpt"
    for _ in dynamics.irun(10):
        written[dynamics.nsteps] = read_checkpoint(path).nsteps
    assert list(written.values()) == [0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8]
    assert read_checkpoint(path).nsteps == 10
    for _ in dynamics.irun(10):
        if dynamics.nsteps == 15:
            break
    assert read_checkpoint(path).nsteps == 15


def test_a_run_goes_on_from_its_very_start(tmp_path):
    through = begin(tmp_path / "through")
    through.run(5)
    begin(tmp_path / "stopped").run(0)
    resumed = resume(tmp_path / "stopped")
    assert resumed.nsteps == 0
    resumed.run(5)
    assert_same_run(resumed, through)
    assert resumed.atoms.calc.evaluations == 5


def test_resuming_again_and_again(tmp_path):
    through = begin(tmp_path / "through", "metropolized")
    through.run(STEPS)
    begin(tmp_path / "stopped", "metropolized").run(2)
    for _ in range(2, STEPS):
        resumed = resume(tmp_path / "stopped", "metropolized")
        resumed.run(1)
    assert_same_run(resumed, through)


def test_what_a_user_edits_at_the_end_of_a_step_is_kept(tmp_path):
    def cool(dynamics):
        if dynamics.nsteps == 3:
            dynamics.atoms.set_momenta(0.5 * dynamics.atoms.get_momenta())
            dynamics.atoms.positions[0, 0] += 0.01

    ends = []
    for name in ("through", "stopped"):
        dynamics = begin(tmp_path / name)
        dynamics.attach(cool, 1, dynamics)
        dynamics.run(3)
        if name == "stopped":
            dynamics = resume(tmp_path / name)
        dynamics.run(3)
        ends.append(dynamics)
    assert_same_run(*ends)


def test_the_whole_atoms_object_survives(tmp_path):
    atoms = hot()
    atoms.info.update(name="x", charge=0, notes={"a": [1, 2.5, None]}, field=np.arange(3.0))
    atoms.set_tags(range(9))
    atoms.set_initial_charges(np.linspace(-1, 1, 9))
    atoms.set_initial_magnetic_moments(np.zeros(9))
    atoms.set_masses(np.where(atoms.numbers == 1, 2.014, atoms.get_masses()))
    atoms.set_array("shell", np.arange(18).reshape(9, 2))
    atoms.set_constraint(FixAtoms([2]))
    atoms.set_cell([11, 12, 13.5])
    atoms.calc = physics()
    KStepDynamics(atoms, cheap(), checkpoint=tmp_path / "run.ckpt").run(2)
    found = KStepDynamics.resume(tmp_path / "run.ckpt", physics(), cheap()).atoms
    assert found == atoms
    assert found.arrays.keys() == atoms.arrays.keys()
    for name, array in atoms.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype
    np.testing.assert_array_equal(found.info.pop("field"), atoms.info.pop("field"))
    assert found.info == atoms.info
    assert found.constraints[0].index.tolist() == [2]


def test_what_cannot_be_kept_is_named(tmp_path):
    atoms = hot()
    atoms.info["thing"] = object()
    atoms.calc = physics()
    with pytest.warns(KStepWarning, match=r"leaves out atoms.info\['thing'\], which JSON cannot"):
        KStepDynamics(atoms, cheap(), checkpoint=tmp_path / "run.ckpt").run(1)
    assert not KStepDynamics.resume(tmp_path / "run.ckpt", physics(), cheap()).atoms.info


def test_properties_that_the_calculator_cannot_keep_in_json_are_named(tmp_path):
    class Odd(MorseNetwork):
        def calculate(self, *arguments):
            super().calculate(*arguments)
            self.results["odd"] = object()

    dynamics = begin(tmp_path, calculator=Odd(REFERENCE))
    with pytest.warns(KStepWarning, match="leaves out the calculator's result 'odd'"):
        dynamics.run(1)


@pytest.mark.parametrize("name", ["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"])
def test_every_generator_of_numpy(name, tmp_path):
    ends = []
    for number in range(2):
        atoms = hot()
        atoms.calc = physics()
        rng = np.random.Generator(getattr(np.random, name)(3))
        path = tmp_path / f"{number}.ckpt"
        dynamics = KStepDynamics(atoms, cheap(), **LANGEVIN, rng=rng, checkpoint=path)
        dynamics.run(3)
        if number:
            dynamics = KStepDynamics.resume(path, physics(), cheap())
        dynamics.run(3)
        ends.append(dynamics.atoms.positions)
    np.testing.assert_array_equal(*ends)


@pytest.mark.filterwarnings("ignore:the forces of model .organic-gfn2. differ from the physics")
def test_a_bundled_model_is_found_by_its_name(tmp_path):
    atoms = hot()
    atoms.calc = physics()
    model = load_model("organic-gfn2", device="cpu", dtype=torch.float64)
    path = tmp_path / "run.ckpt"
    dynamics = KStepDynamics(atoms, model, k=2, checkpoint=path)
    dynamics.run(2)
    resumed = KStepDynamics.resume(path, physics())
    dynamics.run(2)
    resumed.run(2)
    np.testing.assert_array_equal(dynamics.atoms.positions, resumed.atoms.positions)


def test_energies_are_known_at_once(tmp_path):
    begin(tmp_path).run(4)
    resumed = resume(tmp_path)
    known = resumed.get_conserved_energy()
    assert resumed.atoms.calc.evaluations == 0
    total = resumed.atoms.get_total_energy() - resumed.transferred_energy
    assert known == pytest.approx(total, abs=1e-12)


def test_a_log_on_the_screen_goes_on(tmp_path, capsys):
    for number in range(2):
        if number == 0:
            atoms = hot()
            atoms.calc = physics()
            path = tmp_path / "run.ckpt"
            dynamics = KStepDynamics(atoms, cheap(), logfile="-", checkpoint=path)
        else:
            dynamics = KStepDynamics.resume(path, physics(), cheap())
        dynamics.run(2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "Time[ps]", "0.0000", "0.0020", "0.0040", "0.0060", "0.0080",
    ]  # fmt: skip


def test_bonds_are_watched_from_the_start_of_the_run_on(tmp_path):
    begin(tmp_path, "nve").run(2)
    resumed = resume(tmp_path, "nve")
    bonded = resumed._run.bonds.bonded.clone()
    assert 0 < bonded.sum() < len(bonded)
    resumed._run.bonds.bonded[0] ^= True  # as if it had changed and been told of
    resumed.run(0)
    resumed._saved = None
    resumed._save()
    again = resume(tmp_path, "nve")._run.bonds
    assert again.bonded[0] != bonded[0]
    assert torch.equal(again.pairs, resumed._run.bonds.pairs)


def test_one_file_is_not_taken_for_two_outputs(tmp_path):
    for names in (("trajectory", "logfile"), ("trajectory", "checkpoint")):
        given = dict.fromkeys(names, tmp_path / "run")
        with pytest.raises(ValueError, match=f"{names[0]} and {names[1]} are the same file"):
            KStepDynamics(hot(), cheap(), **given)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["trajectory", "logfile", "checkpoint"])
def test_a_file_without_a_folder_or_in_the_place_of_one_is_refused(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{name} is .*there is no folder"):
        KStepDynamics(hot(), cheap(), **{name: tmp_path / "none/run"})
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match=f"{name} is .*folder"):
        KStepDynamics(hot(), cheap(), **{name: tmp_path / "folder"})


def test_files_stay_where_they_are_when_the_process_moves(tmp_path, monkeypatch):
    """The checkpoint was written anew in the other folder, beside an empty trajectory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    atoms = hot()
    atoms.calc = physics()
    names = {"trajectory": "md.traj", "logfile": "md.log", "checkpoint": "run.ckpt"}
    dynamics = KStepDynamics(atoms, cheap(), k=2, checkpoint_interval=1, **names)
    dynamics.run(2)
    monkeypatch.chdir("elsewhere")
    dynamics.run(2)
    assert [*(tmp_path / "elsewhere").iterdir()] == []
    resumed = KStepDynamics.resume("../run.ckpt", physics(), cheap())
    assert resumed.nsteps == 4
    resumed.run(1)
    assert len(read(tmp_path / "md.traj", ":")) == 6


def test_of_two_runs_that_were_made_together_the_second_keeps_off(tmp_path):
    """It wrote over the checkpoint of the first, which was not there yet when it was made."""
    runs = []
    for seed in (0, 1):
        atoms = hot(seed=seed)
        atoms.calc = physics()
        runs.append(KStepDynamics(atoms, cheap(), k=2, checkpoint=tmp_path / "run.ckpt"))
    runs[0].run(1)
    with pytest.raises(FileExistsError, match="which exists"):
        runs[1].run(1)
    runs[0].run(1)
    resumed = KStepDynamics.resume(tmp_path / "run.ckpt", physics(), cheap())
    np.testing.assert_array_equal(resumed.atoms.positions, runs[0].atoms.positions)


def test_a_file_that_is_no_trajectory_is_not_appended_to(tmp_path):
    (tmp_path / "notes.txt").write_text("notes")
    atoms = hot()
    atoms.calc = physics()
    with pytest.raises(ValueError, match="is no trajectory of ASE"):
        KStepDynamics(atoms, cheap(), trajectory=tmp_path / "notes.txt", append_trajectory=True)
    assert (tmp_path / "notes.txt").read_text() == "notes"
