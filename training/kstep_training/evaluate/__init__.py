"""The command ``kstep evaluate``: whether a k-step run is right, and what it saved.

A plan of runs (molecule x method x seed), the runs, their numbers, the verdicts, the report.
"""
