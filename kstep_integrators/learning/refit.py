"""Refits in the background: a worker process that is started, looked at and ended.

What the worker does is the training module's, ``python -m kstep_training.refit FOLDER``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import weakref
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io.trajectory import Trajectory

from kstep_integrators.files import flush_to_disk, write_text_atomically
from kstep_integrators.models.model_file import ModelHeader, write_model
from kstep_integrators.nn.energy.network import EnergyNetwork

__all__ = ["Refit", "RefitNews", "have_trainer", "write_refit"]

_PATIENCE = 20.0
"""seconds that a worker gets to end."""
_NEEDS = ("kstep_training", "lightning", "omegaconf", "rich", "tensorboardX")


def have_trainer() -> bool:
    """Whether the training module and what it needs are installed; nothing is imported.

    Examples
    --------
    >>> have_trainer()
    True
    """
    return all(find_spec(name) is not None for name in _NEEDS)


def write_refit(
    folder: str | Path,
    network: EnergyNetwork,
    header: ModelHeader,
    targets: Iterable[Atoms],
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write what a refit is made of.

    Parameters
    ----------
    folder : path
        Made if there is none.
    network, header
        The model that the refit starts from.
    targets : iterable of ase.Atoms
        Geometries in the order in which they came, with the energies (eV) and forces (eV/angstrom)
        that the network is to have. Those without forces are written, but not fitted.
    settings : mapping, optional
        Fields of ``kstep_training.refit.settings.RefitSettings`` other than their defaults.

    Raises
    ------
    FileExistsError
        If the folder holds a refit already.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "settings.json").exists():
        raise FileExistsError(f"{folder} holds a refit already; choose another folder or remove it")
    write_model(folder / "start.safetensors", network, header)
    with Trajectory(folder / "targets.traj", "w") as frames:
        for atoms in targets:
            frames.write(atoms)
    flush_to_disk(folder / "targets.traj")
    # Last: a folder with settings is complete.
    text = json.dumps(dict(settings or {}), indent=1, sort_keys=True)
    write_text_atomically(folder / "settings.json", f"{text}\n")


@dataclass(frozen=True)
class RefitNews:
    """How far a refit is.

    Attributes
    ----------
    state : str
        ``"running"``, ``"finished"``, ``"failed"``, or ``"stopped"``: it has no process, and can go
        on.
    reason : str
        Why it failed: the last line of its log.
    epoch, epochs : int
        Passes over the labels that are done, and of how many; 0 before the first.
    error : float or None
        Rms error of a force component of the labels that validate, meV/angstrom, after that epoch.
    seconds : float
        Spent on these epochs.
    """

    state: str
    reason: str = ""
    epoch: int = 0
    epochs: int = 0
    error: float | None = None
    seconds: float = 0.0


class Refit:
    """A refit in a folder, and its worker process while there is one.

    Parameters
    ----------
    folder : path
        Written by :func:`write_refit`.
    nice : int
        By how much the priority of the worker is lowered, 0 to 19, so that it does not take the
        core from the physics.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import molecule
    >>> from kstep_integrators import load_model
    >>> potential = load_model("organic-gfn2", device="cpu")
    >>> folder = tempfile.mkdtemp()
    >>> write_refit(folder, potential.network, potential.header, [molecule("H2O")])
    >>> Refit(folder).poll().state
    'stopped'

    ``start()`` would start its worker, and ``poll()`` say "running" until there is a model.
    """

    def __init__(self, folder: str | Path, nice: int = 10) -> None:
        self.folder = Path(folder)
        self.nice = nice
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def model(self) -> Path:
        """The model file that it makes."""
        return self.folder / "model.safetensors"

    def start(self) -> None:
        """Start the worker, or let it go on where an earlier one stopped.

        Without effect if there is one, or the model is made. The worker ends when this process
        does, however it does.
        """
        if self.model.exists() or (self._process is not None and self._process.poll() is None):
            return
        command = [sys.executable, "-m", "kstep_training.refit", str(self.folder), "--quiet"]
        with open(self.folder / "log.txt", "ab") as log:
            self._process = subprocess.Popen(
                [*command, "--with-parent", "--nice", str(self.nice)],
                stdin=subprocess.PIPE,  # nothing is ever written: its end is ours
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                start_new_session=True,  # Ctrl-C is for this process, which decides
            )
        weakref.finalize(self, _end, self._process)

    def poll(self) -> RefitNews:
        """Look how far it is, without waiting."""
        code = None if self._process is None else self._process.poll()
        if self._process is not None and code is not None:
            _close(self._process)
        told = self._progress()
        if self.model.exists():
            return RefitNews("finished", **told)
        if self._process is None:
            return RefitNews("stopped", **told)
        if code is None:
            return RefitNews("running", **told)
        lines = (self.folder / "log.txt").read_text(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"its process ended with {code}"
        return RefitNews("failed", reason=reason, **told)

    def _progress(self) -> dict[str, Any]:
        try:
            told = json.loads((self.folder / "progress.json").read_text())
        except FileNotFoundError:
            return {}
        error = told["validation"].get("val_force_rms")
        return {**{key: told[key] for key in ("epoch", "epochs", "seconds")}, "error": error}

    def wait(self) -> None:
        """Wait until the worker has ended, if there is one."""
        if self._process is not None:
            self._process.wait()

    def terminate(self) -> None:
        """End the worker; what is lost is the epoch under way, and :meth:`start` goes on."""
        process, self._process = self._process, None
        if process is None:
            return
        if self.model.exists():  # it is about to end by itself
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE)
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process, if it has not ended."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    _close(process)


def _close(process: subprocess.Popen[bytes]) -> None:
    """Let go of the pipe to a process that has ended."""
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
