"""One jump against the reference k steps later, beside controls: bonds, angles, velocities.

    python -m benchmarks.one_jump qm --data qm_data [unseen_data] --dataset dataset \
        --models direct.safetensors
    python -m benchmarks.one_jump mm --data mm_data --dataset dataset --prepared mm_prep \
        --models direct.safetensors

Windows come from NVE trajectories that were not trained on: of molecules that were, and of others.
Controls: ``ballistic`` (x + h v), ``verlet`` at the stride (forces of the method of the data at
both ends), ``mean`` (mean bonds and angles, no motion), and the flow jump of ``--flow``. Where the
data has bonds of fixed length, ballistic and Verlet land through SHAKE as the jumps do, and
velocities are projected. Every method has the exact forces at its start. Landings that failed (a
network, an SCF or SHAKE) are counted, and left out of the errors.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import write_result
from benchmarks.references import Reference, WindowPhysics, read_references
from kstep_integrators import FlowJump, load_model
from kstep_integrators.correctors import make_corrector
from kstep_integrators.diagnostics import (
    JumpErrors,
    Landings,
    jump_errors,
    mean_structure_errors,
)
from kstep_integrators.jumps.direct import DirectJump
from kstep_integrators.mechanics.motion import constrain
from kstep_integrators.mechanics.shake import shake
from kstep_integrators.mechanics.verlet import verlet_flow
from kstep_integrators.physics.protocol import Meter
from kstep_integrators.potentials import NetworkPotential
from kstep_integrators.state import Evaluation, PhasePoint, PhaseState, Reasons, velocities
from kstep_integrators.step.scheme import BoundScheme
from kstep_integrators.step.stride import make_stride
from kstep_integrators.thermostats import NoThermostat
from kstep_integrators.units import FS

STRIDES = {"qm": [4, 8, 16, 32], "mm": [4, 8, 12]}
FLOWS = {"qm": ["organic-gfn2"], "mm": []}
CONTROLS = ("ballistic", "verlet", "mean")
GROUPS = {True: "molecules trained on, other trajectories", False: "molecules not trained on"}

Landed = tuple[PhaseState, Reasons]
Method = Callable[[PhaseState, Evaluation, WindowPhysics, float, int], Landed]
"""(state, physics there, physics, base step, k) -> where it lands, and what failed."""


def ballistic(
    state: PhaseState, start: Evaluation, physics: WindowPhysics, timestep: float, k: int
) -> Landed:
    """Straight on."""
    shaken = shake(state, state.positions + k * timestep * velocities(state))
    landed = state.replace(positions=shaken.positions)
    return landed.replace(momenta=constrain(landed, state.momenta)), shaken.failures


def verlet(
    state: PhaseState, start: Evaluation, physics: WindowPhysics, timestep: float, k: int
) -> Landed:
    """One step of velocity Verlet (RATTLE) as long as the stride."""

    def forces(x: torch.Tensor, workspace: Any) -> tuple[Evaluation, Any]:
        return physics(state.replace(positions=x))[0], workspace

    landed, end, failures = verlet_flow(forces, state, start, k * timestep, 1)
    return landed, {**end.failures, **failures}


def mean(
    state: PhaseState, start: Evaluation, physics: WindowPhysics, timestep: float, k: int
) -> Landed:
    """Anywhere: the errors of the mean structure depend on the reference only."""
    return state, {}


@dataclass(frozen=True)
class Model:
    """A jump with its default corrector; the guard has no say."""

    loaded: NetworkPotential | DirectJump

    def makes(self, k: int, timestep_fs: float) -> bool:
        """Whether a direct jump was trained for this stride."""
        if not isinstance(self.loaded, DirectJump):
            return True
        same = abs(self.loaded.timestep / FS - timestep_fs) < 1e-6 * timestep_fs
        return same and k in self.loaded.allowed_k

    def __call__(
        self, state: PhaseState, start: Evaluation, physics: WindowPhysics, timestep: float, k: int
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
    state, physics = reference.state(starts), WindowPhysics(reference)
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
    found: dict[str, Any] = {"velocity_thermal": errors.velocities["all"], "jumps": errors.jumps}
    for name, kinds in (("bond_A", errors.bonds), ("angle_degrees", errors.angles)):
        if "all" in kinds:  # not if nothing of the kind moves, as in rigid water
            found[name] = kinds["all"].rmse
            found[f"{name.split('_')[0]}_thermal"] = kinds["all"].thermal
    return found


def compare(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Error of each model over that of the best control, for each group and stride."""
    found = []
    for row in rows:
        if row["method"] in CONTROLS or "bond_A" not in row:
            continue
        beside = [
            r
            for r in rows
            if r["method"] in CONTROLS
            and (r["group"], r["k"]) == (row["group"], row["k"])
            and "bond_A" in r
        ]
        ratios: dict[str, Any] = {key: row[key] for key in ("group", "method", "k", "stride_fs")}
        for key in ("bond_A", "angle_degrees", "velocity_thermal"):
            best = min(beside, key=lambda r: r[key])
            ratios[key] = {"of_best_control": row[key] / best[key], "which": best["method"]}
        found.append(ratios)
    return found


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    for group in GROUPS.values():
        mine = [row for row in rows if row["group"] == group]
        if not mine:
            continue
        print(f"\n{group}")
        print(f"{'k':>3} {'fs':>5} {'method':<26}{'bond A':>9}{'(std)':>8}{'angle':>9}{'(std)':>8}"
              f"{'velocity':>10}{'jumps':>7}{'failed':>7}")  # fmt: skip
        for row in sorted(mine, key=lambda r: r["k"]):
            head = f"{row['k']:>3} {row['stride_fs']:>5g} {row['method']:<26}"
            if "bond_A" not in row:
                print(f"{head}{'all failed: ' + '; '.join(row['reasons'])}")
                continue
            print(
                f"{head}{row['bond_A']:>9.2g}{row['bond_thermal']:>8.2g}"
                f"{row['angle_degrees']:>9.2g}{row['angle_thermal']:>8.2g}"
                f"{row['velocity_thermal']:>10.2g}{row['jumps']:>7}{row['failed']:>7}"
            )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("qm", "mm"))
    parser.add_argument("--data", nargs="+", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, help="its training part is not measured on")
    parser.add_argument("--prepared", nargs="*", type=Path, default=[])
    parser.add_argument("--models", nargs="*", default=[], help="model files of direct jumps")
    parser.add_argument("--flow", nargs="*", help="model files or names of flows")
    parser.add_argument("--strides", nargs="+", type=int)
    parser.add_argument("--windows", type=int, default=100, help="of each molecule and stride")
    parser.add_argument("--temperature", type=float, default=300.0)
    parser.add_argument("--molecules", nargs="*", default=[])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    references = read_references(
        arguments.data,
        arguments.temperature,
        arguments.dataset,
        arguments.prepared,
        arguments.molecules,
    )
    flows = FLOWS[arguments.kind] if arguments.flow is None else arguments.flow
    models = {
        **{Path(name).stem: Model(load_model(name, device="cpu")) for name in arguments.models},
        **{f"flow {Path(name).stem}": Model(load_model(name, device="cpu")) for name in flows},
    }
    methods: dict[str, Method] = {"ballistic": ballistic, "verlet": verlet, "mean": mean}
    rows = []
    for trained, group in GROUPS.items():
        chosen = [r for r in references if r.trained is trained]
        for k in (arguments.strides or STRIDES[arguments.kind]) if chosen else ():
            able = {n: m for n, m in models.items() if m.makes(k, chosen[0].timestep_fs)}
            for name, method in {**methods, **able}.items():
                row = measure(chosen, name, method, k, arguments.windows)
                rows.append({"group": group, **row})
                print(f"{group}, k = {k}, {name}: {row['seconds']:.0f} s", flush=True)
    show(rows)
    details = {
        "what": __doc__,
        "references": {
            r.name: {
                "trained": r.trained,
                "method": r.method,
                "frames": sum(map(len, r.segments)),
                "bonds_of_fixed_length": len(r.atoms.constraints[0].pairs)
                if r.atoms.constraints
                else 0,
            }
            for r in references
        },
        "temperature_K": arguments.temperature,
        "timestep_fs": references[0].timestep_fs,
        "models": {name: _described(model) for name, model in models.items()},
    }
    write_result(f"one_jump_{arguments.kind}", {**details, "compared": compare(rows), "rows": rows})


def _described(model: Model) -> dict[str, Any]:
    return {key: value for key, value in model.loaded.describe().items() if key != "compile"}


if __name__ == "__main__":
    main()
