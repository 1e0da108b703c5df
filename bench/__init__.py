"""Measures Holdfast beside its peers: ``python -m bench``, ``make bench``."""
