"""Versioning systems with modelkit's classes; the rules are those of :mod:`holdfast.model.version`."""

from __future__ import annotations

from holdfast.modelkit.versioning.versioning import AssetsVersioningSystem, as_scheme, register

__all__ = ["AssetsVersioningSystem", "as_scheme", "register"]
