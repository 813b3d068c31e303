"""Baseline trajectories: force fields, GFN-xTB, Hartree-Fock and DFT."""
