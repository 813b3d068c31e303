"""Settings, methods and runs of water on springs, which the tests of runs share."""

from kstep_training.evaluate.plan import make_methods
from kstep_training.evaluate.runs import make_records
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.inputs.molecules import read_molecule
from kstep_training.inputs.physics import make_physics

PHYSICS = "tests.training.evaluate_physics:physics"
CHEAP = "tests.training.evaluate_physics:cheap"
SETTINGS = EvaluateSettings(
    physics=PHYSICS, seeds=2, length_ps=0.032, ensemble_length_ps=0.08, equilibration_ps=0.01,
    strides_fs=[2.0, 4.0], ensemble_strides_fs=[20.0], compared_fs=16.0, spot_checks=2,
    respa="tests.training.evaluate_physics:poor",
)  # fmt: skip
WATER = read_molecule("water")
METHODS = {m.name: m for m in make_methods(CHEAP, SETTINGS)}


def run(name, starts):
    return make_records(METHODS[name], starts, make_physics(SETTINGS), SETTINGS, [11, 12])
