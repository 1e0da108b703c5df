"""Mounts: a version as a folder (`view`, `wire`, `daemon`), and live buckets through established mounters (`live`)."""
