"""Names to versions to metas: the second seam, and the catalogs behind it. Publishing is the last write."""
