"""Model files, what they cover, the bundled ones, and molecules by name."""
