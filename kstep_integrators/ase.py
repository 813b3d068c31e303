"""KStepDynamics: learned jumps as an ASE ``MolecularDynamics``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.md.md import MolecularDynamics

from kstep_integrators.ase_state import same_system, state_from_atoms
from kstep_integrators.control import Control, DynamicsFailed, Guard
from kstep_integrators.correctors import Corrector, make_corrector
from kstep_integrators.evaluation import CalculatorPhysics
from kstep_integrators.jumps.base import Jump
from kstep_integrators.jumps.flow import FlowJump
from kstep_integrators.metropolis import Metropolis, Verdict
from kstep_integrators.notices import warn_sparingly
from kstep_integrators.potentials import CalculatorPotential, Potential, load_model
from kstep_integrators.scheme import Scheme, StepInfo
from kstep_integrators.state import Carry, kinetic_energy
from kstep_integrators.stats import Stats
from kstep_integrators.stepper import start, step
from kstep_integrators.thermostats import Langevin, make_thermostat
from kstep_integrators.topology import Topology, bond_changes, find_bonds

__all__ = ["KStepDynamics"]


def _as_jump(model: Jump | Potential | str | Path, timestep: float | None, device: str) -> Jump:
    if isinstance(model, str | Path):
        model = load_model(model, device=device)
    if isinstance(model, Jump):
        if timestep is not None and timestep != model.timestep:
            raise ValueError(
                f"timestep={timestep} given, but the jump has its own, {model.timestep} (ASE time "
                "units); leave timestep out or build the jump with it"
            )
        return model
    if not isinstance(model, Potential):
        raise TypeError(
            f"model is a {type(model).__name__}; expected a bundled model name, a path, a "
            "potential such as load_model(...) or CalculatorPotential(calculator), or a jump"
        )
    return FlowJump(model if device == "auto" else model.to(device), timestep)


def _check_count(k: object) -> int:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(f"k is {k!r}, expected an integer >= 1: base steps per jump")
    return int(k)


class KStepDynamics(MolecularDynamics):
    """Molecular dynamics in strides of k base steps, one physics evaluation each.

    One ASE step is one jump: ``run(n)`` makes n jumps of stride ``k * timestep`` and n + 1
    evaluations of ``atoms.calc`` (n, if it is run on). A jump that ends in nonsense, or where the
    physics fails, is undone and its stride made with velocity Verlet on the physics;
    ``stats.fallbacks`` counts that. With tolerances, ``on_error`` says what else is undone and what
    is done instead. A bond that breaks or forms is warned of.

    Parameters
    ----------
    atoms : ase.Atoms
        With the physics as its calculator. Positions and momenta are read anew at each step.
    model : str, Path, Potential or Jump
        A bundled model name, a model file, ``load_model(...)``, or
        ``CalculatorPotential(any cheap calculator)``.
    k : int
        Base steps per stride.
    timestep : float, optional
        Base step in ASE time units; the model's own by default (0.25 fs for QM models).
    corrector : str or Corrector, optional
        ``"impulse"``, ``"filtered"`` or ``"none"``; by default the first that the jump takes.
        ``Filtered("quartic")`` of :mod:`kstep_integrators.correctors` chooses another filter.
    thermostat : str, optional
        ``"langevin"``, ``"bussi"`` (stochastic velocity rescaling), or None: Langevin if a friction
        is given, constant energy otherwise.
    temperature_K : float, optional
    friction : float, optional
        Of Langevin, inverse ASE time units: ``0.01 / units.fs`` is 10 per picosecond.
    taut : float, optional
        Relaxation time of Bussi, ASE time units, such as ``100 * units.fs``.
    rng : numpy.random.Generator, optional
        Source of the thermostat's noise; a fresh one by default.
    metropolize : bool
        Accept or reject each jump by the change of the *physical* energy, at ``temperature_K``: the
        canonical ensemble of the physics, exactly, whatever the model and at any stride.
    extra_chances : int
        How often a rejected trajectory is followed on and tested again before the momenta are
        reversed.
    on_error : str
        What is done about jumps beyond the tolerances: ``"fallback"`` (undo it and make the stride
        with Verlet), ``"shrink"`` (undo it, make the stride in shorter jumps, and the following
        ones for a while), ``"warn"`` or ``"stop"``.
        See :class:`~kstep_integrators.control.Control`.
    energy_tolerance : float, optional
        Error of the change of energy that the potential predicts for one jump, eV.
    force_tolerance : float, optional
        Largest residual force on an atom at a landing, eV/angstrom.
    guard : Guard, optional
        Limits beyond which a jump is undone in any case. Neither guard nor tolerances have a say
        under ``metropolize``, where tolerances are refused.
    device : str
        ``"auto"`` leaves the model where it was loaded: by default the GPU, if there is one.
    trajectory, logfile, loginterval, append_trajectory, **kwargs
        As in :class:`ase.md.md.MolecularDynamics`.

    Attributes
    ----------
    last_verdict : Verdict or None
        What became of the last step under ``metropolize``.
    stats : Stats
        Jumps, evaluations, fallbacks, residual, energy error, seconds.
    transferred_energy : float
        Heat that the thermostat has put in since the start, eV.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense; each message says what was given and what to do.
    DynamicsFailed
        While running, if a jump and the physics steps in its place fail. The last good state is in
        ``atoms`` and in a restart file named in the message.

    Examples
    --------
    >>> from ase.calculators.lj import LennardJones
    >>> from ase.build import molecule
    >>> from kstep_integrators import CalculatorPotential, KStepDynamics
    >>> atoms = molecule("H2O")
    >>> atoms.calc = LennardJones(sigma=0.8, epsilon=0.1)
    >>> cheap = CalculatorPotential(LennardJones(sigma=0.8, epsilon=0.09))
    >>> dynamics = KStepDynamics(atoms, cheap, k=4)
    >>> dynamics.run(5)
    True
    >>> dynamics.stats.jumps, dynamics.stats.physics_evaluations
    (5, 6)
    """

    def __init__(
        self,
        atoms: Atoms,
        model: Jump | Potential | str | Path,
        k: int = 8,
        timestep: float | None = None,
        corrector: str | Corrector | None = None,
        *,
        thermostat: str | None = None,
        temperature_K: float | None = None,
        friction: float | None = None,
        taut: float | None = None,
        rng: np.random.Generator | None = None,
        metropolize: bool = False,
        extra_chances: int = 3,
        on_error: str = "fallback",
        energy_tolerance: float | None = None,
        force_tolerance: float | None = None,
        guard: Guard | None = None,
        device: str = "auto",
        trajectory: str | None = None,
        logfile: IO[str] | str | None = None,
        loginterval: int = 1,
        **kwargs: Any,
    ) -> None:
        self.k = _check_count(k)
        if timestep is not None and not (np.isfinite(timestep) and timestep > 0):
            raise ValueError(
                f"timestep is {timestep}, expected a positive number of ASE time units"
            )
        if rng is not None and not isinstance(rng, np.random.Generator):
            raise TypeError(
                f"rng is a {type(rng).__name__}, expected numpy.random.default_rng(seed)"
            )
        if atoms.calc is None:
            raise ValueError(
                "atoms has no calculator; set atoms.calc to the physics to be followed"
            )
        self.jump = _as_jump(model, timestep, device)
        potential = getattr(self.jump, "potential", None)
        if isinstance(potential, CalculatorPotential) and potential.calculator is atoms.calc:
            raise ValueError(
                "the potential and atoms.calc are the same calculator object; make two, or each "
                "evaluation of one discards the results of the other"
            )
        self.corrector = make_corrector(corrector or self.jump.correctors[0], self.jump.correctors)
        self.thermostat = make_thermostat(thermostat, temperature_K, friction, taut)
        self.metropolis: Metropolis | None = None
        if metropolize:
            if temperature_K is None or not isinstance(self.thermostat, Langevin):
                raise ValueError(
                    f"metropolize=True with temperature_K={temperature_K}, friction={friction}: a "
                    "Metropolis test needs both, or momenta are never refreshed; pass "
                    "friction=numpy.inf to draw them anew at every jump"
                )
            if on_error != "fallback" or energy_tolerance or force_tolerance:
                raise ValueError(
                    f"metropolize=True with on_error={on_error!r}, energy_tolerance="
                    f"{energy_tolerance}, force_tolerance={force_tolerance}: under a Metropolis "
                    "test the physical energy alone decides, or the ensemble is not exact; leave "
                    "these out, and watch dynamics.stats"
                )
            self.metropolis = Metropolis(temperature_K, extra_chances)
        self.rng = np.random.default_rng() if rng is None else rng
        self.control = Control(
            on_error, energy_tolerance, force_tolerance, Guard() if guard is None else guard
        )
        self.stats = Stats()
        self.transferred_energy = 0.0
        self.last_verdict: Verdict | None = None
        self._carry: Carry | None = None
        self._scheme: Scheme | None = None
        self._bonds: Topology | None = None
        self._time = 0.0
        self._trajectory_name = trajectory if isinstance(trajectory, str | Path) else None
        first = state_from_atoms(atoms)
        self.jump.bind(first)
        self.thermostat.check(first)
        super().__init__(
            atoms,
            self.k * self.jump.timestep,
            trajectory=trajectory,
            logfile=logfile,
            loginterval=loginterval,
            **kwargs,
        )

    def todict(self) -> dict[str, Any]:
        """Description kept in trajectory files; ``timestep`` is the stride, as a step is a jump."""
        described: dict[str, Any] = {
            **super().todict(),  # type: ignore[no-untyped-call]
            "k": self.k,
            "base_timestep": self.jump.timestep,
            "corrector": self.corrector.name,
            **self.jump.describe(),
        }
        described["timestep"] = self.dt
        described.update(self.thermostat.describe())
        if self.metropolis is not None:
            described["extra_chances"] = self.metropolis.extra_chances
        return described

    def get_time(self) -> float:
        """Simulated time in ASE units: the sum of the strides really travelled."""
        return self._time

    def get_conserved_energy(self) -> float:
        """Total energy of the physics minus the heat that the thermostat has put in, eV.

        It is conserved to the error of the jumps; at constant energy it is the total energy. Before
        the first step it costs the evaluation that the run starts with, afterwards none.
        """
        carry, _ = self._current()
        total = carry.physics.energy + kinetic_energy(carry.state)
        return float(total.sum()) - self.transferred_energy

    def step(self) -> None:
        """Make one jump."""
        before, scheme = self._current()
        try:
            carry, info = step(before, scheme, self.k, self.rng)
        finally:
            self._count_evaluations(scheme)
        if info.lost:
            path = self._write_restart(before)
            raise DynamicsFailed(
                f"{info.lost[0]}. The last good state (step {self.nsteps}) is in {path}"
            )
        self._carry = carry
        self._time = float(carry.state.time[0])
        self.last_verdict = info.verdict
        if info.heat is not None:
            self.transferred_energy += float(info.heat.sum())
        self.atoms.set_positions(carry.state.positions.cpu().numpy(), apply_constraint=False)
        self.atoms.set_momenta(carry.state.momenta.cpu().numpy(), apply_constraint=False)
        if isinstance(scheme.physics, CalculatorPhysics):
            scheme.physics.serve(carry.physics)
        self._notice(carry, info)

    def _notice(self, carry: Carry, info: StepInfo) -> None:
        """Count what happened, and warn of what the user should know."""
        old, new = self.stats, self.stats.add(info)
        if self._bonds is not None:
            self._bonds, changes = bond_changes(self._bonds, carry.state)
            new = dataclasses.replace(new, bond_changes=new.bond_changes + bool(changes))
            where = f"step {self.nsteps + 1}: "
            warn_sparingly(
                f"{where}{'; '.join(changes)}. The model may not cover what follows",
                old.bond_changes,
                new.bond_changes,
            )
        self.stats = new
        warn_sparingly(
            f"step {self.nsteps + 1}: {info.reason}; the jump stands, as on_error='warn'",
            old.exceeded,
            new.exceeded,
        )

    def _refresh_properties(self) -> None:
        """Evaluate the physics at the first geometry; every jump evaluates its own landing."""
        if self._carry is None:
            self._current()

    def _current(self) -> tuple[Carry, Scheme]:
        """The carry that belongs to ``atoms`` as the user left them, and how to advance it."""
        state = state_from_atoms(self.atoms, self.jump.device, self._time)
        old = self._carry.state if self._carry is not None else None
        if self._scheme is None or old is None or not same_system(old, state) or self._new_calc():
            self._scheme = Scheme(
                jump=self.jump.bind(state),
                corrector=self.corrector,
                thermostat=self.thermostat,
                physics=CalculatorPhysics(
                    self.atoms,
                    self.atoms.calc,
                    2 if self.metropolis is None else self.metropolis.extra_chances + 2,
                ),
                timestep=self.jump.timestep,
                control=self.control,
                metropolis=self.metropolis,
            )
            self._carry = old = None
        scheme = self._scheme
        if self._carry is None or old is None or not torch.equal(old.positions, state.positions):
            self._bonds = find_bonds(state)
            try:
                self._carry = start(state, scheme)
            finally:
                self._count_evaluations(scheme)
        elif not torch.equal(old.momenta, state.momenta):
            self._carry = dataclasses.replace(self._carry, state=state)
        return self._carry, scheme

    def _new_calc(self) -> bool:
        physics = self._scheme.physics if self._scheme is not None else None
        return isinstance(physics, CalculatorPhysics) and physics.atoms.calc is not self.atoms.calc

    def _count_evaluations(self, scheme: Scheme) -> None:
        """Move the physics' own counters into the statistics."""
        made, seconds = scheme.physics.evaluations, scheme.physics.seconds
        scheme.physics.evaluations, scheme.physics.seconds = 0, 0.0
        self.stats = dataclasses.replace(
            self.stats,
            physics_evaluations=self.stats.physics_evaluations + made,
            physics_seconds=self.stats.physics_seconds + seconds,
        )

    def _write_restart(self, carry: Carry) -> Path:
        """Write the last good state, with momenta, energy and forces, as an ASE trajectory."""
        self.atoms.set_positions(carry.state.positions.cpu().numpy(), apply_constraint=False)
        atoms = self.atoms.copy()
        physics = carry.physics
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=float(physics.energy.sum()),
            forces=physics.require_forces().cpu().numpy(),
        )
        name = self._trajectory_name
        path = Path("kstep.restart.traj" if name is None else f"{name}.restart.traj")
        write(path, atoms)
        return path
