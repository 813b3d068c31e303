"""One jump against the reference k steps later, beside controls: bonds, angles, velocities.

Windows come from NVE trajectories that were not trained on: of molecules that were, and of others.
Controls: ``ballistic`` (x + h v), ``verlet`` at the stride (forces of the method of the data at
both ends), ``mean`` (mean bonds and angles, no motion), and the flow jump of ``--flow``. Where the
data has bonds of fixed length, ballistic and Verlet land through SHAKE as the jumps do, and
velocities are projected. Every method has the exact forces at its start. Landings that failed (a
network, an SCF or SHAKE) are counted, and left out of the errors.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.references import CopiesPhysics, Reference, ReferenceOptions
from benchmarks.suite import option
from kstep_integrators import FlowJump, load_model
from kstep_integrators.correctors import make_corrector
from kstep_integrators.diagnostics import JumpErrors, Landings, jump_errors, mean_structure_errors
from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.mechanics.motion import constrain
from kstep_integrators.mechanics.shake import shake
from kstep_integrators.mechanics.verlet import verlet_flow
from kstep_integrators.physics.counting import Meter
from kstep_integrators.potentials import NetworkPotential
from kstep_integrators.state import Evaluation, PhasePoint, PhaseState, Reasons, velocities
from kstep_integrators.step.scheme import BoundScheme
from kstep_integrators.step.stride import make_stride
from kstep_integrators.thermostats import NoThermostat
from kstep_integrators.units import FS

CONTROLS = ("ballistic", "verlet", "mean")
GROUPS = {True: "molecules trained on, other trajectories", False: "molecules not trained on"}

Landed = tuple[PhaseState, Reasons]
Method = Callable[[PhaseState, Evaluation, CopiesPhysics, float, int], Landed]
"""(state, physics there, physics, base step, k) -> where it lands, and what failed."""


def ballistic(
    state: PhaseState, start: Evaluation, physics: CopiesPhysics, timestep: float, k: int
) -> Landed:
    """Straight on."""
    shaken = shake(state, state.positions + k * timestep * velocities(state))
    landed = state.replace(positions=shaken.positions)
    return landed.replace(momenta=constrain(landed, state.momenta)), shaken.failures


def verlet(
    state: PhaseState, start: Evaluation, physics: CopiesPhysics, timestep: float, k: int
) -> Landed:
    """One step of velocity Verlet (RATTLE) as long as the stride."""

    def forces(x: torch.Tensor, workspace: Any) -> tuple[Evaluation, Any]:
        return physics(state.replace(positions=x))[0], workspace

    landed, end, failures = verlet_flow(forces, state, start, k * timestep, 1)
    return landed, {**end.failures, **failures}


def mean(
    state: PhaseState, start: Evaluation, physics: CopiesPhysics, timestep: float, k: int
) -> Landed:
    """Anywhere: the errors of the mean structure depend on the reference only."""
    return state, {}


@dataclass(frozen=True)
class Model:
    """A jump with its default corrector; the guard has no say."""

    loaded: NetworkPotential | DirectJump

    def makes(self, k: int, timestep_fs: float) -> bool:
        """True if a direct jump was trained for this stride."""
        if not isinstance(self.loaded, DirectJump):
            return True
        same = abs(self.loaded.timestep / FS - timestep_fs) < 1e-6 * timestep_fs
        return same and k in self.loaded.allowed_k

    def __call__(
        self, state: PhaseState, start: Evaluation, physics: CopiesPhysics, timestep: float, k: int
    ) -> Landed:
        """Jump and correct."""
        jump = self.loaded
        if not isinstance(jump, DirectJump):
            jump = FlowJump(jump, timestep)
        scheme = BoundScheme(
            jump=jump.bind(state),
            corrector=make_corrector(jump.correctors[0], jump.correctors),
            thermostat=NoThermostat(),
            physics=physics,
            timestep=jump.timestep,
        )
        meter = Meter(physics, state.n_molecules)
        landing = make_stride(PhasePoint(state, start, None), scheme, meter, k, None)
        return landing.point.state, landing.undone


def land(
    reference: Reference, method: Method, k: int, count: int
) -> tuple[Landings | None, dict[str, Any]]:
    """Jumps of one molecule; None if all failed."""
    starts, ends = reference.windows(k, count)
    state, physics = reference.state(starts), reference.physics()
    began = time.perf_counter()
    landed, failures = method(
        state, reference.evaluation(starts), physics, reference.timestep_fs * FS, k
    )
    seconds = time.perf_counter() - began
    shape = (len(starts), len(reference.atoms), 3)
    x = landed.positions.numpy().reshape(shape)
    v = velocities(landed).numpy().reshape(shape)
    good = np.isfinite(x + v).all(axis=(1, 2))
    good[list(failures)] = False
    spent = {
        "failed": int((~good).sum()),
        "evaluations": physics.evaluations,
        "seconds": seconds,
        "reasons": sorted(set(failures.values()))[:3],
    }
    if not good.any():
        return None, spent
    thermal = np.concatenate(reference.segments)
    return (
        Landings(
            numbers=reference.atoms.numbers,
            bonds=reference.coordinates["bonds"],
            angles=reference.coordinates["angles"],
            positions=x[good],
            velocities=v[good],
            reference_positions=ends["positions"][good],
            reference_velocities=ends["velocities"][good],
            thermal_positions=thermal["positions"],
            thermal_velocities=thermal["velocities"],
        ),
        spent,
    )


def measure(
    references: list[Reference], name: str, method: Method, k: int, count: int
) -> dict[str, Any]:
    """One row: a method at one stride over the molecules of one group."""
    landings, spent = [], []
    for reference in references:
        landing, cost = land(reference, method, k, count)
        spent.append(cost)
        if landing is not None:
            landings.append((reference.name, landing))
    row: dict[str, Any] = {
        "method": name,
        "k": k,
        "stride_fs": k * references[0].timestep_fs,
        "failed": sum(cost["failed"] for cost in spent),
        "reasons": [reason for cost in spent for reason in cost["reasons"]][:3],
        "seconds": sum(cost["seconds"] for cost in spent),
    }
    if not landings:
        return row
    errors = mean_structure_errors if name == "mean" else jump_errors
    whole = errors([landing for _, landing in landings])
    each = {one: _short(errors([landing])) for one, landing in landings}
    return {**row, **_short(whole), "errors": dataclasses.asdict(whole), "molecules": each}


def _short(errors: JumpErrors) -> dict[str, Any]:
    row: dict[str, Any] = {"velocity_thermal": errors.velocities["all"], "jumps": errors.jumps}
    for name, kinds in (("bond_A", errors.bonds), ("angle_degrees", errors.angles)):
        if "all" in kinds:  # not if nothing of the kind moves, as in rigid water
            row[name] = kinds["all"].rmse
            row[f"{name.split('_')[0]}_thermal"] = kinds["all"].thermal
    return row


def compare(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Error of each model over that of the best control, for each group and stride."""
    compared = []
    for row in rows:
        if row["method"] in CONTROLS or "bond_A" not in row:
            continue
        beside = [
            r for r in rows
            if r["method"] in CONTROLS and "bond_A" in r
            and (r["group"], r["k"]) == (row["group"], row["k"])
        ]  # fmt: skip
        ratios: dict[str, Any] = {key: row[key] for key in ("group", "method", "k", "stride_fs")}
        for key in ("bond_A", "angle_degrees", "velocity_thermal"):
            best = min(beside, key=lambda r: r[key])
            ratios[key] = {"of_best_control": row[key] / best[key], "which": best["method"]}
        compared.append(ratios)
    return compared


@dataclass(frozen=True)
class JumpOptions(ReferenceOptions):
    """Models and windows."""

    models: tuple[str, ...] = option((), "model files of direct jumps")
    flow: tuple[str, ...] = option((), "model files or names of flows")
    strides: tuple[int, ...] = option((), "base steps; those of the suite by default")
    windows: int = option(100, "of each molecule and stride")


def one_jump_qm(options: JumpOptions) -> dict[str, Any]:
    """Jumps of GFN2 trajectories, the bundled flow beside them."""
    flow = options.flow or ("organic-gfn2",)
    return _one_jump(dataclasses.replace(options, flow=flow), (4, 8, 16, 32))


def one_jump_mm(options: JumpOptions) -> dict[str, Any]:
    """Jumps of force-field trajectories with rigid bonds."""
    return _one_jump(options, (4, 8, 12))


def _one_jump(options: JumpOptions, strides: tuple[int, ...]) -> dict[str, Any]:
    references = options.references()
    models = {Path(name).stem: Model(load_model(name, device="cpu")) for name in options.models}
    for name in options.flow:
        models[f"flow {Path(name).stem}"] = Model(load_model(name, device="cpu"))
    methods: dict[str, Method] = {"ballistic": ballistic, "verlet": verlet, "mean": mean}
    rows = []
    for trained, group in GROUPS.items():
        chosen = [r for r in references if r.trained is trained]
        for k in (options.strides or strides) if chosen else ():
            able = {n: m for n, m in models.items() if m.makes(k, chosen[0].timestep_fs)}
            for name, method in {**methods, **able}.items():
                row = measure(chosen, name, method, k, options.windows)
                rows.append({"group": group, **row})
                print(f"{group}, k = {k}, {name}: {row['seconds']:.0f} s", flush=True)
    return {
        "references": {
            r.name: {
                "trained": r.trained,
                "method": r.method,
                "frames": sum(map(len, r.segments)),
                "bonds_of_fixed_length": sum(len(c.pairs) for c in r.atoms.constraints[:1]),
            }
            for r in references
        },
        "temperature_K": options.temperature,
        "timestep_fs": references[0].timestep_fs,
        "models": {name: _described(model) for name, model in models.items()},
        "compared": compare(rows),
        "rows": rows,
    }


def _described(model: Model) -> dict[str, Any]:
    return {key: value for key, value in model.loaded.describe().items() if key != "backend"}
