"""Generations of a replaced key in a directory store, and other programs' writes into its mirror."""

from __future__ import annotations

import threading

import pytest

from holdfast.errors import AlreadyExistsError, BucketNotFoundError, ChangedError, LocalError
from holdfast.formats.layout import generations_prefix
from holdfast.store.base import CREATE, OVERWRITE, Replace
from holdfast.store.path import PathStore

KEY = "n.versions"


@pytest.fixture
def store(tmp_path):
    """A directory in which the key was made and replaced once."""
    store = PathStore(tmp_path)
    store.put(KEY, b"one", CREATE)
    replace(store, b"two")
    return store


def replace(store, data):
    """Read and replace."""
    return store.put(KEY, data, Replace(store.get(KEY).info.version))


def generation(store, number):
    """The file of a generation."""
    return store.root / generations_prefix(KEY) / str(number)


def test_replace__makes_generations(store):
    """The content found first is generation 1; each replacement is the next, and the plain key equals the highest."""
    assert [generation(store, number).read_bytes() for number in (1, 2)] == [b"one", b"two"]
    assert (store.root / KEY).read_bytes() == b"two"
    with pytest.raises(AlreadyExistsError):
        store.put(KEY, b"three", CREATE)


def test_replace__stale(store):
    """Who read an older version loses, also when the same bytes are there again."""
    old = store.get(KEY).info.version
    replace(store, b"three")
    replace(store, b"two")
    with pytest.raises(ChangedError):
        store.put(KEY, b"mine", Replace(old))


def test_get__older_generation_in_the_mirror(store):
    """An older generation in the plain key, as a crash leaves it, is rolled forward by whoever reads."""
    for left in (b"one", None):
        (store.root / KEY).unlink()
        if left:
            (store.root / KEY).hardlink_to(generation(store, 1))
        found = store.get(KEY)
        assert (bytes(found.data), found.foreign) == (b"two", None)
        assert (store.root / KEY).read_bytes() == b"two"


def test_get__older_content_from_another_program(store):
    """Old content that was written after the newest generation is another program's, which had read it before."""
    (store.root / KEY).write_bytes(b"one")
    assert store.get(KEY).foreign == b"one"


def test_get__foreign_content(store):
    """What another program wrote into the plain key is handed over, kept until it was merged, and never overwritten unseen."""
    before = store.get(KEY).info.version
    (store.root / KEY).write_bytes(b"theirs")
    found = store.get(KEY)
    assert (bytes(found.data), found.foreign) == (b"two", b"theirs")
    assert store.get(KEY).foreign == b"theirs"
    with pytest.raises(ChangedError):
        store.put(KEY, b"unseen", Replace(before))
    assert (store.root / KEY).read_bytes() == b"theirs"
    store.put(KEY, b"merged", Replace(found.info.version))
    assert (bytes(store.get(KEY).data), store.get(KEY).foreign) == (b"merged", None)
    assert (store.root / KEY).read_bytes() == b"merged"


def test_get__foreign_content_changes_again(store):
    """A second foreign write after the first was read is another change."""
    (store.root / KEY).write_bytes(b"theirs")
    found = store.get(KEY)
    (store.root / KEY).write_bytes(b"theirs again")
    with pytest.raises(ChangedError):
        store.put(KEY, b"merged", Replace(found.info.version))
    assert store.get(KEY).foreign == b"theirs again"


def test_get__foreign_content_before_any_generation(tmp_path):
    """A plain key that another program rewrites before it was ever replaced is simply another version."""
    store = PathStore(tmp_path)
    store.put(KEY, b"one", CREATE)
    before = store.get(KEY).info.version
    (tmp_path / KEY).write_bytes(b"theirs")
    with pytest.raises(ChangedError):
        store.put(KEY, b"mine", Replace(before))
    assert bytes(store.get(KEY).data) == b"theirs"
    replace(store, b"merged")
    assert generation(store, 1).read_bytes() == b"theirs"


def test_get__version_and_bytes_are_of_one_moment(tmp_path):
    """While another program rewrites a plain key, the version read is always that of the bytes read."""
    store = PathStore(tmp_path)
    store.put(KEY, b"0" * 10, CREATE)
    stop = threading.Event()

    def rewrite():
        number = 0
        while not stop.is_set():
            number += 1
            (tmp_path / "new").write_bytes(b"%d" % (number % 10) * (10 + number % 7))
            (tmp_path / "new").rename(tmp_path / KEY)

    other = threading.Thread(target=rewrite)
    other.start()
    try:
        seen = {}
        for _ in range(3000):
            found = store.get(KEY)
            assert found.info.size == len(bytes(found.data))
            assert seen.setdefault(found.info.version, bytes(found.data)) == bytes(found.data)
    finally:
        stop.set()
        other.join()


def test_replace__many_writers(store):
    """Of many writers none loses its word, and generations are trimmed below the newest ones only."""
    words = [b"w%02d" % number for number in range(40)]

    def add(word):
        mine = PathStore(store.root)
        while True:
            found = mine.get(KEY)
            if word in bytes(found.data).split():
                return  # as every caller must: a swap that lost its mirror to another program has been made all the same
            try:
                mine.put(KEY, bytes(found.data) + b" " + word, Replace(found.info.version))
            except ChangedError:
                continue
            return

    threads = [threading.Thread(target=add, args=(word,)) for word in words]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(bytes(store.get(KEY).data).split()) == sorted([b"two", *words])
    assert (store.root / KEY).read_bytes() == bytes(store.get(KEY).data)
    numbers = sorted(int(path.name) for path in generation(store, 1).parent.iterdir())
    assert numbers[-1] == 42
    assert numbers[-2:] == [41, 42]


def test_replace__slower_than_the_trimming(store):
    """A writer so slow that its generation was made and trimmed by others loses, and nothing is lost with it."""

    class Slow(PathStore):
        def _write_temporary(self, pieces, *, sync):
            found = super()._write_temporary(pieces, sync=sync)
            if sync and not self.was_slow:
                self.was_slow = True
                for number in range(20):
                    replace(PathStore(self.root), b"other %d" % number)
            return found

    slow = Slow(store.root)
    slow.was_slow = False
    version = slow.get(KEY).info.version
    with pytest.raises(ChangedError):
        slow.put(KEY, b"lost", Replace(version))
    assert bytes(store.get(KEY).data) == b"other 19"


def test_overwrite__of_a_replaced_key(store):
    """A plain overwrite of a replaced key is its next generation, not a foreign write."""
    store.put(KEY, b"three", OVERWRITE)
    found = store.get(KEY)
    assert (bytes(found.data), found.foreign) == (b"three", None)


def test_delete__forgets(store):
    """A deleted key is gone with its generations."""
    store.delete(KEY)
    with pytest.raises(LookupError):
        store.get(KEY)
    store.put(KEY, b"anew", CREATE)
    assert bytes(store.get(KEY).data) == b"anew"


def test_list__no_internals(store):
    """Generations and temporary files are no keys."""
    store.put("a/b", b"x")
    assert sorted(info.key for info in store.list("")) == ["a/b", KEY]
    assert ".holdfast/gen" not in store.list_level(".holdfast").prefixes


def test_put__no_root(tmp_path):
    """A folder that is not there is no bucket; nothing is made."""
    store = PathStore(tmp_path / "absent")
    with pytest.raises(BucketNotFoundError):
        store.put("a", b"x")
    assert not (tmp_path / "absent").exists()


def test_create__a_file_in_the_way(tmp_path):
    """A file where a directory is needed is a local error, and stays."""
    store = PathStore(tmp_path)
    store.put("a", b"file")
    with pytest.raises(LocalError):
        store.put("a/b", b"x", CREATE)
    assert bytes(store.get("a").data) == b"file"
