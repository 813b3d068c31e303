"""Couplings as what a fit is aimed at: samples, network, errors, simple predictions, picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar

import numpy as np
import torch

from kstep_integrators.observables.networks.delta_coupling import DeltaCoupling
from kstep_integrators.observables.networks.graphs import Batch, Data
from kstep_integrators.observables.observable_file import CHEAP_METHOD
from kstep_training.observables.fit.coupling_baselines import linear_correction, ridge_correction
from kstep_training.observables.fit.coupling_fit import CouplingFit, distance_weights
from kstep_training.observables.fit.errors import coupling_errors
from kstep_training.observables.fit.fit_stages import CouplingFitStage
from kstep_training.observables.fit.graph_batches import batches_in_order
from kstep_training.observables.fit.regression_plot import regression_picture
from kstep_training.observables.samples.coupling_samples import CouplingSamples, coupling_samples
from kstep_training.observables.samples.samples import Array

__all__ = ["CouplingTarget"]


class CouplingTarget:
    """Corrections of a cheap coupling of dimers.

    Parameters
    ----------
    stage : CouplingFitStage
    whole : bool
        Whether the whole coupling is learned in place of its difference to the cheap one.

    Examples
    --------
    >>> from kstep_training.observables.fit.fit_stages import CouplingFitStage
    >>> CouplingTarget(CouplingFitStage()).twin().whole
    True
    """

    kind: ClassVar[str] = "coupling"
    unit: ClassVar[str] = "eV"
    twin_name: ClassVar[str] = "without V0"
    picture_name: ClassVar[str] = "regression.svg"

    def __init__(self, stage: CouplingFitStage, whole: bool = False) -> None:
        self.stage = stage
        self.whole = whole

    def twin(self) -> CouplingTarget:
        """The same fit of a network that knows no cheap coupling."""
        network = self.stage.network
        if not network.orbital_pairs:  # terms of pairs are not told V0 in any case
            network = replace(network, cheap_input=False)
        return CouplingTarget(replace(self.stage, network=network), whole=True)

    def samples(self, parts: Sequence[Mapping[str, Any]]) -> CouplingSamples:
        """Samples of the parts of a folder of labels."""
        return coupling_samples(parts, self.stage.magnitude)

    def methods(self, settings: Mapping[str, Any]) -> dict[str, str]:
        """Entries of the file's header on the methods of labels.

        Parameters
        ----------
        settings : mapping
            That the labels were made with.
        """
        methods = {"method": settings["reference"], "carrier": settings["carrier"]}
        return {**methods, "cheap_method": settings.get("cheap_method", CHEAP_METHOD)}

    def network(self, train: CouplingSamples) -> DeltaCoupling:
        """A new network, in the units of the training set.

        Raises
        ------
        ValueError
            If it is to see orbitals, and the labels have none.
        """
        if self.stage.network.orbital_pairs and not all(g.orbital.any() for g in train.graphs):
            raise ValueError(
                "network.orbital_pairs is true, but labels have no orbitals, as those of a "
                "spreadsheet: set network.orbital_pairs=false, or label with kstep label couplings"
            )
        network = DeltaCoupling(train.elements, **asdict(self.stage.network))
        corrections = torch.as_tensor(train.reference - self._base(train))
        network.set_statistics(Batch.from_data_list(list(train.graphs)), corrections)
        return network

    def module(self, network: DeltaCoupling, train: CouplingSamples, steps: int) -> CouplingFit:
        """The Lightning module that fits it."""
        spread = float((train.reference - self._base(train)).std())
        return CouplingFit(network, self.stage.fit, steps, spread)

    def graphs(self, samples: CouplingSamples) -> list[Data]:
        """Graphs with the labels that the Lightning module reads."""
        s = samples
        weights = distance_weights(s.separation, self.stage.fit.distance_scale)
        labels = {"correction": s.reference - self._base(s), "weight": weights}
        graphs = [graph.clone() for graph in s.graphs]
        for i, graph in enumerate(graphs):
            for name, values in labels.items():
                graph[name] = torch.tensor(values[i : i + 1], dtype=graph.pos.dtype)
        return graphs

    def predicted(self, network: DeltaCoupling, samples: CouplingSamples) -> Array:
        """Couplings (S,) eV."""
        with torch.no_grad():
            made = [network(batch).double() for batch in batches_in_order(samples.graphs)]
        return np.asarray(self._base(samples) + torch.cat(made).numpy())

    def errors(
        self, predicted: Array, samples: CouplingSamples, train: CouplingSamples
    ) -> dict[str, float]:
        """Errors of couplings (:func:`~kstep_training.observables.fit.errors.coupling_errors`)."""
        del train
        return coupling_errors(predicted, samples.reference, self.stage.fit.smallest_meV)

    def baselines(self, train: CouplingSamples, samples: CouplingSamples) -> dict[str, Array]:
        """Simple predictions by their names, and the second reference method if there is one."""
        simple = {
            "V0 alone": samples.cheap,
            "a V0 + b": linear_correction(train, samples),
            "ridge": ridge_correction(train, samples),
        }
        known = bool(np.isfinite(samples.second).all())
        return {**simple, **({"second reference": samples.second} if known else {})}

    def picture(
        self,
        parts: Mapping[str, CouplingSamples],
        predicted: Mapping[str, Array],
        train: CouplingSamples,
    ) -> str:
        """Predicted against reference couplings of each part, as SVG."""
        pairs = {name: (its.reference, predicted[name]) for name, its in parts.items()}
        errors = {name: self.errors(predicted[name], its, train) for name, its in parts.items()}
        return regression_picture(pairs, errors)

    def _base(self, samples: CouplingSamples) -> Array:
        """Values that the network's results are added to, eV."""
        return np.zeros(len(samples)) if self.whole else samples.cheap
