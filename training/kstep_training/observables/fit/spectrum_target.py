"""Spectra as what a fit is aimed at: samples, network, errors, simple predictions, picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar

import numpy as np
import torch

from kstep_integrators.observables.networks.graphs import Batch, Data
from kstep_integrators.observables.networks.xanes import XANESNetwork
from kstep_training.observables.fit.errors import mean_squares, spectrum_errors
from kstep_training.observables.fit.fit_stages import SpectrumFitStage
from kstep_training.observables.fit.graph_batches import batches_in_order
from kstep_training.observables.fit.regression_plot import spectra_picture
from kstep_training.observables.fit.spectrum_baselines import mean_spectra, nearest_spectra
from kstep_training.observables.fit.spectrum_fit import SpectrumFit
from kstep_training.observables.samples.samples import Array
from kstep_training.observables.samples.spectrum_samples import SpectrumSamples, spectrum_samples

__all__ = ["SpectrumTarget"]


class SpectrumTarget:
    """Absorption spectra of atoms.

    Parameters
    ----------
    stage : SpectrumFitStage

    Examples
    --------
    >>> from kstep_training.observables.fit.fit_stages import SpectrumFitStage
    >>> SpectrumTarget(SpectrumFitStage()).twin().stage.network.scalar_only
    True
    """

    kind: ClassVar[str] = "spectrum"
    unit: ClassVar[str] = "1/eV"
    twin_name: ClassVar[str] = "scalars only"
    picture_name: ClassVar[str] = "spectra.svg"

    def __init__(self, stage: SpectrumFitStage) -> None:
        self.stage = stage

    def twin(self) -> SpectrumTarget:
        """The same fit of a network without vectors and tensors."""
        network = replace(self.stage.network, scalar_only=True)
        return SpectrumTarget(replace(self.stage, network=network))

    def samples(self, parts: Sequence[Mapping[str, Any]]) -> SpectrumSamples:
        """Samples of the parts of a folder of labels."""
        return spectrum_samples(parts, self.stage.grid)

    def methods(self, settings: Mapping[str, Any]) -> dict[str, str]:
        """Entries of the file's header on the method of labels.

        Parameters
        ----------
        settings : mapping
            That the labels were made with.
        """
        theory = "TDA" if settings["tda"] else "TDDFT"
        return {"method": f"{theory} {settings['xc']}/{settings['basis']}"}

    def network(self, train: SpectrumSamples) -> XANESNetwork:
        """A new network, in the units of the training set."""
        network = XANESNetwork(
            train.elements, train.edges, train.energies.tolist(), **asdict(self.stage.network)
        )
        network.set_statistics(Batch.from_data_list(list(train.graphs)), torch.tensor(train.rows))
        return network

    def module(self, network: XANESNetwork, train: SpectrumSamples, steps: int) -> SpectrumFit:
        """The Lightning module that fits it."""
        units = mean_squares(train.rows, train.spacing)
        return SpectrumFit(network, self.stage.fit, steps, train.spacing, units)

    def graphs(self, samples: SpectrumSamples) -> list[Data]:
        """Graphs with the labels that the Lightning module reads."""
        return list(samples.graphs)

    def predicted(self, network: XANESNetwork, samples: SpectrumSamples) -> Array:
        """Spectra (rows, E) of all absorbers of all frames, 1/eV."""
        with torch.no_grad():
            made = [network(batch).double() for batch in batches_in_order(samples.graphs)]
        return np.asarray(torch.cat(made).numpy())

    def errors(
        self, predicted: Array, samples: SpectrumSamples, train: SpectrumSamples
    ) -> dict[str, float]:
        """Errors of spectra; see :func:`~kstep_training.observables.fit.errors.spectrum_errors`."""
        units = mean_squares(train.rows, train.spacing)
        return spectrum_errors(predicted, samples.rows, samples.spacing, units)

    def baselines(self, train: SpectrumSamples, samples: SpectrumSamples) -> dict[str, Array]:
        """Simple predictions by their names."""
        return {
            "mean spectrum": mean_spectra(train, samples),
            "nearest spectrum": nearest_spectra(train, samples),
        }

    def picture(
        self,
        parts: Mapping[str, SpectrumSamples],
        predicted: Mapping[str, Array],
        train: SpectrumSamples,
    ) -> str:
        """Spectra of each part beside their truth, as SVG."""
        pairs = {name: (its.rows, predicted[name]) for name, its in parts.items()}
        unit = float(np.square(train.rows).mean())
        errors = {
            name: np.square(made - wanted).mean(-1) / unit for name, (wanted, made) in pairs.items()
        }
        return spectra_picture(pairs, train.energies, errors)
