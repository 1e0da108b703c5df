"""Containers, pages and roots: any of them comes back as it was, and pages are shared where nothing changed."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import IntegrityError
from holdfast.formats.container import MOST, PACK, PAGES, TRAILER, check_trailer, decode_table, encode_table
from holdfast.formats.pages import Cutter, decode_chunks, decode_digests, decode_page, decode_rows, encode_page
from holdfast.formats.root import Page, Root, decode_root, encode_root
from holdfast.model.chunk import Chunk, Placed
from holdfast.model.digest import raw_digest_of
from tests.formats import pack_cases

DIGESTS = st.integers(0, 50).map(lambda number: raw_digest_of(b"%d" % number))
CHUNKS = st.builds(
    Chunk,
    DIGESTS,
    st.integers(0, 1 << 25),
    st.integers(0, 1 << 24),
    st.integers(0, 1 << 20),
    st.integers(0, 3),
    DIGESTS,
)
MODES = st.none() | st.integers(0, 0o777)
TIMES = st.none() | st.integers(-(1 << 62), 1 << 62)
PATHS = st.text(st.sampled_from("ab-/é"), min_size=1, max_size=8).map(str.encode)


@st.composite
def entries(draw):
    """One entry of any kind."""
    path, mode, mtime, kind = draw(PATHS), draw(MODES), draw(TIMES), draw(st.sampled_from("fdli"))
    if kind == "i":
        return Placed.inline(path, mode, mtime, draw(st.binary(max_size=300)))
    if kind == "f":
        chunks = tuple(draw(st.lists(CHUNKS, min_size=1, max_size=4)))
        size, digest = sum(chunk.raw for chunk in chunks), draw(DIGESTS)
        if len(chunks) == 1:
            chunks = (chunks[0]._replace(digest=digest),)
        return Placed(path, ord("f"), mode, mtime, size, digest, chunks)
    return Placed(path, ord(kind), mode, mtime, target=draw(st.text(max_size=5)) if kind == "l" else None)


@given(st.lists(entries(), max_size=8))
def test_page__round_trip(found):
    """Any entries come back out of a page as they were put in, and their chunks alone, too."""
    data = encode_page(found)
    assert decode_page(data, "page") == found
    chunks = [chunk for entry in found if isinstance(entry.content, tuple) for chunk in entry.content]
    assert decode_chunks(data, "page") == chunks
    assert sorted(decode_digests(data, "page")) == sorted(chunk.digest for chunk in chunks)


def files(count: int, edited: int = -1) -> list[Placed]:
    """So many small files in order, one of them with other bytes."""
    return [Placed.inline(b"%06d" % at, 0o644, 5, b"edited" if at == edited else b"") for at in range(count)]


def pages_of(found: list[Placed]) -> list[bytes]:
    cutter = Cutter()
    cut = [page for entry in found if (page := cutter.add(entry))]
    return [encode_page(page) for page in [*cut, cutter.rest()]]


def test_pages__shared_after_an_edit():
    """An edit changes one page, an insertion or a removal one or two; all others are the same bytes."""
    found = files(20_000)
    before = pages_of(found)
    assert 40 < len(before) < 130
    assert len(set(pages_of(files(20_000, edited=9_000))) - set(before)) == 1
    removed = found[:9_000] + found[9_001:]
    inserted = [*found[:9_000], Placed.inline(b"008999x", 0o644, 5, b""), *found[9_000:]]
    for changed in (removed, inserted):
        assert len(set(pages_of(changed)) - set(before)) <= 2


def test_pages__ends():
    """A page has 64 entries at least and 1,024 at most, and ends where its entries take 256 KiB."""
    cutter = Cutter()
    sizes = [len(page) for entry in files(50_000) if (page := cutter.add(entry))]
    assert min(sizes) >= 64
    assert max(sizes) <= 1024
    cutter = Cutter()
    long = [Placed(b"%05d" % at + b"x" * 4000, ord("d"), None, None) for at in range(100)]
    assert [len(page) for page in map(cutter.add, long) if page] == [65]
    cutter = Cutter()
    chunk = pack_cases.CHUNKS[0]
    huge = Placed(b"huge", ord("f"), None, None, 7000 * chunk.raw, b"d" * 32, (chunk,) * 7000)
    assert cutter.add(huge) == [huge]


# containers


@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 3)), max_size=20), st.integers(0, (1 << 63) - 1))
def test_container__round_trip(pieces, salt):
    """A table tells of every piece where it lies; the salt changes the name alone."""
    stored = [data for data, _ in pieces]
    sizes = list(map(len, stored))
    digests = b"".join(map(raw_digest_of, stored))
    name, tail = encode_table(sizes, sizes, bytes(codec for _, codec in pieces), digests, magic=PACK, salt=salt)
    data = b"".join(stored) + tail
    table = decode_table(data, len(data), PACK, f"packs/{name.hex()}")
    assert (table.name, table.salt, table.size) == (name, salt, sum(sizes))
    assert [(data[piece.offset :][: piece.stored], piece.codec) for piece in table.pieces] == pieces
    assert [piece.digest for piece in table.pieces] == list(map(raw_digest_of, stored))
    alone = decode_table(tail, len(data), PACK, name.hex())
    assert alone == table
    assert check_trailer(tail[-TRAILER:], len(data), PACK, "k") == len(tail) - TRAILER


def table(stored=(5,), raw=(5,), codecs=b"\0", digests=b"d" * 32, salt=0, size=None):
    """A container of zeros with this table, and its name."""
    name, tail = encode_table(list(stored), list(raw), codecs, digests, magic=PACK, salt=salt)
    data = bytes(sum(stored) if size is None else size) + tail
    return data, name.hex()


LIES = {
    "lengths that do not fill it": table(stored=(4,), size=5),
    "lengths beyond it": table(stored=(1 << 40,), size=5),
    "a negative length": table(stored=(6, -1), raw=(1, 1), codecs=b"\0\0", digests=b"d" * 64, size=5),
    "a piece that unfolds too far": table(raw=(MOST + 1,)),
    "fewer digests": table(digests=b"d" * 31),
    "fewer codecs": table(codecs=b""),
    "another codec": table(codecs=b"\4"),
    "a salt too large": table(salt=1 << 63),
    "a negative salt": table(salt=-1),
}


@pytest.mark.parametrize("case", LIES)
def test_container__lies(case):
    """A table that contradicts itself or its object is refused, though it has the name that it should have."""
    data, name = LIES[case]
    with pytest.raises(IntegrityError, match=name):
        decode_table(data, len(data), PACK, f"packs/{name}")


def test_container__another_kind_or_name():
    """A pack is no pages object, and none is taken under another's name."""
    data, name = table()
    with pytest.raises(IntegrityError, match="does not end as a pages object"):
        decode_table(data, len(data), PAGES, name)
    with pytest.raises(IntegrityError, match="not the one that the object is named by"):
        decode_table(data, len(data), PACK, "0" * 64)
    with pytest.raises(IntegrityError, match="cannot have"):
        check_trailer(data, 10, PACK, name)
    with pytest.raises(IntegrityError, match="truncated"):
        decode_table(data[-TRAILER:], len(data), PACK, name)


# roots


def root_of(bounds: list[tuple[str, str]]) -> Root:
    """A root of pages with these first and last paths."""
    names = [raw_digest_of(b"%d" % at).hex() for at in range(3)]
    pages = [
        Page(
            first.encode(),
            last.encode(),
            at + 1,
            at,
            at * 100,
            names[at % 3],
            at * 10,
            10,
            20,
            raw_digest_of(b"p%d" % at),
        )
        for at, (first, last) in enumerate(bounds)
    ]
    return Root(tuple(pages), tuple(sorted(names)))


@given(st.lists(st.text(max_size=4), unique=True, max_size=20))
def test_root__round_trip(paths):
    """A root comes back as it was written, of no pages, too."""
    ordered = sorted(paths, key=str.encode)
    root = root_of(list(zip(ordered[0::2], ordered[1::2], strict=False)))
    assert decode_root(encode_root(root), "root") == root


@pytest.mark.parametrize(
    ("path", "pages"),
    [
        ("a", [0]), ("b", [0, 1]), ("b/x", [1]), ("b/c", [1]), ("b-x", [0]), ("c", [1, 2]), ("d", [2]), ("z", []),
        ("A", []), ("d/e", []), ("cc", [2]),
    ],
)  # fmt: skip
def test_root__within(path, pages):
    """Only pages that may hold a path, or what lies below it, are looked at: ``b`` goes on behind ``b-x``."""
    root = root_of([("a", "b-z"), ("b/b", "c/a"), ("c/b", "d")])
    found = [root.pages.index(page) for page in root.within(path.encode())]
    assert set(found) >= set(pages)
    assert len(found) <= len(pages) + 1
    assert found == sorted(found)


@settings(max_examples=200)
@given(st.integers(0, 1 << 30))
def test_root__within_never_misses(seed):
    """Whatever lies at or below a path is in one of the pages that it names."""
    dice = random.Random(seed)
    paths = sorted({"/".join(dice.choices(["a", "b", "a-", "a0", "ab"], k=dice.randint(1, 3))) for _ in range(30)})
    cuts = sorted(dice.sample(range(len(paths) + 1), k=min(4, len(paths))))
    groups = [group for group in (paths[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)) if group]
    root = root_of([(group[0], group[-1]) for group in groups])
    wanted = dice.choice(paths)
    holding = [at for at, group in enumerate(groups) if any(p == wanted or p.startswith(wanted + "/") for p in group)]
    assert {root.pages.index(page) for page in root.within(wanted.encode())} >= set(holding)


@given(st.lists(entries(), max_size=8))
def test_rows__as_the_entries(found):
    """What ``stat`` shows of a page's entries, read alone, is what the entries say."""
    rows = decode_rows(encode_page(found), "page")
    assert rows.paths == [entry.path for entry in found]
    assert [*rows.kinds] == [entry.kind for entry in found]
    assert (rows.modes, rows.mtimes) == ([entry.mode for entry in found], [entry.mtime for entry in found])
    assert rows.sizes == [entry.size for entry in found]
    assert rows.targets == [entry.target or "" for entry in found if entry.kind == ord("l")]
