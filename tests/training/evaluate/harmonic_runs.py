"""Runs of a harmonic molecule, made in closed form: every number of an evaluation is known."""

import numpy as np

from kstep_integrators import named_molecule
from kstep_integrators.units import FS, INVERSE_CM, KB
from kstep_training.evaluate.plan import make_methods
from kstep_training.evaluate.record import Record
from kstep_training.evaluate.settings import EvaluateSettings

TEMPERATURE = 300.0
SETTINGS = EvaluateSettings(
    physics="GFN2-xTB", length_ps=1.4, ensemble_length_ps=4.0, seeds=8, strides_fs=[2.0, 4.0],
    ensemble_strides_fs=[20.0], respa="none", spot_checks=4, correctors=["impulse", "filtered"],
)  # fmt: skip
METHODS = make_methods("organic-gfn2", SETTINGS)


class Harmonic:
    """A molecule whose modes are random directions without translation and rotation."""

    def __init__(self, name="methanol"):
        self.atoms = named_molecule(name)
        self.masses = self.atoms.get_masses()
        n = len(self.masses)
        root = np.sqrt(np.repeat(self.masses, 3))
        x = self.atoms.positions - self.atoms.get_center_of_mass()
        rigid = [np.tile(np.eye(3)[a], n) * root for a in range(3)]
        rigid += [np.cross(np.eye(3)[a], x).ravel() * root for a in range(3)]
        rng = np.random.default_rng(7)
        basis, _ = np.linalg.qr(np.column_stack([*rigid, rng.normal(size=(3 * n, 3 * n - 6))]))
        self.rigid, self.modes = basis[:, :6].T, basis[:, 6:].T
        count = len(self.modes)
        soft = np.linspace(500.0, 1700.0, count - count // 3)
        self.omega = 2.0 * np.pi * INVERSE_CM * np.concatenate(
            [soft, np.linspace(2900.0, 3600.0, count // 3)]
        )  # fmt: skip

    def run(self, frames, interval_fs, seed, stiffer=1.0, noise=0.0, lag=0.0, fresh=False):
        """A run, with amplitudes and phases of its seed; ``fresh`` draws each frame anew."""
        rng = np.random.default_rng([seed, int(fresh)])
        time = np.arange(frames) * interval_fs * FS
        draw = (frames, len(self.omega)) if fresh else (1, len(self.omega))
        width = np.sqrt(KB * TEMPERATURE)
        a, b = rng.normal(size=draw) * width, rng.normal(size=draw) * width
        phase = (0.0 if fresh else 1.0) * (time[:, None] * (1.0 + lag)) * self.omega * stiffer
        q = (a * np.cos(phase) + b * np.sin(phase)) / self.omega
        p = b * np.cos(phase) - a * np.sin(phase)
        root = np.sqrt(np.repeat(self.masses, 3))
        positions = self.atoms.positions + ((q @ self.modes) / root).reshape(frames, -1, 3)
        momenta = ((p @ self.modes) * root).reshape(frames, -1, 3)
        if fresh:  # a bath moves and turns the molecule too
            whole = rng.normal(size=(frames, 6)) * width
            momenta += ((whole @ self.rigid) * root).reshape(frames, -1, 3)
        energy = 0.5 * np.sum((self.omega * q) ** 2, axis=1)
        energy = energy + noise * np.random.default_rng([seed, 2]).normal(size=frames)
        evaluations = frames
        spot = np.random.default_rng([seed, 3])
        facts = {
            "evaluations": evaluations, "counted": evaluations, "scf_cycles": None, "seconds": 1.0,
            "residual_rms": 0.02, "energy_error": 0.004, "jumps": frames - 1, "fallbacks": 0,
            "accepted": frames - 1, "flips": 0, "bond_changes": 0, "warnings": [], "error": "",
            "spot": {
                "energy": [1e-7, -1e-7],
                "residual": (0.02 * np.sqrt(spot.chisquare(20, 4) / 20)).tolist(),
                "predicted": (0.004 * spot.normal(size=4)).tolist(),
                "failed": [],
            },
        }  # fmt: skip
        return Record(
            self.atoms.numbers.astype(np.int64), self.masses, time, positions, momenta, energy,
            facts,
        )  # fmt: skip


def records(molecule=None):
    """Sound runs of every method: jumps better than the bar, ensembles the same."""
    molecule = molecule or Harmonic()
    made = {}
    for m in METHODS:
        frames = int(1000.0 * m.length_ps / m.frame_fs) + 1
        runs = []
        for seed in range(SETTINGS.seeds):
            if m.part == "ensemble":
                own = 1000 * (1 + METHODS.index(m)) + seed
                r = molecule.run(frames, m.frame_fs, own, fresh=True)
            elif m.name in ("reference", "fine"):
                r = molecule.run(frames, m.frame_fs, seed, noise=1e-5)
            elif m.name.startswith(("verlet", "ballistic", "potential")):
                h = m.stride_fs
                r = molecule.run(frames, m.frame_fs, seed, 1.0 + 0.01 * h, 1e-3 * h**2)
            else:
                r = molecule.run(frames, m.frame_fs, seed, 1.0 + 1e-4 * m.stride_fs, 2e-4)
            count = 0 if m.kind == "ballistic" else m.steps + 1
            r.facts["evaluations"] = r.facts["counted"] = count
            runs.append(r)
        made[m.name] = runs
    return made
