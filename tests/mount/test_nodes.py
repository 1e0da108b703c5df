"""Node numbers: any manifest is shown as the directory that it describes, whatever its sheets are cut by."""

from __future__ import annotations

import errno
import stat
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import IntegrityError
from holdfast.formats.pages import Rows
from holdfast.model.manifest import Entry, Manifest
from holdfast.mount.base import ROOT
from holdfast.mount.nodes import GENERATION, Nodes, generation_of
from holdfast.mount.sheets import Kept, ListedSheets, check_rows

NAMES = st.sampled_from(["a", "a-b", "a0", "b", "a.", "é", "ab"])
PUSHED = 1_700_000_000_000_000_000


@st.composite
def manifests(draw):
    """Files, links and directories; some directories have an entry, others are only implied."""
    entries: dict[str, Entry] = {}
    for path in draw(st.lists(st.lists(NAMES, min_size=1, max_size=4).map("/".join), max_size=25)):
        kind = draw(st.sampled_from(["file", "file", "dir", "link"]))
        above = [path[:at] for at, sign in enumerate(path) if sign == "/"]
        is_taken = path in entries or any(each.startswith(path + "/") for each in entries)
        if (is_taken and kind != "dir") or any(entries.get(each, Entry("", "dir")).kind != "dir" for each in above):
            continue
        if kind == "dir" and path not in entries:
            entries[path] = Entry(path, "dir", mode=draw(st.none() | st.just(0o700)))
        elif kind == "link":
            entries[path] = Entry(path, "link", target="x")
        elif kind == "file":
            entries[path] = Entry(path, size=draw(st.integers(0, 9)), mode=draw(st.none() | st.just(0o751)), mtime=7)
    return Manifest.of(entries.values())


class Cut:
    """The sheets of a manifest, cut anew after so many entries; it counts which were looked at."""

    def __init__(self, manifest: Manifest, size: int) -> None:
        whole = ListedSheets(manifest)._sheets
        rows = whole[0] if whole else Rows([], b"", [], [], [], [])
        self._sheets = [self._part(rows, at, at + size) for at in range(0, len(rows.paths), size)]
        self.firsts = [each.paths[0] for each in self._sheets]
        self.lasts = [each.paths[-1] for each in self._sheets]
        self.starts = [*accumulate((len(each.paths) for each in self._sheets), initial=0)]
        self.seen: set[int] = set()

    @staticmethod
    def _part(rows: Rows, start: int, end: int) -> Rows:
        links = rows.kinds.count(b"l", 0, start)
        columns = (column[start:end] for column in rows[:5])
        return Rows(*columns, rows.targets[links : links + rows.kinds.count(b"l", start, end)])

    def sheet(self, number: int) -> Rows:
        self.seen.add(number)
        return self._sheets[number]


def expected(manifest: Manifest) -> dict[str, dict[str, str]]:
    """Every directory by path, with the kinds of what lies in it."""
    found: dict[str, dict[str, str]] = {"": {}}
    for entry in manifest.entries:
        above, _, name = entry.path.rpartition("/")
        pieces = above.split("/") if above else []
        for depth, piece in enumerate(pieces):
            found.setdefault("/".join(pieces[:depth]), {})[piece] = "dir"
        found.setdefault(above, {})[name] = entry.kind
        if entry.kind == "dir":
            found.setdefault(entry.path, {})
    return found


def walked(nodes: Nodes) -> tuple[dict[str, dict[str, str]], dict[str, int]]:
    """The same, as the nodes show it, and the number of every path."""
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}
    found: dict[str, dict[str, str]] = {}
    numbers: dict[str, int] = {"": ROOT}
    todo = [""]
    while todo:
        path = todo.pop()
        items = [*nodes.items(numbers[path], 0)]
        assert len({item.name for item in items}) == len(items)
        found[path] = {}
        for item in items:
            name = item.name.decode()
            kind = found[path][name] = kinds[stat.S_IFMT(item.attributes.mode)]
            below = f"{path}/{name}" if path else name
            numbers[below] = item.attributes.node
            if kind == "dir":
                todo.append(below)
    return found, numbers


@given(manifests(), st.integers(1, 6))
def test_nodes__as_the_manifest_says(manifest, size):
    """A walk finds just what the manifest says, and lookups and attributes agree with it."""
    nodes = Nodes(Cut(manifest, size), PUSHED)
    found, numbers = walked(nodes)
    assert found == expected(manifest)
    assert len(set(numbers.values())) == len(numbers)
    entries = {entry.path: entry for entry in manifest.entries}
    for path, number in numbers.items():
        shown = nodes.attributes(number)
        entry = entries.get(path)
        if path:
            above, _, name = path.rpartition("/")
            assert nodes.lookup(numbers[above], name.encode()) == shown
            assert nodes.lookup(numbers[above], name.encode() + b"x") is None or f"{path}x" in numbers
        assert shown.mtime == (PUSHED if entry is None or entry.mtime is None else entry.mtime)
        if entry is not None and entry.kind == "file":
            assert (shown.size, stat.S_IMODE(shown.mode)) == (entry.size, entry.mode or 0o644)


@given(manifests(), st.integers(1, 6))
def test_items__from_anywhere(manifest, size):
    """A listing goes on behind any item as if it had not been broken off, and positions rise."""
    nodes = Nodes(Cut(manifest, size), PUSHED)
    for number in walked(nodes)[1].values():
        if stat.S_ISDIR(nodes.attributes(number).mode):
            items = [*nodes.items(number, 0)]
            positions = [item.position for item in items]
            assert positions == sorted(set(positions))
            assert 0 not in positions
            for at, item in enumerate(items):
                assert [*nodes.items(number, item.position)] == items[at + 1 :]


@given(manifests(), st.integers(1, 6))
def test_items__from_where_no_listing_was(manifest, size):
    """Who seeks in a directory to where no listing of it was gets the rest of that directory from some place on, and nothing else."""
    nodes = Nodes(Cut(manifest, size), PUSHED)
    for number in walked(nodes)[1].values():
        if stat.S_ISDIR(nodes.attributes(number).mode):
            items = [*nodes.items(number, 0)]
            for position in [*range(len(manifest.entries) + 3), 2**62]:
                found = [*nodes.items(number, position)]
                assert found == items[len(items) - len(found) :]


@given(manifests(), st.integers(0, 3))
def test_nodes__made_from_the_manifest_alone(manifest, generation):
    """Another worker gives the same numbers; those of another generation differ, but for the root's."""
    one, other = Nodes(Cut(manifest, 3), PUSHED, generation), Nodes(Cut(manifest, 5), PUSHED, generation)
    assert walked(one) == walked(other)
    numbers = {*walked(one)[1].values()} - {ROOT}
    assert {generation_of(number) for number in numbers} <= {generation}
    assert all(one.attributes(number) == other.attributes(number) for number in numbers)
    assert not numbers & {*walked(Nodes(Cut(manifest, 3), PUSHED, generation + 1))[1].values()}


def test_items__few_sheets_are_looked_at():
    """Listing the top of a large tree looks at the sheets in which its directories begin, and no others."""
    entries = [Entry(f"d{number}/{name:03}") for number in range(3) for name in range(300)]
    sheets = Cut(Manifest.of(entries), 10)
    assert [item.name for item in Nodes(sheets, 0).items(ROOT, 0)] == [b"d0", b"d1", b"d2"]
    assert len(sheets.seen) <= 6


@pytest.mark.parametrize("number", [0, 1 << 13, 1 << 62, (1 << GENERATION) - 1])
def test_attributes__numbers_that_were_never_given(number):
    """A number that no version gave out is stale, whatever it is."""
    nodes = Nodes(Cut(Manifest.of([Entry("a"), Entry("b/c")]), 10), 0)
    for ask in (nodes.attributes, lambda node: [*nodes.items(node, 0)], lambda node: nodes.lookup(node, b"x")):
        with pytest.raises(OSError) as raised:
            ask(number)
        assert raised.value.errno in (errno.ESTALE, errno.ENOTDIR)


def test_nodes__wrong_kinds():
    """A file has no items, a directory no bytes, and a file no target."""
    nodes = Nodes(Cut(Manifest.of([Entry("a"), Entry("b/c"), Entry("l", "link", target="a")]), 10), 0)
    numbers = walked(nodes)[1]
    for ask, code in (
        (lambda: [*nodes.items(numbers["a"], 0)], errno.ENOTDIR),
        (lambda: nodes.lookup(numbers["a"], b"x"), errno.ENOTDIR),
        (lambda: nodes.place(numbers["b"], ord("f")), errno.EISDIR),
        (lambda: nodes.place(ROOT, ord("f")), errno.EISDIR),
        (lambda: nodes.place(numbers["l"], ord("f")), errno.EINVAL),
        (lambda: nodes.place(numbers["a"], ord("l")), errno.EINVAL),
    ):
        with pytest.raises(OSError) as raised:
            ask()
        assert raised.value.errno == code


def rows(*paths: bytes, kinds: bytes | None = None, sizes: list[int] | None = None) -> Rows:
    """Sheets as no manifest of ours is."""
    count = len(paths)
    return Rows([*paths], kinds or b"f" * count, [None] * count, [None] * count, sizes or [0] * count, [])


@pytest.mark.parametrize(
    "hostile",
    [
        rows(b"../a"),
        rows(b"a/../b"),
        rows(b"/a"),
        rows(b"a//b"),
        rows(b"a/."),
        rows(b"a\0b"),
        rows(b""),
        rows(b"a/"),
        rows(b"b", b"a"),
        rows(b"a", b"a"),
        rows(b"a", b"a-b", b"a/b"),
        rows(b"a", b"a/b/c", kinds=b"lf"),
        rows(b"a", sizes=[1 << 63]),
    ],
    ids=repr,
)
def test_check_rows__hostile(hostile):
    """A path that could lead elsewhere, entries out of order, below a file or twice: nothing of the sheet is shown."""
    with pytest.raises(IntegrityError):
        check_rows(hostile, "page")


def test_check_rows__odd_but_right():
    """Names with dots and line breaks are names like others, and a directory may have an entry before what lies in it."""
    check_rows(rows(b"...", b"..a/b", b".a"), "page")
    check_rows(rows(b"a\nb", b"d", b"d-e", b"d/f", kinds=b"fdff"), "page")


def test_items__below_a_file_in_another_sheet():
    """Where the two entries stand in different sheets, the listing refuses what the sheets do not show."""
    sheets = Cut(Manifest.of([Entry("a"), Entry("a-b"), Entry("c")]), 1)
    sheets._sheets[2] = rows(b"a/b")
    sheets.firsts[2] = sheets.lasts[2] = b"a/b"
    with pytest.raises(IntegrityError, match="below 'a'"):
        [*Nodes(sheets, 0).items(ROOT, 0)]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 40)), max_size=200))
def test_kept__bounded(puts):
    """What is kept never takes more than its bound but for one value, and what it gives is what was put last."""
    kept, last = Kept(100), {}
    for key, size in puts:
        kept.put(key, (key, size), size)
        last[key] = (key, size)
        sizes = [item[1] for table in (kept._young, kept._old) for item in table.values()]
        assert sum(sizes) <= 140
        assert kept.get(key) == last[key]
    assert all(kept.get(key) in (None, value) for key, value in last.items())
