"""Molecular dynamics in learned k-step jumps, corrected by one physics evaluation each."""

from kstep_integrators.ase import KStepDynamics
from kstep_integrators.ase.checkpoint import CheckpointError
from kstep_integrators.ensemble import Ensemble, run_ensemble
from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.jumps.flow import FlowJump
from kstep_integrators.jumps.load import load_model
from kstep_integrators.learning import AdaptedPotential, Learning
from kstep_integrators.models.model_file import ModelFileError, bundled_models
from kstep_integrators.models.molecules import named_molecule
from kstep_integrators.notices import KStepWarning
from kstep_integrators.observables.observable import Observable
from kstep_integrators.observables.recorder import ObservableRecorder
from kstep_integrators.potentials.calculator import CalculatorPotential
from kstep_integrators.potentials.metatomic import MetatomicPotential
from kstep_integrators.potentials.network import NetworkPotential
from kstep_integrators.potentials.sum import SumPotential
from kstep_integrators.potentials.torch_sim import TorchSimPotential
from kstep_integrators.step.guard import DynamicsFailed, Guard
from kstep_integrators.step.tuning import StrideTuning

__version__ = "0.1.0"

__all__ = [
    "AdaptedPotential",
    "CalculatorPotential",
    "CheckpointError",
    "DirectJump",
    "DynamicsFailed",
    "Ensemble",
    "FlowJump",
    "Guard",
    "KStepDynamics",
    "KStepWarning",
    "Learning",
    "MetatomicPotential",
    "ModelFileError",
    "NetworkPotential",
    "Observable",
    "ObservableRecorder",
    "StrideTuning",
    "SumPotential",
    "TorchSimPotential",
    "bundled_models",
    "load_model",
    "named_molecule",
    "run_ensemble",
]
