"""What fresh calculators find where a run says it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ase import Atoms

from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.physics.calculation import ask
from kstep_integrators.state import EvaluationFailed
from kstep_training.evaluate.plan import Method
from kstep_training.evaluate.record import Record
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.evaluate.sources import calculator_factory, make_model, trained_strides

__all__ = ["spot_check"]


def spot_check(
    record: Record, method: Method, atoms: Atoms, settings: EvaluateSettings
) -> dict[str, list[float]]:
    """Compute energies, residuals and errors of predicted energies again at some landings.

    Parameters
    ----------
    record : Record
    method : Method
    atoms : ase.Atoms
        Of the same atoms, for the charge.
    settings : EvaluateSettings

    Returns
    -------
    dict of str to list of float
        ``energy``: reported minus measured potential energies, eV. Of jumps that ask for forces
        also ``residual``: rms component at each landing, eV/A, and ``predicted``: error of the
        change of energy that the potential predicts for the jump before it, eV. What cannot be
        computed is left out and counted in ``failed``.
    """
    landings = np.flatnonzero(np.isfinite(record.energies))
    chosen = np.unique(np.linspace(1, max(len(landings) - 1, 1), settings.spot_checks, dtype=int))
    chosen = chosen[chosen < len(landings)]
    found: dict[str, list[float]] = {"energy": [], "residual": [], "predicted": [], "failed": []}
    with_model = method.kind == "jumps" and not method.metropolize
    with_model = with_model and not trained_strides(method.potential)  # no energy of its own
    bound: Any = None
    for index in chosen:
        places = [record.positions[landings[index - step]] for step in (1, 0)]
        reported = [float(record.energies[landings[index - step]]) for step in (1, 0)]
        answers = []
        for place in places if with_model else places[1:]:
            here = atoms.copy()
            here.positions = place
            here.calc = calculator_factory(settings.physics)(atoms.copy())
            answers.append(ask(here, with_model))
        if any(answer.failure for answer in answers):
            found["failed"].append(float(index))
            continue
        found["energy"].append(reported[1] - answers[-1].energy)
        if not with_model:
            continue
        if bound is None:
            model = make_model(method.potential, atoms, False)
            bound = model.bind(state_from_atoms(atoms))
        try:
            with torch.no_grad():
                inner = [bound(torch.from_numpy(place.copy()), None)[0] for place in places]
        except EvaluationFailed:
            found["failed"].append(float(index))
            continue
        forces = inner[1].require_forces().cpu().numpy()
        residual = answers[1].forces - forces
        found["residual"].append(float(np.sqrt(np.mean(residual**2))))
        change = float(inner[1].energy[0] - inner[0].energy[0])
        found["predicted"].append(change - (answers[1].energy - answers[0].energy))
    return found
