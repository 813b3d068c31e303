"""The bundled training module: from SMILES to a model that ``KStepDynamics`` runs."""
