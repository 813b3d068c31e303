"""Settings, methods and keys of an evaluation."""

import dataclasses

import pytest
from ase.build import bulk
from ase.constraints import FixAtoms

from kstep_integrators import named_molecule
from kstep_training.evaluate.plan import (
    Run,
    make_methods,
    run_key,
    run_noise,
    start_key,
    start_noise,
)
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.inputs.molecules import InputMolecule
from kstep_training.options import override
from tests.training import evaluate_physics

WATER = InputMolecule("water", named_molecule("water"))


def test_overrides_set_them():
    settings = override(EvaluateSettings, ["seeds=12", "strides_fs=[2,6]", "compared_fs=96"])
    assert (settings.seeds, list(settings.strides_fs), settings.compared_fs) == (
        12,
        [2.0, 6.0],
        96.0,
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["temperature_K=0"], "temperature_K is 0.0"),
        (["length_ps=-1"], "length_ps is -1.0"),
        (["length_ps=0", "ensemble_length_ps=0"], "nothing is left"),
        (["picoseconds=2"], "did you mean 'length_ps'"),
        (["physics=mm"], "mm is a force field of each"),
        (["respa=mm"], "mm is a force field of each"),
        (["xc=pbe"], "physics=pyscf"),
        (["seeds=1"], "noise needs at least 2"),
        (["seed=-1"], "seed is -1"),
        (["strides_fs=[2.3]"], "a multiple of 0.5 fs"),
        (["strides_fs=[3]"], "no multiple of frame_fs"),
        (["strides_fs=[6]"], "expected a multiple of the stride of 6.0 fs"),
        (["length_ps=0.1"], "shorter than compared_fs"),
        (["stride_fs=[2]"], "did you mean 'strides_fs'"),
    ],
)
def test_settings_refuse(overrides, message):
    with pytest.raises(ValueError, match=message):
        override(EvaluateSettings, overrides)


def test_methods_have_all_controls_and_one_length():
    settings = EvaluateSettings()
    methods = {m.name: m for m in make_methods("organic-gfn2", settings)}
    assert set(methods) == {
        "reference", "fine", "verlet-1", "verlet-2", "verlet-4", "verlet-8", "impulse-2",
        "impulse-4", "impulse-8", "filtered-2", "filtered-4", "filtered-8", "mollified-4",
        "mollified-8", "potential-only",
        "ballistic", "respa-2", "respa-4", "respa-8", "langevin", "metropolis-20", "metropolis-50",
        "metropolis-100", "untested-20",
    }  # fmt: skip
    for method in methods.values():
        length = {"dynamics": 2.5, "ensemble": 10.0}[method.part]
        if method.name != "fine":
            assert method.length_ps == length
            assert 0 <= 1000.0 * length - method.steps * method.stride_fs < method.stride_fs
    assert methods["fine"].steps * methods["fine"].stride_fs == settings.compared_fs
    only = make_methods("organic-gfn2", dataclasses.replace(settings, length_ps=0.0, respa="none"))
    assert {m.part for m in only} == {"ensemble"}
    other = dataclasses.replace(settings, ensemble_length_ps=0.0, strides_fs=[], respa="none")
    names = [m.name for m in make_methods("organic-gfn2", other)]
    assert names == ["reference", "fine", "verlet-1"]


def test_what_has_learned_goes_on_with_the_corrector_of_its_stride():
    settings = EvaluateSettings(learn=True, strides_fs=[2.0, 4.0, 8.0], ensemble_length_ps=0.0)
    found = {m.name: m.corrector for m in make_methods("organic-gfn2", settings) if m.learn}
    assert {found[f"{kind}-{h}"] for kind in ("learned", "learning") for h in (2, 4)} == {"impulse"}
    assert found["learned-8"] == found["learning-8"] == "mollified"
    other = dataclasses.replace(settings, correctors=["filtered"])
    assert {m.corrector for m in make_methods("organic-gfn2", other) if m.learn} == {"filtered"}


def test_what_a_mollified_run_verifies_is_in_its_key():
    settings = EvaluateSettings()
    more = dataclasses.replace(settings, verify_interval=5)
    changed = {name for name, key in keys(settings).items() if keys(more)[name] != key}
    assert changed == {"mollified-4", "mollified-8"}


def keys(settings, model="organic-gfn2", molecule=WATER, seed=0):
    methods = make_methods(model, settings)
    return {m.name: run_key(Run(molecule, m, seed), settings) for m in methods}


def test_keys_change_with_what_frames_depend_on_and_with_nothing_else():
    settings = EvaluateSettings()
    base = keys(settings)
    assert len(set(base.values())) == len(base)
    # Names are no content; nor is what belongs to other runs.
    assert keys(settings, molecule=InputMolecule("dihydrogen_oxide", WATER.atoms)) == base
    assert keys(dataclasses.replace(settings, seeds=16, strides_fs=[2.0, 4.0, 8.0])) == base
    # Another model leaves the references.
    other = keys(settings, "GFN1-xTB")
    same = {name for name in base if other[name] == base[name]}
    assert same == {
        n for n in base
        if n.startswith(("reference", "fine", "verlet", "ballistic", "langevin", "respa"))
    }  # fmt: skip
    for change in ({"temperature_K": 310.0}, {"seed": 1}, {"physics": "GFN1-xTB"}):
        assert not set(keys(dataclasses.replace(settings, **change)).values()) & set(base.values())
    moved = WATER.atoms.copy()
    moved.positions[0, 0] += 1e-3
    assert not set(keys(settings, molecule=InputMolecule("water", moved)).values()) & set(
        base.values()
    )
    assert not set(keys(settings, seed=1).values()) & set(base.values())
    friction = keys(dataclasses.replace(settings, friction_per_ps=5.0))
    assert {n for n in base if friction[n] != base[n]} == {
        "langevin", "metropolis-20", "metropolis-50", "metropolis-100", "untested-20",
    }  # fmt: skip
    assert start_key(WATER, 0, settings) != start_key(WATER, 1, settings)
    assert start_noise(WATER, 0, settings) != start_noise(WATER, 1, settings)


def test_keys_know_the_cell_its_directions_and_what_is_held():
    settings = EvaluateSettings(physics="GFN1-xTB")
    atoms = bulk("Cu", cubic=True, a=3.6)
    made = [atoms]
    for number in range(4):
        other = atoms.copy()
        if number == 0:
            other.set_cell(1.001 * other.cell[:])
        elif number == 1:
            other.pbc = (True, True, False)
        elif number == 2:
            other.set_constraint(FixAtoms([0]))
        else:
            other.pbc = False
        made.append(other)
    found = [keys(settings, molecule=InputMolecule("copper", one)) for one in made]
    every = [key for one in found for key in one.values()]
    assert len(set(every)) == len(every)
    # A cell that nothing is periodic in is no part of a molecule.
    empty = made[-1].copy()
    empty.cell[:] = 0.0
    assert keys(settings, molecule=InputMolecule("copper", empty)) == found[-1]


def test_code_of_a_physics_of_ones_own_changes_keys_and_not_the_noise(monkeypatch):
    settings = EvaluateSettings(physics="tests.training.evaluate_physics:physics")
    run = Run(WATER, make_methods(settings.physics, settings)[0], 0)
    named = (start_key(WATER, 0, settings), run_key(run, settings))
    noise = (start_noise(WATER, 0, settings), run_noise(run, settings))
    monkeypatch.setattr(evaluate_physics, "physics", evaluate_physics.cheap)
    assert start_key(WATER, 0, settings) != named[0]
    assert run_key(run, settings) != named[1]
    assert (start_noise(WATER, 0, settings), run_noise(run, settings)) == noise
