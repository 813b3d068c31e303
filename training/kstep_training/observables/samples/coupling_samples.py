"""Labelled couplings as samples to fit to, in the gauge in which the cheap one is positive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kstep_integrators.observables.networks.graphs import dimer_graph
from kstep_training.observables.samples.samples import Array, Samples

__all__ = ["CouplingSamples", "coupling_samples"]


@dataclass(frozen=True)
class CouplingSamples(Samples):
    """Dimers with a cheap and a reference coupling.

    Attributes
    ----------
    cheap : (S,) eV
        V0, not negative.
    reference : (S,) eV
        Vref, with the sign that goes with that, or its magnitude.
    separation : (S,) angstrom
    angle : (S,) radian
    participation : (S,)
    second : (S,) eV
        The coupling by another reference method, in the gauge of Vref; NaN if there is none.

    Examples
    --------
    See :func:`coupling_samples`.
    """

    cheap: Array
    reference: Array
    separation: Array
    angle: Array
    participation: Array
    second: Array


def coupling_samples(
    parts: Iterable[Mapping[str, Any]], magnitude: bool = False
) -> CouplingSamples:
    """The samples of labelled couplings.

    The sign of an orbital is arbitrary, and both couplings change with it. They are turned so that
    the cheap one is not negative; what is learned is then a function of the structure alone. Where
    the two methods change their signs in different places, that function jumps, unless the orbitals
    are seen, which are turned with it: without them, the magnitude of the reference is left.

    Parameters
    ----------
    parts : iterable of mapping
        Arrays of each part of a folder of labels:
        :func:`~kstep_training.observables.labels.label_folder.read_labels`. Orbitals are zero
        where they are missing.
    magnitude : bool
        Whether the references lose their signs.

    Raises
    ------
    ValueError
        If there is no frame.

    Examples
    --------
    >>> import numpy as np
    >>> part = {
    ...     "numbers": np.array([2, 2]), "molecule": np.array([0, 1]),
    ...     "positions": np.array([[[0, 0, 0], [0, 0, 3.0]]]), "populations": np.zeros((1, 2, 3)),
    ...     "orbital": np.zeros((1, 2, 4)), "dipole": np.zeros((1, 3)),
    ...     "quadrupole": np.zeros((1, 6)), "angle": np.zeros(1),
    ...     "separation": np.array([3.0]), "participation": np.array([2.0]),
    ...     "cheap": np.array([-0.02]), "reference": np.array([-0.03]),
    ...     "trajectory": np.array("run"), "kind": np.array("He+He"), "frame": np.array([0]),
    ... }
    >>> samples = coupling_samples([part])
    >>> samples.cheap.tolist(), samples.reference.tolist()
    ([0.02], [0.03])
    """
    graphs, rows, names = [], [], []
    for part in parts:
        sign = np.where(part["cheap"] < 0.0, -1.0, 1.0)
        turned = {
            name: np.abs(its) if magnitude else sign * its
            for name in ("reference", "reference_2")
            if (its := part.get(name)) is not None
        }
        columns = {
            "separation": part["separation"],
            "angle": part["angle"],
            "cheap": sign * part["cheap"],
            "participation": part["participation"],
            "reference": turned["reference"],
            "second": turned.get("reference_2", np.full(len(sign), np.nan)),
        }
        other = part["molecule"] == 1
        orbital = part.get("orbital", np.zeros((*part["positions"].shape[:2], 4)))
        orbital = np.where(other[:, None], sign[:, None, None], 1.0) * orbital
        table = np.stack(list(columns.values()), axis=1)
        for i, frame in enumerate(part["frame"].tolist()):
            graphs.append(
                dimer_graph(
                    part["numbers"],
                    part["positions"][i],
                    part["molecule"],
                    part["populations"][i],
                    orbital[i],
                    part["dipole"][i],
                    part["quadrupole"][i],
                    table[i, :4],
                    {"reference": table[i, 4]},
                )
            )
            rows.append(table[i])
            names.append((str(part["trajectory"]), str(part["kind"]), frame))
    if not rows:
        raise ValueError("the folder of labels holds no frame; label trajectories first")
    separation, angle, cheap, participation, reference, second = np.array(rows).T
    trajectory, kind, frames = zip(*names, strict=True)
    return CouplingSamples(
        tuple(graphs),
        np.array(trajectory),
        np.array(kind),
        np.array(frames, dtype=np.int64),
        cheap=cheap,
        reference=reference,
        separation=separation,
        angle=angle,
        participation=participation,
        second=second,
    )
