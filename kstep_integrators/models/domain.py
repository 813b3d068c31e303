"""A watch on the domain of a model: the residual of the first landings tells if it is left."""

from __future__ import annotations

import math
import warnings
from typing import Any

from ase import Atoms

from kstep_integrators.models.model_file import ModelHeader
from kstep_integrators.notices import KStepWarning

__all__ = ["LANDINGS", "header_of_jump", "outside_domain", "warn_of_domain"]

LANDINGS = 4
"""Landings whose residual is looked at: it differs by a tenth from one to the next."""

FACTOR = 4.0
"""Of the validation error, beyond which a model is said to be outside of its domain.

With the bundled model on GFN2-xTB at 300 and 500 K, residuals of molecules that it was fitted to
are 0.01 to 0.8 of its validation error, which is that of distorted and hot geometries too; those of
molecules with groups that it has never met (peroxides, azides, hydrazines, allene, cubane) 6 to
190. In between are larger molecules of known groups: N-methylacetamide 1.2, ibuprofen 2.2,
benzamide 4.4, aspirin 5.7.
"""


def header_of_jump(jump: Any) -> ModelHeader | None:
    """The header of the model that a jump, or the potential of a flow, was made from."""
    header = getattr(getattr(jump, "potential", jump), "header", None)
    return header if isinstance(header, ModelHeader) else None


def outside_domain(header: ModelHeader, residual: float) -> str | None:
    """The reason to say that a model is outside of its domain.

    Parameters
    ----------
    header : ModelHeader
    residual : float
        Rms component of F_physics - F_potential, eV/angstrom.

    Returns
    -------
    str or None
        None if the residual is within :data:`FACTOR` of the validation error, or the header has
        none.

    Examples
    --------
    >>> from kstep_integrators import load_model
    >>> header = load_model("organic-gfn2").header
    >>> outside_domain(header, 0.05) is None
    True
    >>> print(outside_domain(header, 0.75))
    0.75 eV/angstrom, 11 times its validation error of 0.068
    """
    validation = header.training.get("validation")
    known = validation.get("val_force_rms") if isinstance(validation, dict) else None
    if not isinstance(known, int | float) or not (known > 0 and math.isfinite(residual)):
        return None
    error = 1e-3 * known  # of meV/angstrom
    if residual <= FACTOR * error:
        return None
    times = residual / error
    return f"{residual:.2f} eV/angstrom, {times:.0f} times its validation error of {error:.3f}"


def warn_of_domain(
    jump: Any, atoms: Atoms | str, before: tuple[float, int], now: tuple[float, int], count: int
) -> None:
    """Warn once, when the first landings are made, of a model outside of its domain.

    Parameters
    ----------
    jump : Jump
    atoms : ase.Atoms or str
        What moves.
    before, now : (float, int)
        Sum of the squares of the residual, (eV/angstrom)^2, and count of its components, before a
        step and after it.
    count : int
        Components of one landing.
    """
    enough = LANDINGS * count
    if not before[1] < enough <= now[1]:
        return
    header = header_of_jump(jump)
    said = None if header is None else outside_domain(header, math.sqrt(now[0] / now[1]))
    if header is not None and said is not None:
        name = atoms if isinstance(atoms, str) else atoms.get_chemical_formula()
        warnings.warn(
            f"the forces of model {header.name!r} differ from the physics of "
            f"{name} by {said}, over the first {now[1] // count} landings: it is "
            "bonded in ways that the model has not met, is far from the geometries it knows, or "
            f"the physics is not {header.method}. The physics corrects the jumps, but long ones "
            "will be poor: take a shorter stride, another model, or CalculatorPotential(...)",
            KStepWarning,
            stacklevel=3,
        )
