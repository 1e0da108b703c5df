"""What schemathesis is told of the server that it asks: names that exist, and whom it may not shut out. Loaded into its own environment.

Half of what it makes up gets such a name, so that it comes past the answer "no such thing". ``KNOWN`` holds the names of each field,
``SPARED`` what must stay: the account and token that it asks with, and the project that it asks about.
"""

from __future__ import annotations

import json
import os
import zlib

import schemathesis

KNOWN = json.loads(os.environ["KNOWN"])
SPARED = set(json.loads(os.environ["SPARED"]))


def known(values):
    """The values, half of the time with names that exist; the same values always with the same."""
    if not isinstance(values, dict) or (chance := zlib.crc32(repr(values).encode("utf-8", "surrogatepass"))) % 2:
        return values
    return {name: each(KNOWN[name], chance) if name in KNOWN else value for name, value in values.items()}


def each(names, chance):
    """One of the names."""
    return names[chance // 2 % len(names)]


@schemathesis.hook
def map_query(context, query):
    return known(query)


@schemathesis.hook
def map_body(context, body):
    return known(body)


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    return known(path_parameters)


@schemathesis.hook
def filter_case(context, case):
    spared = {str(value) for name, value in (case.path_parameters or {}).items() if name != "project_name"}
    return not spared & SPARED
