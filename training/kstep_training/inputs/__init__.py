"""One way to say what a command works on: molecule, physics, model and thermal start."""
