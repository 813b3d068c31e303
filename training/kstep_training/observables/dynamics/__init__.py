"""Runs of dimers and molecules whose frames are labelled."""
