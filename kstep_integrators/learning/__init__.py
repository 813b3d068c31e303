"""Learning while a run goes on: a potential adapts to the evaluations that the run makes."""
