"""Fits of networks to labels, their errors beside simple predictions, and pictures of both."""
