"""Settings of objects of PySCF, without the geometry and the results that they hold as well."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["is_pyscf", "pyscf_settings"]

_NO_SETTINGS = frozenset(
    {
        "atom", "chkfile", "converged", "cycles", "e_tot", "groupname", "irrep_id", "irrep_name",
        "max_memory", "output", "scf_summary", "stdout", "symm_orb", "topgroup", "unit", "verbose",
    }
)  # fmt: skip
"""Results, the geometry, and what no number depends on."""
_PLAIN = (str, int, float, tuple, list, dict)


def is_pyscf(value: Any) -> bool:
    """Tell objects of PySCF and GPU4PySCF from others."""
    return type(value).__module__.partition(".")[0] in ("pyscf", "gpu4pyscf")


def pyscf_settings(value: Any) -> dict[str, Any]:
    """Settings of a mean-field object, a molecule, grids, a density fit, ...

    Parameters
    ----------
    value : object of PySCF

    Returns
    -------
    dict
        Attributes that are plain values, k-points, or objects of PySCF themselves; not those that
        are None, as results are before there are any, or what their class has anyway.

    Examples
    --------
    >>> from pyscf import dft, gto
    >>> molecule = gto.M(atom="H 0 0 0; H 0 0 0.74", basis="sto-3g", verbose=0)
    >>> settings = pyscf_settings(dft.RKS(molecule, xc="pbe"))
    >>> settings["xc"], "e_tot" in settings
    ('pbe', False)
    """
    return {
        name: one
        for name, one in getattr(value, "__dict__", {}).items()
        if name not in _NO_SETTINGS
        and (not name.startswith("_") or name == "_auxbasis")
        and not name.startswith("mo_")
        and name != "auxmol"
        and (
            isinstance(one, _PLAIN)
            or is_pyscf(one)
            or (name == "kpts" and isinstance(one, np.ndarray))
        )
        and not (isinstance(one, _PLAIN) and getattr(type(value), name, None) == one)
    }
