"""Folders of labels that follow a known law, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.observables.synthetic_labels import coupling_labels, spectrum_labels


@pytest.fixture(scope="session")
def couplings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two kinds of dimers, six trajectories of 12 frames each."""
    folder = tmp_path_factory.mktemp("labels") / "couplings"
    return coupling_labels(folder, ("H2O+HF", "H2O+H2O"), trajectories=6, frames=12)


@pytest.fixture(scope="session")
def spectra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of water, six trajectories of 12 frames."""
    folder = tmp_path_factory.mktemp("labels") / "xanes"
    return spectrum_labels(folder, trajectories=6, frames=12)
