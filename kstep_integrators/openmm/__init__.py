"""k-step jumps in OpenMM: an integrator for ``Simulation``, ``Context`` and ``XmlSerializer``."""

from __future__ import annotations

try:
    import openmm as _openmm
except ImportError as error:
    raise ImportError(
        "kstep_integrators.openmm needs OpenMM: pip install 'kstep-integrators[openmm]'"
    ) from error

if not hasattr(_openmm, "PythonForce"):
    raise ImportError(
        f"kstep_integrators.openmm needs OpenMM 8.4 or newer, with its PythonForce; this is "
        f"{_openmm.__version__}: pip install -U 'kstep-integrators[openmm]'"
    )

from kstep_integrators.openmm.integrator import KStepIntegrator
from kstep_integrators.openmm.jump import add_jump

__all__ = ["KStepIntegrator", "add_jump"]
