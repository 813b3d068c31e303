"""An ASE dynamics whose checkpoints fit its trajectory and its log."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

from ase import Atoms
from ase.md.logger import MDLogger
from ase.md.md import MolecularDynamics

from kstep_integrators.arguments import whole_number
from kstep_integrators.ase.checkpoint import Checkpoint
from kstep_integrators.ase.checkpoint_file import write_checkpoint
from kstep_integrators.ase.output_arguments import check_earlier
from kstep_integrators.ase.outputs import Marks, Outputs

__all__ = ["ResumableDynamics"]


_BOX = "       V[A^3] rho[g/cm3] acc[V]"
"""Heads of the columns that the log of a run with a barostat has beside those of ASE."""


class _Logger(MDLogger):
    """ASE's logger; it shows what is estimated, rather than ask for an evaluation.

    Of a run with a barostat it has volume, density and acceptance of volume moves as well.
    """

    def __init__(
        self, dynamics: ResumableDynamics, atoms: Atoms, logfile: Any, header: bool, comm: Any
    ) -> None:
        super().__init__(dynamics, atoms, logfile, header=False, comm=comm)
        self._find = weakref.WeakMethod(dynamics.estimates)
        self._box = weakref.WeakMethod(dynamics.box)
        if header:
            self.logfile.write(f"{self.hdr}{_BOX if dynamics.box() is not None else ''}\n")

    def __call__(self) -> None:
        """Write a line."""
        find = self._box()
        box = None if find is None else find()
        plain = self.fmt
        if box is not None:
            volume, density, accepted = box
            self.fmt = plain.replace("\n", f" {volume:12.4f} {density:10.5f} {accepted:6.3f}\n")
        try:
            super().__call__()  # type: ignore[no-untyped-call]
        finally:
            self.fmt = plain

    def _potential_energy(self) -> float:
        find = self._find()
        estimates = None if find is None else find()
        atoms = self.atoms if estimates is None else estimates
        return float(atoms.get_potential_energy())


class ResumableDynamics(MolecularDynamics, ABC):
    """Calls observers, and writes a checkpoint where they have seen the state to the end.

    Parameters
    ----------
    atoms, timestep, trajectory, logfile, loginterval, **kwargs
        As in :class:`ase.md.md.MolecularDynamics`.
    checkpoint : Path or None
    checkpoint_interval : int
        Steps.
    resumed : Checkpoint or None
        That the run goes on from: trajectory and log are cut back to it.

    Raises
    ------
    ValueError
        If trajectory or log do not belong to ``resumed``. Nothing has been changed then.
    """

    def __init__(
        self,
        atoms: Atoms,
        timestep: float,
        *,
        trajectory: str | Path | None,
        logfile: IO[str] | str | Path | None,
        loginterval: int,
        checkpoint: Path | None,
        checkpoint_interval: int,
        resumed: Checkpoint | None,
        **kwargs: Any,
    ) -> None:
        # Files stay where they are, wherever the process goes.
        self._checkpoint = None if checkpoint is None else checkpoint.absolute()
        self._checkpoint_interval = checkpoint_interval
        if isinstance(trajectory, str | Path):
            trajectory = Path(trajectory).absolute()
        log = Path(logfile) if isinstance(logfile, str | Path) and logfile != "-" else None
        self._outputs = Outputs(
            trajectory if isinstance(trajectory, Path) else None,
            None if log is None else log.absolute(),
        )
        # Of the state that observers have seen to the end, and of the last checkpoint.
        self._observed: object | None = None
        self._observed_at: int | None = None
        self._saved: object | None = None
        self._owns_checkpoint = resumed is not None
        self._resumed_at = None if resumed is None else resumed.nsteps
        self._logger: MDLogger | None = None
        super().__init__(
            atoms,
            timestep,
            trajectory=trajectory,  # type: ignore[arg-type]
            logfile=None,
            loginterval=loginterval,
            **kwargs,
        )
        if resumed is not None:
            self._outputs.cut(resumed.marks[0])
        if logfile:
            name = str(logfile) if isinstance(logfile, Path) else logfile
            self._logger = _Logger(self, atoms, name, resumed is None, self.comm)
            self.attach(self.closelater(self._logger), loginterval)
        if resumed is not None:
            self.nsteps = resumed.nsteps
            self._go_on(resumed)
            self._observed = self._saved = self._state()

    @abstractmethod
    def _go_on(self, kept: Checkpoint) -> None:
        """Stand where the run of a checkpoint stood."""

    @abstractmethod
    def _state(self) -> object | None:
        """The state of the run, the same object as long as it does not change."""

    @abstractmethod
    def box(self) -> tuple[float, float, float] | None:
        """Volume, density and acceptance of volume moves for the log; None without a barostat."""

    @abstractmethod
    def estimates(self) -> Atoms | None:
        """A copy of the atoms with what is estimated of them; None if everything is computed."""

    def _traj_write_image(self, description: dict[str, Any]) -> None:
        """Write a frame: with what is estimated, if nothing else is known there."""
        estimates = self.estimates()
        if estimates is None:
            super()._traj_write_image(description)
            return
        with self._opentraj() as file:
            file.set_description(self.todict() | description)
            file.write(estimates)

    @abstractmethod
    def _is_edited(self) -> bool:
        """True if the atoms are not as the run has left them."""

    @abstractmethod
    def _snapshot(self, marks: Marks) -> Checkpoint:
        """Everything that a checkpoint of the state keeps."""

    def irun(self, steps: int = 50) -> Generator[bool, None, None]:
        """Make steps one by one; a checkpoint, if there is one, is written at the end too.

        Raises
        ------
        ValueError
            If the number of steps is no whole number from 0.
        """
        whole_number("steps", steps, "strides to be made")
        try:
            yield from super().irun(steps)  # type: ignore[no-untyped-call]
        finally:
            self._save()

    def call_observers(self) -> None:
        """Call loggers, trajectory and other observers, and then write what checkpoint is due."""
        if self.nsteps == self._resumed_at:
            return  # the start of a run, which they have seen
        if self.nsteps == self._observed_at and self._state() is self._observed:
            return  # begun again after an interrupt in the first step
        super().call_observers()  # type: ignore[no-untyped-call]
        self._observed, self._observed_at = self._state(), self.nsteps
        if self.nsteps % self._checkpoint_interval == 0:
            self._save()

    def _save(self) -> Path | None:
        """Write the checkpoint, if there is one and trajectory and log belong to the state.

        Returns
        -------
        Path or None
            None if it could not be written; what was written before still stands.
        """
        state = self._state()
        if self._checkpoint is None or state is None or state is not self._observed:
            return None
        if state is not self._saved or self._is_edited():
            if not self._owns_checkpoint:  # another run may have begun since this one was made
                check_earlier(None, self._checkpoint)
                self._owns_checkpoint = True
            write_checkpoint(self._checkpoint, self._snapshot(self._outputs.mark()))
            self._saved = state
        return self._checkpoint

    def _say(self, line: str) -> None:
        """A line of its own in the log, if there is one."""
        if self._logger is not None:
            self._logger.logfile.write(f"# {line}\n")
            self._logger.logfile.flush()  # a checkpoint marks how long the file is
