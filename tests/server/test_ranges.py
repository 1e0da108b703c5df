"""Ranges of an object that goes through the server, as HTTP has them (RFC 9110, 13 and 14)."""

from __future__ import annotations

import pytest

DATA = bytes(range(100))


@pytest.fixture
def place(server):
    """A server with an object of 100 bytes."""
    server.folder.mkdir(parents=True, exist_ok=True)
    (server.folder / "o").write_bytes(DATA)
    return server


def ranged(place, text, **headers):
    """The answer to a range."""
    return place.get("objects", params={"key": "o"}, headers={"Range": text, **headers})


@pytest.mark.parametrize("first", [100, 2**40, 2**44, 2**62, 2**63, 10**19 - 1])
def test_range__beyond_the_end(place, first):
    """A range that begins beyond the end is refused with the length, however far beyond."""
    answer = ranged(place, f"bytes={first}-")
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */100")


def test_range__absent_object(place):
    """Of an object that is not there no range is anything but not found."""
    answer = place.get("objects", params={"key": "none"}, headers={"Range": f"bytes={2**63}-"})
    assert answer.status_code == 404


def test_if_range(place):
    """A range goes with the version that `If-Range` names; of another one comes the whole, so that nobody joins two."""
    tag = ranged(place, "bytes=0-9").headers["etag"]
    answer = ranged(place, "bytes=10-19", **{"If-Range": tag})
    assert (answer.status_code, answer.content) == (206, DATA[10:20])
    (place.folder / "o").write_bytes(DATA[::-1] + b"more")
    for condition in (tag, "Sat, 28 Nov 2026 08:00:00 GMT"):
        answer = ranged(place, "bytes=10-19", **{"If-Range": condition})
        assert (answer.status_code, answer.content) == (200, DATA[::-1] + b"more")


def test_if_match(place):
    """`If-Match` names any version, one, or several of which one is to be there; a weak tag is none."""
    tag = ranged(place, "bytes=0-9").headers["etag"]
    for condition in ("*", tag, f'"other", {tag}', f'{tag},"other"'):
        assert ranged(place, "bytes=0-9", **{"If-Match": condition}).content == DATA[:10], condition
    for condition in ('"other"', '"other", "another"', f"W/{tag}", f'W/{tag}, "other"'):
        assert ranged(place, "bytes=0-9", **{"If-Match": condition}).status_code == 412, condition
    assert place.get("objects", params={"key": "none"}, headers={"If-Match": "*"}).status_code == 404
    assert place.get("objects", params={"key": "none"}, headers={"If-Match": '"a", "b"'}).status_code == 404
