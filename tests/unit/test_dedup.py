"""What is there already is referred to in runs that are worth a range, and stored again otherwise."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.model.chunk import Chunk, Placed
from holdfast.transfer.dedup import GAP, Index, Pending, Prober, Runs
from holdfast.transfer.unpacking import Part, pack_ranges

KIB = 1024
PACK = b"p" * 32


def chunk(at: int, size: int = 1000, pack: bytes = PACK, gap: int = 0) -> Chunk:
    """The at-th of chunks that lie side by side, with gaps between them."""
    return Chunk(pack, at * (size + gap), size, size, 0, b"%032d" % at)


class Taker:
    """Gives hits to runs and notes what is stored again."""

    def __init__(self) -> None:
        self.stored: list[int] = []
        self.runs = Runs(self._store)
        self.pending = Pending(Placed(b"f", ord("f"), None, None), 10_000)

    def _store(self, pending: Pending, index: int, data: bytes) -> None:
        assert data == b"%d" % index
        self.stored.append(index)

    def take(self, *chunks: Chunk, start: int = 0) -> list[int]:
        """The indexes that were stored again when all is over."""
        for index, found in enumerate(chunks, start):
            self.runs.hit(self.pending, index, found, lambda index=index: b"%d" % index)
        self.runs.end()
        assert self.pending.undecided == 0
        for index, found in enumerate(chunks, start):
            assert self.pending.chunks[index] == (None if index in self.stored else found)
        return self.stored


def test_runs__eight_chunks():
    """Eight chunks that one range reads are referred to, seven are stored again."""
    assert Taker().take(*map(chunk, range(8))) == []
    assert Taker().take(*map(chunk, range(7))) == list(range(7))


def test_runs__a_mebibyte():
    """A MiB is worth a range, however few its chunks; a byte less is not."""
    assert Taker().take(chunk(0, 1024 * KIB)) == []
    assert Taker().take(chunk(0, 512 * KIB), chunk(1, 512 * KIB)) == []
    assert Taker().take(chunk(0, 512 * KIB), chunk(1, 512 * KIB - 1)._replace(offset=512 * KIB)) == [0, 1]


def test_runs__gaps():
    """Gaps of up to 256 KiB do not end a run; longer ones, other packs and steps back before its begin do."""
    assert GAP == 256 * KIB
    assert Taker().take(*(chunk(at, gap=GAP) for at in range(8))) == []
    assert Taker().take(*(chunk(at, gap=GAP + 1) for at in range(8))) == list(range(8))
    assert Taker().take(*map(chunk, range(7)), chunk(7, pack=b"q" * 32)) == list(range(8))
    back = [chunk(at) for at in (7, 6, 5, 4, 3, 2, 1, 0)]
    assert Taker().take(*back) == list(range(8))


def test_runs__long_one_goes_on():
    """What goes on a run that is worth its range is referred to at once, and counts as decided."""
    taker = Taker()
    assert taker.take(*map(chunk, range(100))) == []
    taker = Taker()
    for at in range(9):
        taker.runs.hit(taker.pending, at, chunk(at), lambda: b"")
    assert taker.pending.undecided == 0
    assert taker.runs.goes_on(chunk(9))
    assert not taker.runs.goes_on(chunk(9, pack=b"q" * 32))


def test_runs__the_same_chunk_again_and_again():
    """A file of zeros is one chunk again and again: a few are stored, the rest refers to them."""
    assert Taker().take(*[chunk(0)] * 1000) == []
    assert Taker().take(*[chunk(0)] * 3) == [0, 1, 2]


def test_runs__ended_run_is_forgotten():
    """What follows a run that was too short begins anew, though it lies beside it."""
    taker = Taker()
    assert taker.take(*map(chunk, range(4))) == [0, 1, 2, 3]
    assert taker.take(*map(chunk, range(4, 8)), start=4) == list(range(8))


def test_index__asked_once():
    """Other versions are looked at once a chunk is looked for, the chunks of a page once one of them is; the first place counts."""
    asked, read = [], []

    def page(*chunks):
        def unfold():
            read.append(len(chunks))
            return chunks

        return [each.digest for each in chunks], unfold

    def fill(index: Index) -> None:
        asked.append(1)
        index.add_all(*page(chunk(1), chunk(1)._replace(offset=9), chunk(3)))
        index.add_all(*page(chunk(1)._replace(offset=7), chunk(4)))

    index = Index(fill)
    assert asked == []
    assert index.find(chunk(9).digest) is None
    assert (asked, read) == ([1], [])
    assert index.find(chunk(1).digest) == chunk(1)
    assert index.find(chunk(3).digest) == chunk(3)
    assert (asked, read) == ([1], [3])
    index.add(chunk(2))
    index.add(chunk(2)._replace(offset=5))
    assert index.find(chunk(2).digest) == chunk(2)


def test_index__page_that_gives_less():
    """A chunk that its page, once read, does not give, because its pack is refused, is not known, and not asked for again."""
    read = []
    index = Index(lambda index: index.add_all([chunk(1).digest], lambda: read.append(1) or ()))
    assert index.find(chunk(1).digest) is None
    assert index.find(chunk(1).digest) is None
    assert read == [1]


def test_prober__follows_what_pays():
    """Each ending has its codec; one for which nothing pays is tried more and more seldom, and found again when it does."""
    prober, noise = Prober(), random.Random(1).randbytes(4000)
    assert prober.codec(".txt", b"words " * 500) == 1
    assert prober.codec(".bin", noise) == 0
    answers = [prober.codec(".bin", b"words " * 500) for _ in range(600)]
    assert answers[-1] == 1


# ranges


def parts(*chunks: Chunk) -> list[Part]:
    """Each chunk wanted once."""
    return [Part(found, Placed(b"f", ord("f"), None, None), 0) for found in chunks]


def spans(*chunks: Chunk, most: int = 4096 * KIB, gap: int = GAP) -> list[tuple[int, int]]:
    """From where to where is read."""
    return [(found.start, found.end) for found in pack_ranges(parts(*chunks), most, gap)]


def test_pack_ranges__coalesced():
    """What lies side by side is one range, in any order asked for; gaps of up to 256 KiB are read with it."""
    assert spans() == []
    assert spans(*map(chunk, (2, 0, 1))) == [(0, 3000)]
    assert spans(chunk(0), chunk(1, gap=GAP)) == [(0, 2000 + GAP)]
    assert spans(chunk(0), chunk(1, gap=GAP + 1)) == [(0, 1000), (1001 + GAP, 2001 + GAP)]
    assert len(pack_ranges(parts(chunk(0), chunk(1, pack=b"q" * 32)))) == 2


def test_pack_ranges__most():
    """No range is longer than the most, but for a chunk that is."""
    assert spans(*map(chunk, range(10)), most=4000) == [(0, 4000), (4000, 8000), (8000, 10000)]
    assert spans(chunk(0, 9000), chunk(1, 9000), most=4000) == [(0, 9000), (9000, 18000)]
    assert spans(chunk(0, 9000), chunk(0, 9000), chunk(0, 100), most=4000) == [(0, 9000)]


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10_000), st.integers(0, 500)), max_size=40))
def test_pack_ranges__each_part_once(rows):
    """Every part is in one range that holds it, none is longer than it must be, and ranges of a pack do not overlap."""
    wanted = parts(*(Chunk(bytes([pack]) * 32, offset, size, size, 0, b"") for pack, offset, size in rows))
    ranges = pack_ranges(wanted, most=2000, gap=50)
    assert sorted(part for found in ranges for part in found.parts) == sorted(wanted)
    last: dict[str, int] = {}
    for found in ranges:
        inside = [part.chunk for part in found.parts]
        assert found.start == min(piece.offset for piece in inside)
        assert found.end == max(piece.offset + piece.stored for piece in inside)
        assert found.end - found.start <= max(2000, *(piece.stored for piece in inside))
        assert last.get(found.pack, 0) <= found.start
        last[found.pack] = found.start
