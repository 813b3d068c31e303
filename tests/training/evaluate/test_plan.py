"""Settings, sources and keys of an evaluation."""

import dataclasses

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from kstep_integrators import named_molecule
from kstep_integrators.calculators.semiempirical import METHODS as XTB
from kstep_training.evaluate.plan import Run, make_methods, run_key, start_key
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.evaluate.sources import (
    Target,
    calculator_factory,
    calculator_identity,
    make_model,
    potential_identity,
    read_targets,
)
from kstep_training.options import override

WATER = Target("water", named_molecule("water"))


def test_words_set_them():
    found = override(EvaluateSettings, ["seeds=12", "strides_fs=[2,6]", "compared_fs=96"])
    assert (found.seeds, list(found.strides_fs), found.compared_fs) == (12, [2.0, 6.0], 96.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["temperature_K=0"], "temperature_K is 0.0"),
        (["length_ps=-1"], "length_ps is -1.0"),
        (["length_ps=0", "ensemble_length_ps=0"], "nothing is left"),
        (["seeds=1"], "noise needs at least 2"),
        (["seed=-1"], "seed is -1"),
        (["strides_fs=[2.3]"], "a multiple of 0.5 fs"),
        (["strides_fs=[3]"], "no multiple of frame_fs"),
        (["strides_fs=[6]"], "expected a multiple of the stride of 6.0 fs"),
        (["length_ps=0.1"], "shorter than compared_fs"),
        (["stride_fs=[2]"], "did you mean 'strides_fs'"),
    ],
)
def test_settings_refuse(words, message):
    with pytest.raises(ValueError, match=message):
        override(EvaluateSettings, words)


def test_methods_have_all_controls_and_one_length():
    settings = EvaluateSettings()
    methods = {m.name: m for m in make_methods("organic-gfn2", settings)}
    assert set(methods) == {
        "reference", "fine", "verlet-1", "verlet-2", "verlet-4", "verlet-8", "impulse-2",
        "impulse-4", "impulse-8", "filtered-2", "filtered-4", "filtered-8", "potential-only",
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


def keys(settings, model="organic-gfn2", target=WATER, seed=0):
    methods = make_methods(model, settings)
    return {m.name: run_key(Run(target, m, seed), settings) for m in methods}


def test_keys_change_with_what_frames_depend_on_and_with_nothing_else():
    settings = EvaluateSettings()
    base = keys(settings)
    assert len(set(base.values())) == len(base)
    # Names are no content; nor is what belongs to other runs.
    assert keys(settings, target=Target("dihydrogen_oxide", WATER.atoms)) == base
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
    assert not set(keys(settings, target=Target("water", moved)).values()) & set(base.values())
    assert not set(keys(settings, seed=1).values()) & set(base.values())
    friction = keys(dataclasses.replace(settings, friction_per_ps=5.0))
    assert {n for n in base if friction[n] != base[n]} == {
        "langevin", "metropolis-20", "metropolis-50", "metropolis-100", "untested-20",
    }  # fmt: skip
    assert start_key(WATER, 0, settings) != start_key(WATER, 1, settings)


def test_targets_by_name_and_list(tmp_path):
    assert [t.name for t in read_targets("water,ethanol")] == ["water", "ethanol"]
    path = tmp_path / "mine.smi"
    path.write_text("CO methanol\nO=C=O\n")
    found = read_targets(str(path))
    assert [t.name for t in found] == ["methanol", "line2"]
    assert len(found[0].atoms) == 6
    assert len(read_targets("qm_small")) > 2


def test_targets_from_geometries(tmp_path):
    path = tmp_path / "two.xyz"
    write(path, [named_molecule("water"), named_molecule("ethanol")], format="extxyz")
    assert [t.name for t in read_targets(str(path))] == ["water", "ethanol"]
    bare = tmp_path / "bare.xyz"
    write(bare, Atoms("N2", positions=[[0, 0, 0], [0, 0, 1.1]]))
    assert [t.name for t in read_targets(str(bare))] == ["bare"]


def test_targets_refuse(tmp_path):
    with pytest.raises(ValueError, match="no bundled molecule"):
        read_targets("unobtainium")
    crystal = tmp_path / "crystal.xyz"
    write(crystal, bulk("Cu"), format="extxyz")
    with pytest.raises(ValueError, match="is periodic"):
        read_targets(str(crystal))
    twice = tmp_path / "twice.xyz"
    write(twice, [named_molecule("water")] * 2, format="extxyz")
    with pytest.raises(ValueError, match="two molecules of one name"):
        read_targets(str(twice))
    text = tmp_path / "text.xyz"
    text.write_text("not a geometry")
    with pytest.raises(ValueError, match="no file of geometries"):
        read_targets(str(text))
    broken = named_molecule("water")
    broken.positions[0] = np.nan
    nan = tmp_path / "nan.traj"
    write(nan, broken)
    with pytest.raises(ValueError, match="not finite"):
        read_targets(str(nan))
    bad = tmp_path / "bad.smi"
    bad.write_text("C1CC one\n")
    with pytest.raises(ValueError, match="cannot be evaluated as a whole"):
        read_targets(str(bad))


def test_calculators_by_name():
    assert calculator_identity("tests.training.evaluate_physics:cheap").endswith(":cheap")
    assert "tblite" in calculator_identity(XTB[0])
    made = calculator_factory("tests.training.evaluate_physics:physics")(WATER.atoms)
    assert made.get_potential_energy(WATER.atoms) == pytest.approx(0.0, abs=1e-12)
    assert type(calculator_factory("GFN2-xTB")(WATER.atoms)).__name__ == "TBLite"
    assert make_model("organic-gfn2", WATER.atoms, False).describe()["model"] == "organic-gfn2"
    assert len(potential_identity("organic-gfn2")) == 64
    assert "calculator" in make_model("GFN1-xTB", WATER.atoms, False).describe()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("GFN3", "no calculator 'GFN3'"),
        ("no_such_module:f", "cannot be loaded"),
        ("math:no_such_function", "cannot be loaded"),
        ("math:pi", "is a float, expected a function"),
    ],
)
def test_calculators_refuse(name, message):
    with pytest.raises(ValueError, match=message):
        calculator_factory(name)
