"""Equivariant networks that read a property off a geometry, and the graphs they take."""

from importlib.util import find_spec

_missing = [name for name in ("e3nn", "torch_geometric") if find_spec(name) is None]
if _missing:
    raise ImportError(
        f"the networks of observables need {' and '.join(_missing)}, not installed here; install "
        "with: pip install 'kstep-integrators[observables]'"
    )
