"""Everything that a user may edit of the atoms and of their calculator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

from kstep_integrators import KStepDynamics
from tests.conftest import cheap, hot
from tests.what_is_set.ase_runs import Sensitive, build, fresh, result, settled
from tests.what_is_set.table import HONOURED, Row, Section, outcome_of

__all__ = ["SECTION", "missing"]

Edit = Callable[[Atoms], Any]


@dataclass(frozen=True)
class Edited:
    """One thing to edit.

    Attributes
    ----------
    name : str
    edit, nonsense : callable
        Of the atoms, to another value and to one that makes no sense.
    say : tuple of str
        What a refusal of nonsense names.
    """

    name: str
    edit: Edit
    nonsense: Edit
    say: tuple[str, ...]

    def row(self) -> Row:
        return Row(self.name, (self.set, self.refuse, self.between, self.observed, self.resumed))

    def set(self, folder: Path) -> str:
        ends = []
        for edited in (False, True):
            atoms = _atoms()
            if edited:
                self.edit(atoms)
            run = build({}, atoms)
            settled(run, 3)
            ends.append(result(run))
        return HONOURED if not ends[0].same_path(ends[1]) else "ignored"

    def refuse(self, folder: Path) -> str:
        def act() -> None:
            run = build({}, _atoms())
            self.nonsense(run.atoms)
            settled(run, 1)

        return outcome_of(act, self.say)

    def between(self, folder: Path) -> str:
        run = build({}, _atoms())
        settled(run, 3)
        self.edit(run.atoms)
        other = fresh(run, {})
        settled(run, 3)
        settled(other, 3)
        return HONOURED if result(run).same_path(result(other)) else "another path"

    def observed(self, folder: Path) -> str:
        def change() -> None:
            if run.nsteps == 3:
                self.edit(run.atoms)

        run, other = build({}, _atoms()), build({}, _atoms())
        run.attach(change)
        settled(run, 6)
        settled(other, 3)
        self.edit(other.atoms)
        settled(other, 3)
        return HONOURED if result(run).same_path(result(other)) else "another path"

    def resumed(self, folder: Path) -> str:
        ends = []
        for resume in (False, True):
            path = folder / f"{resume}.ckpt"
            run = build({"checkpoint": path, "checkpoint_interval": 1}, _atoms())
            settled(run, 2)
            self.edit(run.atoms)
            settled(run, 2)
            if resume:
                physics = Sensitive(**run.atoms.calc.parameters)
                run = KStepDynamics.resume(path, physics, cheap())
            settled(run, 3)
            ends.append(result(run))
        return "kept" if ends[0].same(ends[1]) else "lost"


def _atoms() -> Atoms:
    atoms = hot()
    atoms.calc = Sensitive()
    return atoms


def _bad(name: str, value: float) -> Edit:
    def act(atoms: Atoms) -> None:
        array = atoms.arrays[name].copy()
        array[0] = value
        atoms.set_array(name, array)

    return act


def _raise(atoms: Atoms, factor: float) -> None:
    atoms.set_masses(factor * atoms.get_masses())


EDITS = (
    Edited("positions", lambda a: a.rattle(0.02, seed=1), _bad("positions", np.nan),
           ("positions",)),
    Edited("momenta", lambda a: a.set_momenta(0.5 * a.get_momenta()), _bad("momenta", np.nan),
           ("momenta",)),
    Edited("numbers", lambda a: a.numbers.__setitem__(8, 9), _bad("numbers", -1), ("numbers",)),
    Edited("masses", lambda a: _raise(a, 2.0), lambda a: a.set_masses([-1.0] * 9), ("mass",)),
    Edited("initial charges", lambda a: a.set_initial_charges([0.1] * 9),
           lambda a: a.set_initial_charges([np.nan] * 9), ("charges", "energy")),
    Edited("initial magnetic moments", lambda a: a.set_initial_magnetic_moments([0.1] * 9),
           lambda a: a.set_initial_magnetic_moments([np.nan] * 9), ("moments", "energy")),
    Edited("tags", lambda a: a.set_tags(range(9)), lambda a: a.set_tags([10**9] * 9),
           ("moved", "energy", "undone")),
    Edited("an array of your own", lambda a: a.set_array("own", np.full(9, 0.01)),
           lambda a: a.set_array("own", np.full(9, np.nan)), ("energy",)),
    Edited("info", lambda a: a.info.update(charge=1), lambda a: a.info.update(charge=np.nan),
           ("charge", "energy")),
    Edited("cell", lambda a: a.set_cell([40.0] * 3), lambda a: a.set_cell([np.nan] * 3),
           ("cell",)),
    Edited("pbc", lambda a: (a.set_cell([40.0] * 3), a.set_pbc(True)),
           lambda a: (a.set_cell([0.0] * 3), a.set_pbc(True)), ("cell",)),
    Edited("constraints", lambda a: a.set_constraint(FixAtoms([0])),
           lambda a: a.set_constraint(FixAtoms([99])), ("99", "constraint")),
    Edited("calc", lambda a: setattr(a, "calc", Sensitive(scale=2.0)),
           lambda a: setattr(a, "calc", None), ("calculator",)),
    Edited("calc.parameters", lambda a: a.calc.set(scale=2.0),
           lambda a: a.calc.set(scale=np.nan), ("energy",)),
)  # fmt: skip

SECTION = Section(
    "Atoms",
    "Edits of `dyn.atoms` and of their calculator, here one whose energy depends on all of them.",
    [edit.row() for edit in EDITS],
)


def missing() -> set[str]:
    """Arrays that ASE's atoms have and no row edits."""
    named = {edit.name for edit in EDITS}
    known = {"initial_charges": "initial charges", "initial_magmoms": "initial magnetic moments"}
    atoms = _atoms()
    atoms.set_tags(1)
    atoms.set_initial_charges([0.0] * 9)
    atoms.set_initial_magnetic_moments([0.0] * 9)
    atoms.set_masses([1.0] * 9)
    return {known.get(name, name) for name in atoms.arrays} - named
