"""The command ``kstep evaluate``: judge k-step runs, and count what they saved.

``plan`` says which runs there are (molecule, method, seed), ``execute`` does the jobs that are
missing, ``runs`` makes them: references and controls (``controls``), jumps (``jumps``), with
evaluations counted inside the calculators (``counting``). ``metrics`` turns their records into
numbers (``energy_and_spectra``, ``structure``, ``cells``), ``verdict`` judges these against
``noise`` and controls, and ``report``, ``page`` and ``screen`` show them. ``outside`` does the
same for trajectories made elsewhere.
"""
