"""The codecs of chunks and pages: none, zstd, and byte planes before zstd for numbers of two and four bytes (FORMAT.md §9.1).

Numbers of one kind have bytes of one kind at one place: the exponents of a model's weights compress, their mantissas do not.
Put together by place, and each plane in blocks of its own, zstd finds them: measured on numbers that scatter as weights do, 0.78 of
the length becomes 0.70 (bf16), 0.92 becomes 0.85 (float16 and float32).
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import zstandard

from holdfast.errors import IntegrityError
from holdfast.model.chunk import CODEC_NONE, CODEC_PLANES2, CODEC_PLANES4, CODEC_ZSTD

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["choose", "pack", "unpack"]

_LEVEL: Final = 3
_WIDTH: Final = {CODEC_PLANES2: 2, CODEC_PLANES4: 4}
#: A codec must save this part of the bytes; planes must beat plain zstd by as much again.
_SAVES: Final = 0.05
_local = threading.local()


def choose(sample: ReadableBuffer) -> int:
    """The codec that a sample of a few thousand bytes pays for."""
    data = bytes(memoryview(sample))
    lengths = {codec: len(pack(data, codec)) for codec in (CODEC_ZSTD, CODEC_PLANES2, CODEC_PLANES4)}
    best = min(lengths, key=lambda codec: (lengths[codec], codec))
    if lengths[CODEC_ZSTD] <= lengths[best] + _SAVES * len(data):
        best = CODEC_ZSTD
    return best if lengths[best] <= (1 - _SAVES) * len(data) else CODEC_NONE


def pack(data: ReadableBuffer, codec: int, level: int = _LEVEL) -> bytes:
    """The bytes as they are stored. The interpreter lock is released while zstd works."""
    if codec == CODEC_NONE:
        return bytes(memoryview(data))
    compressors: dict[int, zstandard.ZstdCompressor] = _local.__dict__.setdefault("compressors", {})
    compressor = compressors.get(level)
    if compressor is None:
        compressor = compressors[level] = zstandard.ZstdCompressor(level=level)
    if codec == CODEC_ZSTD:
        return compressor.compress(memoryview(data))
    frame = compressor.compressobj(size=memoryview(data).nbytes)
    stored = []
    for plane in _planes(bytes(memoryview(data)), _WIDTH[codec]):
        stored += [frame.compress(plane), frame.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)]
    return b"".join([*stored, frame.flush()])


def unpack(data: ReadableBuffer, codec: int, raw: int, subject: str) -> ReadableBuffer:
    """The ``raw`` bytes that were packed; never more memory than that, whatever the frame says of itself.

    Raises:
        IntegrityError: not a frame, not of this length, or a codec that does not exist.
    """
    if codec == CODEC_NONE:
        if memoryview(data).nbytes != raw:
            raise IntegrityError(f"{subject}: {memoryview(data).nbytes} bytes instead of {raw}", subject=subject)
        return data
    if codec not in (CODEC_ZSTD, *_WIDTH):
        raise IntegrityError(f"{subject}: codec {codec} is unknown to this program", subject=subject)
    try:
        view = memoryview(data)
        if zstandard.frame_content_size(view) != raw:  # a frame that tells another length, or none, could unfold to any
            raise IntegrityError(f"{subject} does not unfold to {raw} bytes", subject=subject)
        decompressor = _local.__dict__.get("decompressor")
        if decompressor is None:
            decompressor = _local.decompressor = zstandard.ZstdDecompressor()
        found: bytes = decompressor.decompress(view, max_output_size=raw, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise IntegrityError(f"{subject}: {error}", subject=subject) from None
    if len(found) != raw:
        raise IntegrityError(f"{subject} does not unfold to {raw} bytes", subject=subject)
    return _joined(found, _WIDTH[codec]) if codec in _WIDTH else found


def _planes(data: bytes, width: int) -> list[bytes]:
    even = len(data) // width * width
    return [*(data[place:even:width] for place in range(width)), data[even:]]


def _joined(data: bytes, width: int) -> bytes:
    count = len(data) // width
    joined = bytearray(len(data))
    for place in range(width):
        joined[place : count * width : width] = data[place * count : (place + 1) * count]
    joined[count * width :] = data[count * width :]
    return bytes(joined)
