"""Codecs of chunks: what was packed comes back, and the probe takes the codec that pays."""

from __future__ import annotations

import random
import struct

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import IntegrityError
from holdfast.formats.codec import choose, pack, unpack
from holdfast.model.chunk import CODEC_NONE, CODEC_PLANES2, CODEC_PLANES4, CODEC_ZSTD

CODECS = (CODEC_NONE, CODEC_ZSTD, CODEC_PLANES2, CODEC_PLANES4)
DICE = random.Random(7)


@given(st.binary(max_size=70), st.integers(1, 40), st.sampled_from(CODECS))
def test_pack__round_trip(data, times, codec):
    """Every codec gives back any bytes, odd tails with them."""
    data = (data * times)[:-1] if times % 2 else data * times
    assert bytes(unpack(pack(data, codec), codec, len(data), "it")) == data
    assert pack(memoryview(data), codec) == pack(data, codec)


def test_pack__planes_as_the_format_says():
    """Bytes of one place stand together, the tail behind them as it is."""
    unfold = zstandard.ZstdDecompressor().decompress
    assert unfold(pack(b"aAbBcCx", CODEC_PLANES2)) == b"abcABCx"
    assert unfold(pack(b"aA1.bB2:cC3;xyz", CODEC_PLANES4)) == b"abcABC123.:;xyz"


def half_floats(count: int) -> bytes:
    """What bf16 weights look like: the upper half of small float32 numbers."""
    return b"".join(struct.pack("<f", DICE.gauss(0, 0.02))[2:] for _ in range(count))


@pytest.mark.parametrize(
    ("data", "codec"),
    [
        (half_floats(8000), CODEC_PLANES2),
        (struct.pack("<4000f", *(DICE.gauss(0, 0.02) for _ in range(4000))), CODEC_PLANES4),
        (struct.pack("<8000e", *(DICE.gauss(0, 0.02) for _ in range(8000))), CODEC_PLANES2),
        (b"some words that come again, and some more; " * 300, CODEC_ZSTD),
        (DICE.randbytes(16000), CODEC_NONE),
        (b"", CODEC_NONE),
        (b"x", CODEC_NONE),
        (bytes(16000), CODEC_ZSTD),
    ],
    ids=["bf16", "float32", "float16", "text", "random", "empty", "one byte", "zeros"],
)
def test_choose__what_pays(data, codec):
    """Weights go by planes, text by zstd alone, and what no codec makes smaller stays as it is."""
    assert choose(data) == codec


def frame(data: bytes, *, size: bool = True) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=size).compress(data)


BOMB = frame(bytes(1 << 20))
BAD = {
    "another length": (frame(b"abc"), CODEC_ZSTD, 4),
    "unpacked, another length": (b"abc", CODEC_NONE, 4),
    "no frame": (b"abc", CODEC_ZSTD, 3),
    "nothing": (b"", CODEC_ZSTD, 0),
    "truncated": (frame(b"abc" * 100)[:-1], CODEC_ZSTD, 300),
    "something behind": (frame(b"abc") + b"x", CODEC_ZSTD, 3),
    "two frames": (frame(b"abc") * 2, CODEC_ZSTD, 3),
    "size not declared": (frame(b"abc", size=False), CODEC_ZSTD, 3),
    "unknown codec": (b"abc", 4, 3),
    "bomb": (BOMB, CODEC_PLANES2, 100),
    "a size that lies": (BOMB.replace((1 << 20).to_bytes(4, "little"), (100).to_bytes(4, "little")), CODEC_ZSTD, 100),
}


@pytest.mark.parametrize("case", BAD)
def test_unpack__refused(case):
    """What is no frame of the promised length is refused, and named."""
    data, codec, raw = BAD[case]
    with pytest.raises(IntegrityError, match="pack at 5"):
        unpack(data, codec, raw, "pack at 5")
