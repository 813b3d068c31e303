"""Many molecules or replicas at once: jumps in one call, physics spread over processes."""

from kstep_integrators.ensemble.ensemble import Ensemble
from kstep_integrators.ensemble.replicas import EnsembleResult, Replica
from kstep_integrators.ensemble.run import run_ensemble

__all__ = ["Ensemble", "EnsembleResult", "Replica", "run_ensemble"]
