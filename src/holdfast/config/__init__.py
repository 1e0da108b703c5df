"""Settings: what a user, a machine or a caller chose, each value with where it comes from (interface.md §2).

``settings`` reads (and is the only reader of the environment beside ``failpoint``), ``keys`` says what each value may
be, and ``file`` writes. No object is built from a setting here; that is ``wiring``.
"""

from __future__ import annotations

from holdfast.config.keys import ALIASES, KEYS, Key, key_named, parse_size
from holdfast.config.settings import Settings, config_file, load, masked

__all__ = ["ALIASES", "KEYS", "Key", "Settings", "config_file", "key_named", "load", "masked", "parse_size"]
