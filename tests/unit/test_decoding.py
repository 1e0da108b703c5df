"""Decoding into types, from many threads at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import sys, threading
from typing import Annotated
import msgspec
from holdfast.formats.decoding import convert, from_json, from_msgpack

sys.setswitchinterval(1e-6)
way = sys.argv[1]
value = {"format": 1, "rows": [1, 2], "inner": [{"a": [3]}]}
data = msgspec.msgpack.encode(value) if way == "from_msgpack" else msgspec.json.encode(value)
decode = {
    "plain": lambda kind: msgspec.json.decode(data, type=kind),
    "from_json": lambda kind: from_json(data, kind),
    "from_msgpack": lambda kind: from_msgpack(data, kind),
    "convert": lambda kind: convert(value, kind),
}[way]
for _ in range(200):
    numbers = Annotated[list[int], msgspec.Meta(max_length=100)]
    inner = msgspec.defstruct("Inner", [("a", numbers), ("b", str, "")])
    kind = msgspec.defstruct("Outer", [("format", int), ("rows", numbers), ("inner", list[inner])])
    gate = threading.Barrier(8)
    right = []
    def work():
        gate.wait()
        right.append(decode(kind).inner[0].a == [3])
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 8
"""


@pytest.mark.parametrize("way", ["from_json", "from_msgpack", "convert"])
def test_decode__first_use_from_many_threads(way):
    """Threads that meet a type at once all get their value: with msgspec alone such a process dies (``plain`` above)."""
    ended = subprocess.run([sys.executable, "-c", _PROGRAM, way], check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_learn__all_messages():
    """Once messages are learned, every kind of them that the program knows has a decoder, and no other thread waits for one."""
    from holdfast.formats import api, decoding, people  # noqa: F401 - the kinds that there are
    from holdfast.formats.messages import Reply, Request, learn_messages

    learn_messages()

    def below(kind):
        return {kind, *(each for child in kind.__subclasses__() for each in below(child))}

    assert len(below(Request) | below(Reply)) > 40
    assert (below(Request) | below(Reply)) <= decoding._json.keys()
