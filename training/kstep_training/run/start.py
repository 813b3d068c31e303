"""The inputs of a run: its molecule, its physics, its jump, and a start that is kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

from kstep_integrators.ase.atoms_json import decode_atoms, encode_atoms
from kstep_integrators.calculators import fixed_bonds
from kstep_integrators.files import write_text_atomically
from kstep_integrators.jumps.base import Jump
from kstep_integrators.jumps.flow import FlowJump
from kstep_integrators.jumps.make import make_jump
from kstep_integrators.potentials import Potential
from kstep_integrators.step.options import RunOptions
from kstep_integrators.step.run_learning import learning_jump
from kstep_training.inputs.models import model_identity, read_model
from kstep_training.inputs.molecules import InputMolecule, read_molecule
from kstep_training.inputs.physics import InputPhysics, is_physics, make_physics
from kstep_training.inputs.start import thermal_start
from kstep_training.run.integrator import integrator_arguments
from kstep_training.run.settings import RunSettings

__all__ = ["NOTHING", "RunInputs", "contents_of", "kept_start", "read_inputs"]

NOTHING: Final = "none"
"""The model of a run that learns from nothing."""


@dataclass(frozen=True)
class RunInputs:
    """All that a run is made of.

    Attributes
    ----------
    molecule : InputMolecule
        Under ``physics=mm`` on the constraints of its System, if there are any.
    physics : InputPhysics
    jump : Jump or None
        None for a run that learns from nothing.
    timestep : float
        Base step, ASE time units.
    """

    molecule: InputMolecule
    physics: InputPhysics
    jump: Jump | None
    timestep: float

    @property
    def potential(self) -> Potential | None:
        """The potential that a run learns on; None if it begins with none."""
        return self.jump.potential if isinstance(self.jump, FlowJump) else None


def read_inputs(model: str, source: str, settings: RunSettings) -> RunInputs:
    """Molecule, physics and jump of a run.

    Parameters
    ----------
    model : str
        See :func:`~kstep_training.inputs.models.read_model`; or :data:`NOTHING`.
    source : str
        See :func:`~kstep_training.inputs.molecules.read_molecule`.
    settings : RunSettings

    Raises
    ------
    ValueError
        If one of them cannot be had, or they do not go together.
    ImportError
        If a package is missing.
    """
    molecule = read_molecule(source, settings.charge, settings.multiplicity, cells=True)
    molecule = replace(molecule, atoms=_held(molecule.atoms, settings.fix_below_A, source))
    physics = make_physics(settings, molecule)
    if settings.physics == "mm":
        for name in ("charge", "multiplicity"):
            if getattr(settings, name) is not None:
                raise ValueError(
                    f"{name} is {getattr(settings, name)}, but the force field has its own; leave "
                    "it out"
                )
        if molecule.system.getNumConstraints():
            atoms = molecule.atoms.copy()
            atoms.set_constraint([*atoms.constraints, fixed_bonds(molecule.system)])
            atoms.set_positions(atoms.get_positions())
            molecule = replace(molecule, atoms=atoms)
    options = RunOptions(**integrator_arguments(settings, learn=settings.learning_options()))
    if model == NOTHING:
        if not settings.learn:
            raise ValueError(
                f"the model is {NOTHING}, from which a run can only learn; set learn=true, or name "
                "a model"
            )
        if settings.backend != "auto":
            raise ValueError(
                f"backend is {settings.backend!r}, but the model is {NOTHING} and no network; "
                "leave it out"
            )
        timestep = learning_jump(None, options, [molecule.atoms]).timestep
        return RunInputs(molecule, physics, None, timestep)
    potential = read_model(model, molecule.atoms, settings.device, settings.backend)
    jump = make_jump(potential, options.timestep)
    return RunInputs(molecule, physics, jump, jump.timestep)


def _held(atoms: Atoms, below: float | None, source: str) -> Atoms:
    """Atoms with those below a height fixed too.

    Raises
    ------
    ValueError
        If there is none below, or none is left that moves.
    """
    kept: Atoms = atoms.copy()
    fixed = {int(i) for constraint in kept.constraints for i in constraint.get_indices()}
    if below is not None:
        low = np.flatnonzero(kept.positions[:, 2] < below)
        if not len(low):
            raise ValueError(
                f"fix_below_A is {below}, but no atom of {source} has a z below that: they begin "
                f"at {kept.positions[:, 2].min():.3f} A"
            )
        fixed |= {*low.tolist()}
        kept.set_constraint(FixAtoms(sorted(fixed)))
    if len(fixed) == len(kept):
        raise ValueError(
            f"all {len(kept)} atoms of {source} are fixed, by its file and fix_below_A ({below}); "
            "leave some that can move"
        )
    return kept


def contents_of(model: str, source: str, inputs: RunInputs) -> dict[str, str]:
    """What the inputs of a run hold, where a name or a path does not tell.

    A file that is written anew, or a function that is edited, makes another run.

    Parameters
    ----------
    model, source : str
        As for :func:`read_inputs`.
    inputs : RunInputs

    Returns
    -------
    dict of str to str
        ``model``, ``physics`` and ``molecule``: a hash, or the code of a function; those that
        are known by their names are left out.
    """
    contents = {}
    if model != NOTHING and (not is_physics(model) or ":" in model):
        contents["model"] = model_identity(model)
    if ":" in inputs.physics.settings.physics:
        contents["physics"] = inputs.physics.identity
    if Path(source).is_file() or (Path(source) / "conformers.xyz").is_file():
        text, _ = encode_atoms(inputs.molecule.atoms)
        if inputs.molecule.system is not None:
            text += str(inputs.molecule.system.__getstate__())
        contents["molecule"] = hashlib.sha256(text.encode()).hexdigest()[:12]
    return contents


def kept_start(inputs: RunInputs, settings: RunSettings, path: Path) -> Atoms:
    """A minimum of the physics with momenta of the temperature, made once and kept in a file.

    Of a run with ``relax=false``, the geometry of the source with such momenta.

    Returns
    -------
    ase.Atoms
        As read from the file, also when it is new, so that a run that goes on is the same.

    Raises
    ------
    RelaxationFailed
        If the molecule cannot be relaxed.
    """
    if not path.exists():
        molecule = inputs.molecule
        atoms = molecule.atoms.copy()
        atoms.calc = inputs.physics(molecule.atoms)
        start = thermal_start(
            atoms,
            settings.temperature_K,
            np.random.default_rng([settings.seed, 0]),
            equilibration_ps=0.0,
            **({} if settings.relax else {"max_steps": 0}),
            name=f"{molecule.name} with {inputs.physics.method}",
        )
        text, _ = encode_atoms(start.atoms)
        write_text_atomically(path, text)
    return decode_atoms(path.read_text())
