"""Whatever bytes a reader of layout ``packs`` is given: it reads them, or says that they are damaged. ``make fuzz`` does it for longer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.formats.fuzzing import TARGETS, run

#: Marks of msgpack and numbers at which something ends.
TELLING = [
    b"\x00", b"\x7f", b"\x80", b"\xff", b"\xc0", b"\x90", b"\x91", b"\x9f", b"\xa1\xff", b"\xc4\x00", b"\xcc\xff",
    b"\xcd\xff\xff", b"\xce\xff\xff\xff\xff", b"\xcf" + b"\xff" * 8, b"\xd3\x80" + b"\0" * 7, b"\xdc\xff\xff",
    b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x91" * 2000, b"\xcb" + b"\0" * 8, b"\x81\x01\x02", b"../", b"\0" * 8,
]  # fmt: skip
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "put", "insert", "cut", "repeat"]),
        st.integers(0, 1 << 20),
        st.one_of(st.sampled_from(TELLING), st.binary(min_size=1, max_size=4)),
    ),
    min_size=1,
    max_size=4,
)


def edited(data: bytes, edits: list[tuple[str, int, bytes]]) -> bytes:
    """The bytes after these edits."""
    for kind, place, value in edits:
        at = place % (len(data) + 1)
        if kind == "flip":
            data = data[:at] + bytes([byte ^ 1 << place % 8 for byte in data[at : at + 1]]) + data[at + 1 :]
        elif kind == "put":
            data = data[:at] + value + data[at + len(value) :]
        elif kind == "insert":
            data = data[:at] + value + data[at:]
        elif kind == "cut":
            data = data[:at] + data[at + len(value) :] if place % 3 else data[:at]
        else:
            data = data[:at] + data[max(0, at - 9) : at] + data[at:]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_reader__samples(name):
    """The samples themselves are read: the fuzzing begins at what is right."""
    target, samples = TARGETS[name]
    for sample in samples:
        if name != "container":
            target(sample)
        run(name, sample)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10), EDITS)
def test_reader__anything_edited(name, number, edits):
    """A good object, edited anywhere, is read or is an integrity error."""
    samples = TARGETS[name][1]
    run(name, edited(samples[number % len(samples)], edits))


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_reader__any_bytes(name, data):
    """Any bytes at all are read or are an integrity error."""
    run(name, data)


@pytest.mark.soak
@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=20_000, deadline=None)
@given(st.integers(0, 10), EDITS)
def test_reader__very_many(name, number, edits):
    """So are very many."""
    samples = TARGETS[name][1]
    run(name, edited(samples[number % len(samples)], edits))
