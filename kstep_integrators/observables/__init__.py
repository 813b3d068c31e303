"""Observables along a trajectory: couplings of dimers, and X-ray absorption spectra."""
