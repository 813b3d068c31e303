"""Arguments that say what a run writes where: checked, kept in checkpoints, and found again."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import IO, Any

from kstep_integrators.arguments import positive_integer
from kstep_integrators.notices import KStepWarning

__all__ = [
    "check_apart",
    "check_earlier",
    "check_folder",
    "check_interval",
    "check_outputs",
    "found_outputs",
    "record_outputs",
]


def check_interval(checkpoint: str | Path | None, interval: object) -> int:
    """Steps between two checkpoints: 100, if nothing is given.

    Raises
    ------
    ValueError
        If it is not a positive integer, or there is no checkpoint to write.
    """
    if interval is None:
        return 100
    checked = positive_integer("checkpoint_interval", interval, "steps between two checkpoints")
    if checkpoint is None:
        raise ValueError(
            f"checkpoint_interval={interval} without a checkpoint: pass checkpoint='run.ckpt' too"
        )
    return checked


def check_outputs(
    trajectory: object,
    logfile: object,
    loginterval: object,
    checkpoint: object,
    append_trajectory: object = False,
    **others: Any,
) -> None:
    """Refuse outputs that are no files, before any is opened.

    Parameters
    ----------
    trajectory, logfile, loginterval, checkpoint, append_trajectory
        As in :class:`kstep_integrators.KStepDynamics`.
    **others
        Of :class:`ase.md.md.MolecularDynamics`, not looked at.

    Raises
    ------
    TypeError, ValueError
        Each message names the argument.
    """
    for name, value, others_too in (
        ("trajectory", trajectory, "a path, or a trajectory that is open"),
        ("logfile", logfile, "a path, '-', or a file that is open"),
        ("checkpoint", checkpoint, "a path"),
    ):
        opened = name != "checkpoint" and hasattr(value, "write")
        if not (value is None or isinstance(value, str | Path) or opened):
            raise TypeError(f"{name} is {value!r}, expected {others_too}, or None for none")
    positive_integer("loginterval", loginterval, "steps between two frames, and two lines")
    if not isinstance(append_trajectory, bool):
        raise TypeError(f"append_trajectory is {append_trajectory!r}, expected True or False")


def check_apart(**outputs: object) -> None:
    """Refuse one file for two outputs, before either is opened.

    Parameters
    ----------
    **outputs
        Files of one run by the names of their arguments; what is no path is not looked at.

    Raises
    ------
    ValueError
        The message names both.
    """
    named: dict[Path, str] = {}
    for name, value in outputs.items():
        if not isinstance(value, str | Path) or value == "-":
            continue
        path = Path(value).resolve()
        if path.exists() and not path.is_file():  # such as /dev/null
            continue
        if path in named:
            raise ValueError(
                f"{named[path]} and {name} are the same file, {str(value)!r}: one would overwrite "
                "the other; give each a name of its own"
            )
        named[path] = name


def check_folder(**outputs: object) -> None:
    """Notice that a file has no folder, or is one, before a run is made that could not be kept.

    Parameters
    ----------
    **outputs
        Files of one run by the names of their arguments; what is no path is not looked at.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    IsADirectoryError
        If a folder stands in the place of the file.
    """
    for name, value in outputs.items():
        if not isinstance(value, str | Path) or value == "-":
            continue
        if not Path(value).parent.is_dir():
            raise FileNotFoundError(
                f"{name} is {str(value)!r}, but there is no folder {str(Path(value).parent)!r}; "
                "make it first"
            )
        if Path(value).is_dir():
            raise IsADirectoryError(
                f"{name} is {str(value)!r}, which is a folder; expected the name of a file"
            )


def check_earlier(
    trajectory: object, checkpoint: str | Path | None, append_trajectory: bool = False
) -> None:
    """Refuse to begin a run where another has left its checkpoint; warn of a trajectory it loses.

    Parameters
    ----------
    trajectory, checkpoint, append_trajectory
        As in :class:`kstep_integrators.KStepDynamics`.

    Raises
    ------
    FileExistsError
        If there is a checkpoint of that name.
    ValueError
        If a trajectory that is to be gone on with is another kind of file.
    """
    if checkpoint is not None and Path(checkpoint).exists():
        raise FileExistsError(
            f"checkpoint is {str(checkpoint)!r}, which exists: go on with that run with "
            f"resume({str(checkpoint)!r}, ...), or give another name, or move the file away"
        )
    path = Path(trajectory) if isinstance(trajectory, str | Path) else None
    if path is not None and path.is_file() and path.stat().st_size:
        if append_trajectory:
            with open(path, "rb") as handle:
                if handle.read(8) != b"- of Ulm":
                    raise ValueError(
                        f"append_trajectory=True, but {path} is no trajectory of ASE; name another"
                    )
        else:
            warnings.warn(
                f"the trajectory {path} exists and is begun anew, as in ASE: what it held is lost; "
                "append_trajectory=True would keep it",
                KStepWarning,
                stacklevel=3,
            )


def found_outputs(settings: dict[str, Any], checkpoint: str | Path) -> dict[str, Any]:
    """Arguments of a resumed run that say what it writes where.

    Parameters
    ----------
    settings : dict
        From :func:`record_outputs`, with others, which stay as they are.
    checkpoint : str or Path
        Trajectory and log lie beside it as they did, from wherever it is resumed.
    """
    folder = Path(checkpoint).parent
    found = dict(settings)
    for name in ("trajectory", "logfile"):
        if settings[name] not in (None, "-"):
            found[name] = str(folder / settings[name])
    return found


def record_outputs(
    checkpoint: str | Path,
    trajectory: Any,
    logfile: IO[str] | str | Path | None,
    loginterval: int,
    checkpoint_interval: int,
) -> dict[str, Any]:
    """Arguments that say what a run writes where, as its checkpoint keeps them.

    Parameters
    ----------
    checkpoint, trajectory, logfile, loginterval, checkpoint_interval
        As in :class:`kstep_integrators.KStepDynamics`. Relative paths are kept as seen from the
        folder of the checkpoint.

    Raises
    ------
    ValueError
        If a resumed run could not have them: an open file.
    """
    for name, output in (("trajectory", trajectory), ("logfile", logfile)):
        if not isinstance(output, str | Path | None):
            raise ValueError(
                f"{name} is an open {type(output).__name__}, which a resumed run could not cut "
                "back to the checkpoint; pass its path, or leave checkpoint out"
            )
    return {
        "trajectory": _beside(trajectory, checkpoint),
        "logfile": _beside(logfile, checkpoint),
        "loginterval": loginterval,
        "checkpoint_interval": checkpoint_interval,
    }


def _beside(output: Any, checkpoint: str | Path) -> str | None:
    """A path as seen from the folder of the checkpoint; an absolute one stays so."""
    if output is None:
        return None
    if output == "-" or Path(output).is_absolute():
        return str(output)
    return os.path.relpath(output, Path(checkpoint).parent)
