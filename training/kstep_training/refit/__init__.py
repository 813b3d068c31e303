"""All weights of a potential fitted to the labels of a run, in a process of its own."""
