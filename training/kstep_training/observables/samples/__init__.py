"""Labels as samples to fit to, in parts for training, validation and test."""
