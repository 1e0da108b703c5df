"""The contract of a store, written once; every implementation runs it (style.md lesson 5).

A module of tests inherits :class:`StoreSuite` and gives a ``store`` fixture; stores behind a network inherit
:class:`BucketSuite` too. Keys are random, so that tests share one store, as the writers of a real one do.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import secrets
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from holdfast.errors import (
    AccessError,
    AlreadyExistsError,
    BucketNotFoundError,
    ChangedError,
    ObjectNotFoundError,
    SourceChangedError,
    UnreachableError,
    UnsupportedError,
    UsageError,
)
from holdfast.store.base import CREATE, SMALL, FillsFiles, ListsInOrder, Replace, TakesPieces
from holdfast.store.bucket import BucketStore
from holdfast.store.settings import bucket_settings

PART = 8 * 1024 * 1024
ODD_KEYS = [
    "with space",
    "plus+and=sign&",
    "ünïcode/日本語",
    "escaped%41%2F",
    "hash#tag",
    "question?mark",
    "quotes'\"`",
    "brackets[]{}<>|^",
    "tilde~",
    "comma,semi;colon:at@dollar$",
    ".hidden/..dots",
    "long/" + "/".join(["x" * 99] * 9),
]


def content(size):
    """Bytes that differ from place to place, so that a part in the wrong order is seen."""
    block = secrets.token_bytes(min(size, 1024 * 1024) or 1)
    return b"".join(n.to_bytes(8, "big") + block[8:] for n in range(-(-size // len(block))))[:size]


def unseen(block):
    """For uploads whose bytes nobody looks at."""


def send(method, url, body=None, headers=None):
    """Status and body of a plain request, with no header that was not asked for (urllib would add a content type)."""
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.netloc, timeout=10)) as connection:
        connection.request(method, f"{parts.path}?{parts.query}", body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()


def winners(store, key, mode):
    """How many of sixteen writers that start together succeed; the others must lose with a conflict."""
    start = threading.Barrier(16)

    def write(number):
        start.wait()
        try:
            store.put(key, b"writer %d" % number, mode)
        except (AlreadyExistsError, ChangedError):
            return None
        return number

    with ThreadPoolExecutor(16) as pool:
        won = [number for number in pool.map(write, range(16)) if number is not None]
    assert len(won) != 1 or bytes(store.get(key).data) == b"writer %d" % won[0]
    return len(won)


class StoreSuite:
    """What every store does."""

    many = 1100

    def test_get__whole(self, store, key):
        """A put object comes back with its bytes, size, version and a time of about now."""
        put = store.put(key, b"hello")
        got = store.get(key)
        assert bytes(got.data) == b"hello"
        assert (got.info.key, got.info.size, got.info.version) == (key, 5, put.version)
        assert abs(got.info.modified - time.time()) < 60

    def test_get__empty(self, store, key):
        """An object of no bytes is an object."""
        store.put(key, b"")
        assert bytes(store.get(key).data) == b""
        assert store.head(key).size == 0

    def test_put__any_buffer(self, store, key):
        """Bytes may be given in any buffer, a slice of one too."""
        store.put(key, memoryview(bytearray(b"abcdef"))[2:4])
        assert bytes(store.get(key).data) == b"cd"

    @pytest.mark.parametrize(
        ("start", "length", "expected"),
        [(0, 4, b"0123"), (3, 4, b"3456"), (8, 100, b"89"), (10, 5, b""), (500, 5, b""), (2, 0, b"")],
    )
    def test_get_range(self, store, key, start, length, expected):
        """A range is cut at the object's end, past which there is nothing; the info is of the whole object."""
        store.put(key, b"0123456789")
        got = store.get_range(key, start, length)
        assert bytes(got.data) == expected
        assert got.info.size == 10

    def test_get_range__empty_object(self, store, key):
        """A range of an empty object is empty."""
        version = store.put(key, b"").version
        assert bytes(store.get_range(key, 0, 100).data) == b""
        assert bytes(store.get_range(key, 0, 100, version=version).data) == b""

    def test_get_range__pinned(self, store, key):
        """A range pinned to the version that is there is read."""
        version = store.put(key, b"0123456789").version
        assert bytes(store.get_range(key, 2, 3, version=version).data) == b"234"

    @pytest.mark.parametrize("start", [0, 5, 100])
    def test_get_range__pinned_to_an_older_version(self, store, key, start):
        """A range pinned to a version that was written over is refused as changed, wherever it starts."""
        version = store.put(key, b"0123456789").version
        store.put(key, b"abcdefghij")
        with pytest.raises(ChangedError):
            store.get_range(key, start, 3, version=version)

    def test_get_range__pinned_and_gone(self, store, key):
        """A pinned range of an object that was deleted is not found, or changed (Azure looks at the pin first)."""
        version = store.put(key, b"0123456789").version
        store.delete(key)
        with pytest.raises((ObjectNotFoundError, ChangedError)):
            store.get_range(key, 0, 3, version=version)

    def test_head(self, store, key):
        """A head tells the same as a put and a listing of the object."""
        put = store.put(key, b"hello")
        head = store.head(key)
        assert (head.key, head.size, head.version, head.etag) == (key, 5, put.version, put.etag)
        assert '"' not in head.version

    def test_missing_key(self, store, key):
        """A key that is not there is not found by any verb that reads it, at once and naming the key."""
        start = time.monotonic()
        for read in (store.get, store.head, lambda k: store.get_range(k, 0, 1), lambda k: store.copy(k, k + "-to")):
            with pytest.raises(ObjectNotFoundError) as caught:
                read(key)
            assert caught.value.subject == key
        assert time.monotonic() - start < 3

    def test_list__on_path_borders(self, store, key):
        """A prefix lists what lies below it: not itself, nor a name that merely starts alike."""
        for name in ("p/a", "p/b/c", "p/b2", "p2/d", "p-/e", "p.f"):
            store.put(f"{key}/{name}", b"x")
        assert {info.key for info in store.list(f"{key}/p")} == {f"{key}/p/{n}" for n in ("a", "b/c", "b2")}
        level = store.list_level(f"{key}/p")
        assert {info.key for info in level.objects} == {f"{key}/p/a", f"{key}/p/b2"}
        assert set(level.prefixes) == {f"{key}/p/b"}

    def test_list__all(self, store, key):
        """The empty prefix lists the whole store, and its first level has the first pieces."""
        info = store.put(key, b"x")
        assert key in {info.key for info in store.list("")}
        assert key.partition("/")[0] in store.list_level("").prefixes
        listed = next(found for found in store.list(key.partition("/")[0]) if found.key == key)
        assert (listed.size, listed.etag) == (1, info.etag)

    def test_list__version_is_good_for_replace(self, store, key):
        """The version told by a listing serves to replace and to pin a read."""
        store.put(f"{key}/x", b"1")
        (info,) = store.list(key)
        assert bytes(store.get_range(f"{key}/x", 0, 1, version=info.version).data) == b"1"
        store.put(f"{key}/x", b"2", Replace(info.version))
        with pytest.raises(ChangedError):
            store.put(f"{key}/x", b"3", Replace(info.version))

    def test_list__nothing_there(self, store, key):
        """A prefix that nothing lies below lists nothing."""
        assert list(store.list(key)) == []
        level = store.list_level(key)
        assert (level.objects, level.prefixes) == ((), ())

    def test_list__many(self, store, key):
        """A listing of more than a page has every key once."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: store.put(f"{key}/{n:05}", b""), range(self.many)))
        found = [info.key for info in store.list(key)]
        assert sorted(found) == [f"{key}/{n:05}" for n in range(self.many)]
        assert len(store.list_level(key).objects) == self.many

    def test_list_after__in_order_of_keys(self, store, key):
        """A listing can begin after any key, one that is not there too, and goes on in the order of keys as bytes."""
        if not isinstance(store, ListsInOrder):
            pytest.skip("cannot begin a listing anywhere")
        names = ["p-/e", "p.f", "p/a", "p/b/c", "p/b/d/e", "p/b2", "p/ü", "p/\U0001f600", "p2/d"]
        for name in reversed(names):
            store.put(f"{key}/{name}", b"x")
        for prefix in ("", "p"):
            below = [f"{key}/{name}" for name in names if not prefix or name.startswith("p/")]
            for after in ("", key, *below, f"{key}/p/b", f"{key}/p/b/d", f"{key}/p/b/\U0010ffff", f"{key}/q"):
                found = [info.key for info in store.list_after(f"{key}/{prefix}" if prefix else key, after)]
                assert found == [each for each in below if each > after], after
        listed = {info.key: info for info in store.list(key)}
        assert all(listed[info.key] == info for info in store.list_after(key, ""))

    @pytest.mark.parametrize("odd", ODD_KEYS, ids=lambda odd: odd[:20])
    def test_odd_keys(self, store, key, odd):
        """A key with odd characters is kept as it is by every verb."""
        odd_key = f"{key}/{odd}"
        store.put(odd_key, b"odd")
        assert bytes(store.get(odd_key).data) == b"odd"
        assert store.head(odd_key).key == odd_key
        assert [info.key for info in store.list(key)] == [odd_key]
        store.copy(odd_key, f"{odd_key}-copy")
        assert bytes(store.get_range(f"{odd_key}-copy", 1, 2).data) == b"dd"
        store.delete(odd_key)
        with pytest.raises(ObjectNotFoundError):
            store.head(odd_key)

    @pytest.mark.parametrize("bad", ["", "/a", "a/", "a//b", "../a", "a/./b", "a\nb", "a\x00b", "a\ud800b"])
    def test_bad_keys(self, store, bad):
        """A key that some store could not hold is refused by all of them."""
        for use in (lambda: store.put(bad, b""), lambda: store.get(bad), lambda: store.delete(bad)):
            with pytest.raises(UsageError):
                use()

    def test_put_overwrite__changes_the_version(self, store, key):
        """An overwrite replaces the bytes and the version."""
        first = store.put(key, b"one")
        second = store.put(key, b"two")
        assert first.version != second.version
        assert bytes(store.get(key).data) == b"two"

    def test_put_create__new(self, store, key):
        """A create-only put of a new key works, and its version serves to replace."""
        version = store.put(key, b"one", CREATE).version
        store.put(key, b"two", Replace(version))
        assert bytes(store.get(key).data) == b"two"

    def test_put_create__key_exists(self, store, key):
        """A create-only put of an existing key is refused and changes nothing."""
        store.put(key, b"one", CREATE)
        with pytest.raises(AlreadyExistsError) as caught:
            store.put(key, b"two", CREATE)
        assert caught.value.subject == key
        assert bytes(store.get(key).data) == b"one"

    def test_put_replace__another_version(self, store, key):
        """A replace of a version that is gone is refused and changes nothing."""
        old = store.put(key, b"one", CREATE).version
        store.put(key, b"two", Replace(old))
        with pytest.raises(ChangedError):
            store.put(key, b"three", Replace(old))
        assert bytes(store.get(key).data) == b"two"

    def test_put_replace__key_is_gone(self, store, key):
        """A replace of an object that was deleted is refused and makes none."""
        old = store.put(key, b"one", CREATE).version
        store.delete(key)
        with pytest.raises(ChangedError):
            store.put(key, b"two", Replace(old))
        with pytest.raises(ObjectNotFoundError):
            store.head(key)

    def test_put_create__sixteen_writers(self, store, key):
        """Of sixteen create-only puts at once, exactly one wins, every time."""
        assert [winners(store, f"{key}/{n}", CREATE) for n in range(5)] == [1] * 5

    def test_put_replace__sixteen_writers(self, store, key):
        """Of sixteen replaces of one version at once, exactly one wins, every time."""
        won = []
        for n in range(5):
            version = store.put(f"{key}/{n}", b"first", CREATE).version
            won.append(winners(store, f"{key}/{n}", Replace(version)))
        assert won == [1] * 5

    def test_promises(self, store):
        """A store that runs this suite promises both conditions."""
        found = store.promises()
        assert (found.create, found.replace, found.reason) == (True, True, None)

    @pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1], ids=["0", "1", "part-1", "part", "part+1"])
    def test_put_file__sizes(self, store, key, size):
        """A file of any size around a part's comes back as it was."""
        data, seen = content(size), []
        info = store.put_file(key, io.BytesIO(data), size, lambda block: seen.append(bytes(block)))
        assert info.size == size
        assert b"".join(seen) == data
        got = store.get(key)
        assert bytes(got.data) == data
        assert got.info.version == info.version

    def test_put_file__many_parts(self, store, key, tmp_path):
        """A file of 40 MiB, read unbuffered, is seen once in order and comes back in pinned ranges."""
        data, seen = content(40 * 1024 * 1024 + 123), []
        file = tmp_path / "big"
        file.write_bytes(data)
        with file.open("rb", buffering=0) as source:
            info = store.put_file(key, source, len(data), lambda block: seen.append(bytes(block)))
        assert b"".join(seen) == data
        ranges = [store.get_range(key, n, PART, version=info.version) for n in range(0, len(data), PART)]
        assert b"".join(bytes(got.data) for got in ranges) == data

    def test_put_file__short_reads(self, store, key):
        """A source that gives less than it is asked for, as pipes and raw files do, is read to its end."""

        class Dribble(io.BytesIO):
            def read(self, size=-1):
                return super().read(min(size, 1_000_003))

            def readinto(self, buffer):
                return super().readinto(memoryview(buffer)[:1_000_003])

        data = content(PART + 5)
        store.put_file(key, Dribble(data), len(data), unseen)
        assert bytes(store.get(key).data) == data

    @pytest.mark.parametrize("size", [100, 3 * PART], ids=["one part", "three parts"])
    @pytest.mark.parametrize("wrong", [-1, 1], ids=["short", "long"])
    def test_put_file__source_of_another_size(self, store, key, size, wrong):
        """A source that is shorter or longer than was said fails, and the key stays as it was."""
        store.put(key, b"before")
        with pytest.raises(SourceChangedError):
            store.put_file(key, io.BytesIO(bytes(size + wrong)), size, unseen)
        assert bytes(store.get(key).data) == b"before"

    @pytest.mark.parametrize("size", [100, 3 * PART], ids=["one part", "three parts"])
    def test_put_file__seen_raises(self, store, key, size):
        """What ``seen`` raises stops the upload as it is, and nothing is visible."""

        class StopError(Exception):
            pass

        def seen(block):
            raise StopError

        with pytest.raises(StopError):
            store.put_file(key, io.BytesIO(bytes(size)), size, seen)
        with pytest.raises(ObjectNotFoundError):
            store.head(key)

    def test_put_file__source_raises(self, store, key):
        """An error of the source comes out as an error of the local system, never as an object that is missing."""

        class Vanished(io.BytesIO):
            def read(self, size=-1):
                raise FileNotFoundError(2, "gone", "source")

            readinto = read

        with pytest.raises(OSError, match="gone") as caught:
            store.put_file(key, Vanished(), 3 * PART, unseen)
        assert not isinstance(caught.value, ObjectNotFoundError)

    def test_delete(self, store, key):
        """A deleted object is gone, and its key can be created anew."""
        store.put(key, b"x", CREATE)
        store.delete(key)
        with pytest.raises(ObjectNotFoundError):
            store.get(key)
        store.put(key, b"y", CREATE)

    def test_delete__missing_key(self, store, key):
        """Deleting what is not there is no error."""
        store.delete(key)

    def test_copy(self, store, key):
        """A copy has the bytes of the source and overwrites its target."""
        store.put(key, b"source")
        store.put(f"{key}-to", b"before")
        store.copy(key, f"{key}-to")
        assert bytes(store.get(f"{key}-to").data) == b"source"

    def test_fills_files(self, store, key, tmp_path):
        """Where the kernel can bring bytes into a file, they are the range's, at the place asked for, or nothing is promised."""
        if not isinstance(store, FillsFiles):
            pytest.skip("this store does not offer it")
        data = content(3_000_000)
        info = store.put(key, data)
        before = bytes(range(256)) * 4
        with open(tmp_path / "filled", "w+b", buffering=0) as file:
            file.write(before)
            for start, length, offset in [(0, 10, 100), (5, 2_500_000, 500), (2_999_990, 10, 200), (0, 3_000_000, 7)]:
                found = store.get_range_to(key, start, length, file.fileno(), offset, version=info.version)
                if found is not None:
                    assert (found.size, found.version) == (info.size, info.version)
                    assert os.pread(file.fileno(), length, offset) == data[start : start + length]
            assert store.get_range_to(key, 0, 10, file.fileno(), 0, version="0" * 32) is None

    def test_takes_pieces(self, store, key):
        """An object of many pieces, small and large ones in turn, is as if it had been put in one."""
        if not isinstance(store, TakesPieces):
            pytest.skip("this store wants an object in one piece")
        pieces = [content(size) for size in (0, 1, 5, 40_000, 32_768, 3, 9_000_000, 0, 70_000, *[11] * 600)]
        info = store.put_pieces(key, pieces, CREATE)
        assert bytes(store.get(key).data) == b"".join(pieces)
        with pytest.raises(AlreadyExistsError):
            store.put_pieces(key, pieces, CREATE)
        store.put_pieces(key, [b"an", b"other"], Replace(store.head(key).version))
        assert bytes(store.get(key).data) == b"another"
        assert info.size == sum(map(len, pieces))

    def test_sign__refused_where_not_promised(self, store, key):
        """A store that does not promise signed URLs refuses to make one."""
        if store.promises().sign:
            pytest.skip("this store signs; see test_sign__get_and_put")
        with pytest.raises(UnsupportedError):
            store.sign(key, "GET", 60)


class BucketSuite:
    """What a store behind a network does as well; the module of tests gives ``service``, the running server."""

    checks_signatures = True
    bad_credentials: dict[str, str] = {}  # noqa: RUF012  a constant of the test
    put_headers: dict[str, str] = {}  # noqa: RUF012
    signs = True
    knows_buckets = True
    # Seconds of silence that are waited for; only one implementation spends the real number.
    read_timeout = 1.0

    @pytest.fixture(scope="class")
    @classmethod
    def settings(cls, service):
        """How to reach a prefix of the service's bucket that nothing else uses."""
        return bucket_settings(service.fresh_store(), service.env)

    @pytest.fixture(scope="class")
    @classmethod
    def store(cls, settings, tmp_path_factory):
        """The store, as wiring would make it."""
        return BucketStore(settings, probe_cache=tmp_path_factory.mktemp("probe") / "probe.json")

    @pytest.fixture
    def unreachable(self, settings):
        """The same store at another endpoint."""
        return lambda endpoint: BucketStore(replace(settings, endpoint=endpoint, read_timeout=self.read_timeout))

    def test_list__object_named_like_a_prefix(self, store, key):
        """An object may have the name of a prefix, as no file can; listings tell the two apart."""
        for name in ("p", "p/a"):
            store.put(f"{key}/{name}", b"x")
        assert [info.key for info in store.list(f"{key}/p")] == [f"{key}/p/a"]
        level = store.list_level(key)
        assert ([info.key for info in level.objects], level.prefixes) == ([f"{key}/p"], (f"{key}/p",))

    def test_put__too_large(self, store, key):
        """More than 64 MiB is refused before anything is sent."""
        with pytest.raises(UsageError):
            store.put(key, bytes(SMALL + 1))

    def test_sign__get_and_put(self, store, key):
        """Whoever has a signed URL may read or write that object without credentials."""
        assert store.promises().sign == self.signs
        if not self.signs:
            return
        status, _ = send("PUT", store.sign(key, "PUT", 60), b"by url", self.put_headers)
        assert status in {200, 201}
        assert send("GET", store.sign(key, "GET", 60)) == (200, b"by url")

    def test_sign__tampered(self, store, key):
        """A signed URL is good for its own key only."""
        if not (self.signs and self.checks_signatures):
            pytest.skip("this server does not check")
        store.put(key, b"mine")
        store.put(f"{key}-other", b"other")
        url = store.sign(key, "GET", 60).replace(key, f"{key}-other")
        status, body = send("GET", url)
        assert status in {400, 401, 403}
        assert body != b"other"

    @pytest.mark.parametrize("md5s", [False, True])
    def test_bulk(self, store, key, md5s):
        """What is moved in bulk, or into a view, is what the plain verbs move; what it leaves, they do."""
        items = {f"{key}/{odd}": content(100 * n) for n, odd in enumerate(ODD_KEYS)}
        md5_of = (lambda name: hashlib.md5(items[name], usedforsecurity=False).hexdigest()) if md5s else None
        for name, is_sent in store.put_many(items.items(), 4, md5_of):
            is_sent or store.put(name, items[name])
        found = {name: item or store.get(name) for name, item in store.get_many(items, 4)}
        assert {name: bytes(item.data) for name, item in found.items()} == items
        for name, item in found.items():
            assert item.info == store.get(name).info
            piece = store.get_range_into(name, 50, memoryview(bytearray(200)), version=item.info.version)
            assert bytes(piece.data) == items[name][50:250]
            assert piece.info == item.info

    def test_bulk__pinned_to_an_older_version(self, store, key):
        """A range into a view is of the version asked for, or an error."""
        old = store.put(key, b"0123456789").version
        store.put(key, b"abcdefghij")
        with pytest.raises(ChangedError):
            store.get_range_into(key, 3, memoryview(bytearray(4)), version=old)

    def test_bulk__missing(self, store, key):
        """What is not there is left to the plain verb, which says so."""
        assert list(store.get_many([f"{key}/missing"], 4)) == [(f"{key}/missing", None)]
        with pytest.raises(ObjectNotFoundError):
            store.get_range_into(f"{key}/missing", 0, memoryview(bytearray(4)))

    def test_missing_bucket(self, settings, key):
        """A bucket that is not there is told from an object that is not there, whichever verb meets it first."""
        if not self.knows_buckets:
            pytest.skip("this server takes every name for its one bucket")
        missing = replace(settings, url=f"{settings.scheme}://holdfast-nobody-{secrets.token_hex(4)}/p")
        verbs = [
            lambda store: store.get(key),
            lambda store: store.head(key),
            lambda store: store.put(key, b"x"),
            lambda store: list(store.list("")),
            lambda store: store.list_level(key),
            lambda store: store.put_file(key, io.BytesIO(bytes(2 * PART)), 2 * PART, unseen),
            BucketStore.promises,
        ]
        for verb in verbs:
            with pytest.raises(BucketNotFoundError) as caught:
                verb(BucketStore(missing))
            assert missing.bucket in caught.value.message

    def test_wrong_credentials(self, settings, key):
        """Wrong credentials are an access error that names the setting to look at."""
        if not (self.checks_signatures and self.bad_credentials):
            pytest.skip("this server takes any credentials")
        wrong = BucketStore(replace(settings, **self.bad_credentials))
        for verb in (wrong.get, wrong.head, lambda k: wrong.put(k, b"x"), wrong.list_level, wrong.delete):
            with pytest.raises(AccessError) as caught:
                verb(key)
            assert "look at A" in caught.value.hint or "look at G" in caught.value.hint

    def test_closed_port(self, unreachable, key):
        """An endpoint where nobody listens is unreachable within 30 s, by name and setting."""
        self._no_answer(unreachable("http://127.0.0.1:9"), "127.0.0.1:9", key)

    def test_unknown_host(self, unreachable, key):
        """A host name that does not exist is unreachable within 30 s."""
        self._no_answer(unreachable("http://holdfast-nobody.invalid"), "holdfast-nobody.invalid", key)

    def test_silent_server(self, unreachable, key):
        """A server that accepts and never answers is unreachable within 30 s, for every verb, large bodies too."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            host = f"127.0.0.1:{server.getsockname()[1]}"
            self._no_answer(unreachable(f"http://{host}"), host, key)

    def _no_answer(self, store, host, key):
        start = time.monotonic()
        verbs = [
            lambda: store.get(key),
            lambda: store.put(key, b"x"),
            lambda: store.list_level(""),
            store.promises,
            lambda: store.put_file(key, io.BytesIO(bytes(2 * PART)), 2 * PART, unseen),
        ]
        with ThreadPoolExecutor(len(verbs)) as pool:
            failures = [future.exception() for future in [pool.submit(verb) for verb in verbs]]
        assert time.monotonic() - start < 30
        for failure in failures:
            assert isinstance(failure, UnreachableError), repr(failure)
            assert host in failure.message
            assert "look at " in failure.hint
