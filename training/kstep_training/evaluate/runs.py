"""The runs of a plan: what is asked of ASE's integrators and of the ensemble, and what it said.

``facts`` of a :class:`~kstep_training.evaluate.record.Record` are, where they apply:
``evaluations`` as the run reported them and ``counted`` inside the calculator; ``scf_cycles``;
``seconds``, ``physics_seconds``, ``jump_seconds``; ``residual_rms`` (eV/A) and ``energy_error``
(eV) as reported; ``fallbacks``, ``accepted``, ``flips``, ``bond_changes``, ``warnings``; ``error``,
why the run did not come to its end; ``spot``, what fresh calculators find at some landings.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.md.velocitydistribution import thermalize_momenta

from kstep_training.evaluate.jumps import jumps
from kstep_training.evaluate.ordinary import ballistic, ordinary
from kstep_training.evaluate.plan import Method
from kstep_training.evaluate.record import Record
from kstep_training.evaluate.settings import EvaluateSettings
from kstep_training.evaluate.spot import spot_check

__all__ = ["make_records"]


def make_records(
    method: Method, starts: Sequence[Atoms], settings: EvaluateSettings, entropy: Sequence[int]
) -> list[Record]:
    """Run a method from several starts of one molecule.

    Parameters
    ----------
    method : Method
    starts : sequence of ase.Atoms
    settings : EvaluateSettings
    entropy : sequence of int
        Seed of the noise of each.

    Returns
    -------
    list of Record
        One for each start; a run that failed keeps what it has.
    """
    starts = [atoms.copy() for atoms in starts]
    for number, (atoms, seed) in enumerate(zip(starts, entropy, strict=True)):
        atoms.info["replica"] = number
        if method.part == "ensemble":
            rng = np.random.default_rng([seed, 1])
            thermalize_momenta(atoms, settings.temperature, rng=rng)
    if method.kind == "jumps":
        records = jumps(method, starts, settings, entropy)
    elif method.kind == "ballistic":
        records = [ballistic(method, atoms) for atoms in starts]
    else:
        records = [
            ordinary(method, atoms, settings, seed)
            for atoms, seed in zip(starts, entropy, strict=True)
        ]
    for atoms, record in zip(starts, records, strict=True):
        if method.kind != "ballistic":
            record.facts["spot"] = spot_check(record, method, atoms, settings)
    return records
