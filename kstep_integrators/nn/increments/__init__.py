"""Networks that predict the increments of a direct jump."""
