"""A store that dies, hangs, lies or changes, and manifests that were made to harm: EIO and an event, never other bytes."""

from __future__ import annotations

import errno
import random
import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from functools import partial

import pytest

from holdfast.cache.ranges import Ranges
from holdfast.errors import IntegrityError, UnreachableError
from holdfast.formats import layout as keys
from holdfast.formats.codec import pack
from holdfast.formats.container import PAGES, encode_table
from holdfast.formats.convention import Meta, encode_meta
from holdfast.formats.pages import encode_page
from holdfast.formats.root import Page, Root, encode_root
from holdfast.model.chunk import Chunk, Placed
from holdfast.model.digest import digest_of, raw_digest_of
from holdfast.mount.base import ROOT
from holdfast.mount.view import Events, open_version
from tests.fakes import repository_on
from tests.mount.trees import Recording, find, is_data, read_whole, walk

MIB = 1024 * 1024


@pytest.fixture(params=["packs", "tree"])
def pushed(request, tmp_path):
    """A store with a version of two large files and a small one, a repository, and the folder."""
    dice = random.Random(7)
    source = tmp_path / "source"
    source.mkdir()
    for name, size in (("one", 3 * MIB), ("two", 5 * MIB), ("small", 3000)):
        (source / name).write_bytes(dice.randbytes(size))
    store = Recording()
    repository_on(store, tmp_path / "first").push(source, "n/v", layout=request.param)
    return store, repository_on(store, tmp_path / "second"), source


def expect_eio(action) -> None:
    """It fails as a disk does."""
    with pytest.raises(OSError) as raised:
        action()
    assert type(raised.value) is OSError
    assert raised.value.errno == errno.EIO


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"\0" * len(data),
        lambda data: data[:-1],
        lambda _: b"",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data + b"more",
        lambda data: data[::-1],
    ],
    ids=["zeros", "truncated", "nothing", "a bit", "too much", "reversed"],
)
def test_read__garbage(pushed, tmp_path, spoil):
    """Bytes that are not what was pushed are EIO and an event; once the store is well again, so is the mount; nothing false was kept."""
    store, repository, source = pushed
    told: list[str] = []
    ranges = Ranges.open(tmp_path / "cache", None)
    with closing(open_version(repository, "n/v", "0.0", ranges, events=Events(told.append))) as view:
        nodes = dict(walk(view))
        store.spoil = spoil
        for name in ("one", "small"):
            if (
                len(spoil(b"xy")) > 2 and repository.show("n/v").layout == "packs"
            ):  # what follows the range that was asked for does no harm
                assert read_whole(view, nodes[name]) == (source / name).read_bytes()
            else:
                expect_eio(lambda name=name: read_whole(view, nodes[name]))
                assert told
        store.spoil = None
        for name in ("one", "two", "small"):
            assert read_whole(view, nodes[name]) == (source / name).read_bytes()


def test_read__changed_underneath(pushed, tmp_path):
    """Where somebody writes over an object, reads of it fail; bytes of two contents are never mixed."""
    store, repository, source = pushed
    told: list[str] = []
    with closing(open_version(repository, "n/v", "0.0", None, events=Events(told.append))) as view:
        nodes = dict(walk(view))
        first = bytes(view.read(nodes["one"].node, 0, 65_536))
        assert first == (source / "one").read_bytes()[:65_536]
        for info in [*store.list("")]:
            if is_data(info.key) and info.size > 100_000:
                store.put(info.key, b"x" * info.size)
        expect_eio(lambda: view.read(nodes["two"].node, 4 * MIB, 65_536))
        assert told


def test_read__store_dies(pushed, tmp_path):
    """While nobody answers, reads of what is not here fail at once or after the deadline; what is here is served."""
    store, repository, source = pushed
    told: list[str] = []
    ranges = Ranges.open(tmp_path / "cache", None)
    with closing(open_version(repository, "n/v", "0.0", ranges, deadline=1.0, events=Events(told.append))) as view:
        nodes = dict(walk(view))
        assert read_whole(view, nodes["one"]) == (source / "one").read_bytes()

        def dead(key: str) -> None:
            raise UnreachableError(f"no answer for {key}")

        store.wait = dead
        expect_eio(lambda: view.read(nodes["two"].node, 0, 4096))
        assert any("no answer" in message for message in told)
        assert read_whole(view, nodes["one"]) == (source / "one").read_bytes()
        assert view.attributes(nodes["two"].node).size == 5 * MIB
        store.wait = None
        assert read_whole(view, nodes["two"]) == (source / "two").read_bytes()


def test_read__store_hangs(pushed):
    """A read that gets no answer is EIO after the deadline, however many hang; others are answered meanwhile, and all once it is over."""
    store, repository, source = pushed
    go_on = threading.Event()
    with closing(open_version(repository, "n/v", "0.0", None, deadline=0.6)) as view:
        nodes = dict(walk(view))
        store.wait = lambda key: go_on.wait(30) if is_data(key) else None
        begun = time.monotonic()
        for _ in range(2):
            expect_eio(lambda: view.read(nodes["two"].node, 2 * MIB, 4096))
        assert 1.0 <= time.monotonic() - begun < 5
        readers = [
            threading.Thread(target=expect_eio, args=(partial(view.read, nodes["one"].node, at, 4096),))
            for at in range(20)
        ]
        for reader in readers:
            reader.start()
        assert view.lookup(ROOT, b"small") == nodes["small"]
        for reader in readers:
            reader.join()
        store.wait = None  # the store answers again, though those calls never come back
        deadline = time.monotonic() + 10
        while True:
            try:
                assert read_whole(view, nodes["two"]) == (source / "two").read_bytes()
                break
            except OSError:
                assert time.monotonic() < deadline
        go_on.set()


def test_read__slow(pushed):
    """A store that takes its time is waited for, and reads side by side wait side by side."""
    store, repository, source = pushed
    store.wait = lambda key: time.sleep(0.3) if is_data(key) else None
    with closing(open_version(repository, "n/v", "0.0", None, deadline=5)) as view:
        nodes = dict(walk(view))
        begun = time.monotonic()
        found: dict[int, bytes] = {}
        threads = [
            threading.Thread(target=lambda at=at: found.update({at: bytes(view.read(nodes["two"].node, at, 4096))}))
            for at in range(0, 5 * MIB, MIB)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - begun < 4
        data = (source / "two").read_bytes()
        assert found == {at: data[at : at + 4096] for at in range(0, 5 * MIB, MIB)}


# manifests that were made to harm

DATA = random.Random(8).randbytes(1000)


def stored(store, *pieces: bytes) -> list[Chunk]:
    """Chunks in a pack of their own."""
    from holdfast.formats.container import PACK

    digests = [raw_digest_of(piece) for piece in pieces]
    name, tail = encode_table(
        [*map(len, pieces)], [*map(len, pieces)], bytes(len(pieces)), b"".join(digests), magic=PACK
    )
    store.put(keys.pack_key(name.hex()), b"".join(pieces) + tail)
    places = [sum(map(len, pieces[:at])) for at in range(len(pieces))]
    return [
        Chunk(name, place, len(piece), len(piece), 0, digest)
        for place, piece, digest in zip(places, pieces, digests, strict=True)
    ]


def publish(store, pages: list[list[Placed]], **lies) -> None:
    """A version of these entries, page by page, whatever they say; ``lies`` are fields of the root's first page."""
    raws = [encode_page(entries) for entries in pages]
    packed = [pack(raw, 1) for raw in raws]
    digests = [raw_digest_of(raw) for raw in raws]
    name, tail = encode_table([*map(len, packed)], [*map(len, raws)], b"\1" * len(raws), b"".join(digests), magic=PAGES)
    store.put(keys.pages_key(name.hex()), b"".join(packed) + tail)
    found = []
    for at, entries in enumerate(pages):
        files = [entry for entry in entries if entry.kind == ord("f")]
        fields = {
            "first": entries[0].path,
            "last": entries[-1].path,
            "entries": len(entries),
            "files": len(files),
            "size": sum(entry.size for entry in files),
            "object": name.hex(),
            "offset": sum(map(len, packed[:at])),
            "stored": len(packed[at]),
            "raw": len(raws[at]),
            "digest": digests[at],
        }
        found.append(Page(**(fields | lies if at == 0 else fields)))
    packs = {c.pack.hex() for es in pages for e in es if isinstance(e.content, tuple) for c in e.content}
    root = encode_root(Root(tuple(found), tuple(packs)))
    store.put(keys.data_key("n/h", "0.0"), root)
    meta = Meta(datetime.now(UTC), "packs", True, root=digest_of(root), files=1, size=1, push="p")
    store.put(keys.meta_key("n/h", "0.0"), encode_meta(meta))


def file(path: bytes, *chunks: Chunk, size: int | None = None, digest: bytes | None = None) -> Placed:
    """A file of these chunks, of their size unless told."""
    size = sum(chunk.raw for chunk in chunks) if size is None else size
    return Placed(path, ord("f"), None, None, size, digest or chunks[0].digest, chunks)


def link(path: bytes, target: str) -> Placed:
    """A symlink."""
    return Placed(path, ord("l"), None, None, target=target)


@pytest.mark.parametrize(
    "paths",
    [[b"../evil"], [b"/etc/passwd"], [b"a/../../b"], [b"a", b"a/b"], [b"b", b"a"], [b"a\0b"], [b"a//b"], [b"."]],
    ids=repr,
)
def test_hostile__paths(tmp_path, paths):
    """Paths that lead elsewhere, twice, out of order or below a file: nothing of that page is shown."""
    store = Recording()
    publish(store, [[Placed.inline(path, None, None, b"x") for path in paths]], first=min(paths), last=max(paths))
    told: list[str] = []
    with closing(open_version(repository_on(store, tmp_path), "n/h", "0.0", None, events=Events(told.append))) as view:
        expect_eio(lambda: [*walk(view)])
        expect_eio(lambda: view.lookup(ROOT, min(paths)))
        assert told


@pytest.mark.parametrize(
    "lies",
    [
        {"entries": 3},
        {"entries": 1},
        {"files": 9},
        {"size": 10**12},
        {"first": b"0"},
        {"last": b"zz"},
        {"offset": 1},
        {"stored": 10},
        {"raw": 5},
        {"raw": 32 * MIB},
        {"digest": b"d" * 32},
        {"object": "ab" * 32},
    ],
    ids=repr,
)
def test_hostile__root(tmp_path, lies):
    """A page that is not the one that the root describes shows nothing."""
    store = Recording()
    publish(store, [[Placed.inline(path, None, None, b"x") for path in (b"a", b"b")]], **lies)
    with closing(open_version(repository_on(store, tmp_path), "n/h", "0.0", None)) as view:
        expect_eio(lambda: [*walk(view)])


def test_hostile__pages_overlap(tmp_path):
    """A root whose pages are out of order is refused when it is mounted."""
    store = Recording()
    publish(store, [[Placed.inline(b"m", None, None, b"x")], [Placed.inline(b"a", None, None, b"x")]])
    with pytest.raises(IntegrityError, match="out of order"):
        open_version(repository_on(store, tmp_path), "n/h", "0.0", None)


def test_hostile__chunks(tmp_path):
    """Files whose chunks lie, are another's, lie outside their pack or unfold to something else are EIO; others of that page are read."""
    store = Recording()
    good, *some = stored(store, DATA, *(DATA[number:] for number in range(1, 11)))
    bomb = pack(b"\0" * 16 * MIB, 1)
    (bomb_chunk,) = stored(store, bomb)
    entries = [
        file(b"01-outside", some[0]._replace(offset=50_000)),
        file(b"02-before", some[1]._replace(offset=1)),
        file(b"03-other-digest", some[2], some[3]._replace(digest=b"d" * 32), digest=b"d" * 32),
        file(b"04-long", some[4]._replace(stored=len(DATA) + 8)),
        file(b"05-codec", some[5]._replace(codec=1)),
        file(b"06-unknown-codec", some[6]._replace(codec=9)),
        file(b"07-no-pack", some[7]._replace(pack=b"p" * 32)),
        file(b"08-larger", some[8]._replace(raw=2000)),
        file(b"09-bomb", bomb_chunk._replace(codec=1, raw=1000), size=1000),
        file(b"10-good", good),
        file(b"11-larger", good._replace(raw=2000)),
        file(b"12-smaller", good._replace(raw=10)),
    ]
    publish(store, [entries])
    with closing(open_version(repository_on(store, tmp_path), "n/h", "0.0", None)) as view:
        found = dict(walk(view))
        assert len(found) == 12
        assert read_whole(view, found["10-good"]) == DATA
        for path, shown in found.items():
            if path != "10-good":
                expect_eio(lambda shown=shown: view.read(shown.node, 0, 4096))
        assert read_whole(view, found["10-good"]) == DATA


def test_hostile__sizes_that_do_not_add_up(tmp_path):
    """A page with a file whose chunks do not add up to its size is no page: no byte of its files is given out."""
    store = Recording()
    good, other = stored(store, DATA, DATA[::-1])
    publish(store, [[file(b"a", good, other, size=5000), file(b"b", good)]])
    with closing(open_version(repository_on(store, tmp_path), "n/h", "0.0", None)) as view:
        for _, shown in walk(view):
            expect_eio(lambda shown=shown: view.read(shown.node, 0, 4096))


def test_hostile__links(tmp_path):
    """A symlink that leads outside does not tell where."""
    store = Recording()
    publish(store, [[link(b"a", "/etc/passwd"), link(b"b", "../x"), link(b"c", "d/../.."), link(b"d", "a")]])
    with closing(open_version(repository_on(store, tmp_path), "n/h", "0.0", None)) as view:
        for path in "abc":
            expect_eio(lambda path=path: view.target(find(view, path).node))
        assert view.target(find(view, "d").node) == b"a"


def test_events__not_again_and_again():
    """The same trouble is told once in a while, other trouble at once."""
    told: list[str] = []
    events = Events(told.append)
    for message in ["a", "a", "b", "a", "b"]:
        events(message)
    assert told == ["a", "b"]
