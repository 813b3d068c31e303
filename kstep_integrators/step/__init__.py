"""One step and one run: scheme, jump under guard, Metropolis test, statistics."""
