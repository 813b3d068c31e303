"""What a periodic box of water adds to a jump in OpenMM, on one CPU core.

    OMP_NUM_THREADS=1 OPENMM_CPU_THREADS=1 python -m benchmarks.openmm_periodic

Methanol among 50, 200 and 800 waters near a lattice of 0.31 nm, by their number:

- ``box_us``: one more call of the jump's function in each step, which tells the box;
- ``whole_us``: a look whether the solute is in one piece, of which a flow takes three, and putting
  it together from pieces;
- ``shake_ms`` and ``momenta_ms``: rigid water in the flow, three constraints each: positions put
  back on their lengths and momenta projected, once per base step both.

Milliseconds of the processor, medians over blocks; ``load`` is that of the machine, before and
after. Platforms: Reference and CPU.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENMM_CPU_THREADS", "1")

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import openmm
import torch

from benchmarks.common import write_result
from kstep_integrators import load_model, named_molecule
from kstep_integrators.mechanics.motion import constrain
from kstep_integrators.mechanics.shake import shake
from kstep_integrators.openmm import add_jump
from kstep_integrators.openmm.solute import spanning_tree
from kstep_integrators.openmm.stages import Stage
from kstep_integrators.openmm.system import particles_of

WATERS = (50, 200, 800)
BLOCKS, CALLS = 10, 20
SPACING = 0.31
"""nm; that of water."""


def processor_seconds(call: Callable[[], Any]) -> float:
    """Median over blocks, of one call."""
    call()
    blocks = []
    for _ in range(BLOCKS):
        began = time.process_time()
        for _ in range(CALLS):
            call()
        blocks.append((time.process_time() - began) / CALLS)
    return float(np.median(blocks))


def box_of_water(waters: int) -> tuple[openmm.System, Any, Any]:
    """Methanol and rigid water without forces but a cutoff: a System, positions, box."""
    rng = np.random.default_rng(0)
    solute = named_molecule("methanol")
    side = int(np.ceil((waters + 8) ** (1 / 3)))
    water = np.array([[0.0, 0.0, 0.0], [0.09572, 0.0, 0.0], [-0.024, 0.09266, 0.0]])
    lattice = SPACING * np.argwhere(np.ones((side, side, side)))[8:][:waters]
    places = [0.1 * solute.positions]
    system, pairs = openmm.System(), openmm.NonbondedForce()
    pairs.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    pairs.setCutoffDistance(0.5)
    for mass in (*solute.get_masses(), *waters * (15.999, 1.008, 1.008)):
        system.addParticle(float(mass))
        pairs.addParticle(0.0, 0.1, 0.0)
    for number, place in enumerate(lattice):
        turned = water @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
        places.append(turned + place)
        for i, j in ((0, 1), (0, 2), (1, 2)):
            first = 6 + 3 * number
            length = float(np.linalg.norm(water[i] - water[j]))
            system.addConstraint(first + i, first + j, length)
    box = side * SPACING * np.eye(3)
    system.setDefaultPeriodicBoxVectors(*box)
    system.addForce(pairs)
    return system, np.concatenate(places), box


def telling(system: openmm.System, group: int, calls: bool) -> openmm.CustomIntegrator:
    """A step that asks the jump for the box and does nothing else, or not even that."""
    integrator = openmm.CustomIntegrator(0.001)
    integrator.setIntegrationForceGroups({0})
    integrator.addPerDofVariable("box", 0.0)
    if calls:
        integrator.addComputeGlobal("kstep_stage", f"{Stage.BOX.value}")
        integrator.addComputePerDof("box", f"f{group}")
    integrator.addComputeGlobal("kstep_stage", f"{Stage.IDLE.value}")
    return integrator


def row(waters: int) -> dict[str, Any]:
    """All figures of one size."""
    system, places, box = box_of_water(waters)
    found: dict[str, Any] = {"particles": len(places)}
    state = particles_of(system).state(places)
    noise = torch.from_numpy(np.random.default_rng(1).normal(size=places.shape))
    moved = state.positions + 0.01 * noise
    found["shake_ms"] = 1e3 * processor_seconds(lambda: shake(state, moved))
    found["momenta_ms"] = 1e3 * processor_seconds(lambda: constrain(state, noise))
    tree = spanning_tree(np.arange(6), places, box)
    torn = places.copy()
    torn[2:4] += box[0]
    found["whole_us"] = 1e6 * processor_seconds(lambda: tree.unwrapped(places, box))
    found["pieces_us"] = 1e6 * processor_seconds(lambda: tree.unwrapped(torn, box))
    group = add_jump(system, load_model("organic-gfn2", device="cpu"), particles=range(6))
    for name in ("Reference", "CPU"):
        spent = []
        for calls in (True, False):
            integrator = telling(system, group, calls)
            platform = openmm.Platform.getPlatformByName(name)
            context = openmm.Context(system, integrator, platform)
            context.setPositions(places)
            spent.append(processor_seconds(lambda run=integrator: run.step(10)) / 10)
        found[f"box_us_{name}"] = 1e6 * (spent[0] - spent[1])
    return found


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    result: dict[str, Any] = {"what": __doc__, "load": [os.getloadavg()[0]]}
    for waters in WATERS:
        result[str(waters)] = row(waters)
        print(waters, result[str(waters)])
    result["load"].append(os.getloadavg()[0])
    write_result("openmm_periodic", result)


if __name__ == "__main__":
    main()
