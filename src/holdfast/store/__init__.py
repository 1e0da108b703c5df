"""Bytes under keys: the one seam for storage, and the stores behind it. No key is spelled here."""
