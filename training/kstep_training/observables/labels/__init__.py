"""Labels of frames, couplings of dimers and absorption spectra, and their folders."""
