"""Containers stay within what readers take, whatever is put in them."""

from __future__ import annotations

from holdfast.formats.container import MOST, PACK, PAGES, decode_table
from holdfast.transfer.containers import FULL, Container, ContainerWriter

MIB = 1024 * 1024


def filled(magic: bytes, sizes: list[int]) -> list[Container]:
    """Pieces of these lengths in containers."""
    sent: list[Container] = []
    writer = ContainerWriter(magic, sent.append, frozenset())
    data = memoryview(bytes(max(sizes)))
    for size in sizes:
        writer.make_room(size)
        writer.add(data[:size], size, size, 0, b"d" * 32)
        if writer.full:
            writer.close()
    writer.close()
    return sent


def test_close__many_tiny_pieces():
    """Where the table is longer than the pieces, it counts: a pack of more than 64 MiB would be refused by every reader."""
    sent = filled(PACK, [20] * 600_000)
    assert len(sent) > 1
    for container in sent:
        assert container.size < MOST
        assert sum(map(len, map(memoryview, container.pieces))) == container.size
        decode_table(container.pieces[-1], container.size, PACK, container.key)


def test_close__large_pieces():
    """A page as large as one may be finds room."""
    sent = filled(PAGES, [39 * MIB, 31 * MIB, 39 * MIB, 8 * MIB, 31 * MIB])
    assert [container.size // MIB for container in sent] == [39, 31, 47, 31]
    assert all(FULL // 2 < container.size < MOST for container in sent)
