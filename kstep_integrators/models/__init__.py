"""Model files and their coverage, the bundled models, and molecules by name."""
