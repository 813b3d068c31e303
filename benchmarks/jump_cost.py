"""Time of a jump of ethanol on one CPU core, as a multiple of one GFN2 evaluation.

    python -m benchmarks.jump_cost
    python -m benchmarks.jump_cost --correctors

GFN2 is timed along a trajectory with strides of 2 fs, each evaluation from the wavefunction of the
one before, as in a run. All figures are medians from one process with one thread.

`--correctors` measures only the cost per jump of each corrector, Hessians included: k = 8 steps of
0.5 fs and one correction, of ethanol, alone and as ten replicas at once, and of cyclohexane, on the
GPU where there is one. These are processor seconds, so that other work on the machine counts less.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet

from benchmarks.common import RESULTS, write_result
from benchmarks.starts import thermalized
from kstep_integrators import FlowJump, KStepDynamics, load_model, named_molecule
from kstep_integrators.ase.atoms import state_from_atoms
from kstep_integrators.calculators import xtb_calculator
from kstep_integrators.correctors import CORRECTORS
from kstep_integrators.mechanics.make_state import make_state
from kstep_integrators.state import Evaluation, PhaseState
from kstep_integrators.testing import CountingCalculator

FS = units.fs
K = 8


def microseconds(call: Callable[[], Any], repeats: int = 400) -> float:
    """Median time of a call."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return 1e6 * float(np.median(times))


def gfn2(atoms: Atoms, steps: int = 400) -> float:
    """Median time of one GFN2 evaluation along a trajectory with a stride of 2 fs."""
    moving = atoms.copy()
    moving.calc = xtb_calculator("GFN2-xTB")
    path: list[np.ndarray] = []  # type: ignore[type-arg]
    dynamics = VelocityVerlet(moving, 0.5 * FS)
    dynamics.attach(lambda: path.append(moving.get_positions()), interval=4)
    dynamics.run(4 * steps)
    fresh = atoms.copy()
    fresh.calc = xtb_calculator("GFN2-xTB")
    times = []
    for positions in path:
        fresh.positions = positions
        began = time.perf_counter()
        fresh.get_forces()
        times.append(time.perf_counter() - began)
    return 1e6 * float(np.median(times[10:]))


def network(atoms: Atoms, compile: bool) -> dict[str, float]:  # noqa: A002
    """Times of a force, of a jump, and of the rest of a step of KStepDynamics."""
    state = state_from_atoms(atoms)
    began = time.perf_counter()
    model = load_model("organic-gfn2", device="cpu", compile=compile)
    forces = model.bind(state)
    jump = FlowJump(model, 0.25 * FS).bind(state)
    inner = jump.begin(state)
    compile_seconds = time.perf_counter() - began
    physics = Evaluation(torch.zeros(1).double(), torch.zeros_like(state.positions))
    with torch.no_grad():
        force = microseconds(lambda: forces(state.positions, None))
        whole = microseconds(lambda: jump(state, physics, inner, K))
    moving = atoms.copy()
    moving.calc = CountingCalculator(xtb_calculator("GFN2-xTB"))
    dynamics = KStepDynamics(moving, model, k=K, timestep=0.25 * FS)
    dynamics.run(20)
    spent, inside = moving.calc.seconds, dynamics.stats.jump_seconds
    began = time.perf_counter()
    dynamics.run(400)
    step = 1e6 * (time.perf_counter() - began) / 400
    physics_us = 1e6 * (moving.calc.seconds - spent) / 400
    jump_us = 1e6 * (dynamics.stats.jump_seconds - inside) / 400
    return {
        "first_call_seconds": compile_seconds,
        "force_us": force,
        "jump_us": whole,
        "jump_besides_forces_us": whole - K * force,
        "step_us": step,
        "step_physics_us": physics_us,
        "step_jump_and_correctors_us": jump_us,
        "step_rest_us": step - physics_us - jump_us,
    }


def replicas(name: str, many: int) -> PhaseState:
    """A molecule many times, each displaced by 0.03 A."""
    one = state_from_atoms(named_molecule(name))
    n = len(one.numbers)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(many * n, 3, dtype=torch.float64, generator=generator)
    x = one.positions.repeat(many, 1) + 0.03 * noise
    batch = torch.arange(many).repeat_interleave(n)
    return make_state(one.numbers.repeat(many), one.masses.repeat(many, 1), x, 0.0 * x, batch=batch)


def correctors(name: str, many: int, compile: bool, device: str) -> dict[str, Any]:  # noqa: A002
    """Milliseconds of a jump and its correction."""
    state = replicas(name, many).to(torch.device(device))
    model = load_model("organic-gfn2", device=device, compile=compile)
    jump = FlowJump(model, 0.5 * FS).bind(state)
    inner = jump.begin(state)
    physics = Evaluation(torch.zeros(many).double(), inner.require_forces() + 0.1)
    row: dict[str, Any] = {"molecule": name, "atoms": len(state.numbers) // many}
    row |= {"replicas": many, "compiled": compile, "device": device}
    for method in ("none", "impulse", "filtered"):
        corrector = CORRECTORS[method]()

        def stride() -> None:
            landed, info = jump(state, physics, inner, K)
            corrector(landed, physics, info.end, K * 0.5 * FS, jump)  # noqa: B023
            if device != "cpu":
                torch.cuda.synchronize()

        began = time.perf_counter()
        stride()
        row[f"{method}_first_call_seconds"] = time.perf_counter() - began
        clock = time.process_time if device == "cpu" else time.perf_counter
        times = []
        for _ in range(15):
            before = clock()
            stride()
            times.append(clock() - before)
        row[f"{method}_ms"] = 1e3 * float(np.median(times))
    return row


def only_correctors() -> None:
    """Measure the correctors and put them into the stored result."""
    path = RESULTS / "jump_cost.json"
    result = json.loads(path.read_text())
    result.pop("machine", None)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = []
    for name, many in (("ethanol", 1), ("ethanol", 10), ("cyclohexane", 1)):
        for flag in (False, True):
            rows.append(correctors(name, many, flag, device))
            print(json.dumps(rows[-1]), flush=True)
    write_result("jump_cost", {**result, "what": __doc__, "correctors": rows})


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--correctors", action="store_true")
    torch.set_num_threads(1)
    if parser.parse_args().correctors:
        only_correctors()
        return
    atoms = thermalized("ethanol")
    evaluation = gfn2(atoms)
    result: dict[str, Any] = {"what": __doc__, "k": K, "gfn2_evaluation_us": evaluation}
    for name, flag in (("eager", False), ("compiled", True)):
        row = network(atoms, flag)
        row["jump_over_gfn2_evaluation"] = row["jump_us"] / evaluation
        result[name] = row
        print(name, row)
    print("GFN2", evaluation)
    write_result("jump_cost", result)
    only_correctors()


if __name__ == "__main__":
    main()
