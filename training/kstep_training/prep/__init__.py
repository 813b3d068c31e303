"""SMILES to conformers, topologies and force fields."""
