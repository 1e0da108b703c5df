"""Values and rules: digests, versions, names, specs, manifests. No I/O, no clock."""
