"""Pushing: whose number it is, what a killed push leaves, and what its re-run does."""

from __future__ import annotations

import json
import os
import random
from datetime import timedelta
from functools import partial

import pytest

from holdfast import publish
from holdfast.errors import (
    AlreadyExistsError,
    AssetNotFoundError,
    ConflictError,
    InvalidNameError,
    InvalidVersionError,
    SourceChangedError,
    UnreachableError,
    UnsupportedError,
    UsageError,
    VersionNotFoundError,
)
from holdfast.formats import layout as keys
from holdfast.formats.convention import decode_meta
from holdfast.formats.records import CondemnedRecord, encode, join_names
from holdfast.store.base import Promises
from holdfast.store.memory import MemoryStore
from tests.fakes import Fault, FaultyStore, ManualClock, Notes, Script, repository_on

CONDITIONAL = ["*claims/*", "*.meta", "*.versions", "*/assets/*", "*store.json"]


class Bench:
    """One store in memory, and machines that push to it."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.store = MemoryStore("unit", self.seconds)
        self.faulty = FaultyStore(self.store)
        self.here = self.machine("here")
        self.there = self.machine("there")

    def seconds(self) -> float:
        return self.clock.now().timestamp()

    def machine(self, name, who=None):
        """Pushes folders in layout ``tree``, whose objects these tests break one by one; ``packs`` has tests of its own."""
        machine = repository_on(self.faulty, self.folder / name, self.clock, who or name)
        machine.push = partial(machine.push, layout="tree")
        return machine

    def source(self, word: str):
        folder = self.folder / "sources" / word
        (folder / "sub").mkdir(parents=True, exist_ok=True)
        (folder / "a").write_text(word)
        (folder / "sub" / "b").write_text(word * 2)
        return folder

    def broken(self, fault, verb, key, word, *, after=0, machine=None, **options):
        """A push that ends without an answer at this call."""
        self.faulty.plan = script = Script().add(fault, verb, key, after=after)
        with pytest.raises(UnreachableError):
            (machine or self.here).push(self.source(word), "n", **options)
        assert script.spent
        self.faulty.plan = lambda _: None

    def claim(self, version):
        return json.loads(bytes(self.store.get(keys.claim_key("n", version)).data))

    def written(self):
        return {info.key for info in self.store.list("")}

    def text(self, spec):
        return (self.machine("reader").fetch(spec) / "a").read_text()


@pytest.fixture
def bench(tmp_path):
    """An asset ``n`` with version 0.0."""
    bench = Bench(tmp_path)
    bench.there.push(bench.source("base"), "n")
    return bench


@pytest.mark.parametrize("key", CONDITIONAL)
@pytest.mark.parametrize("fault", [Fault.LOST, Fault.ECHO])
def test_push__doubtful_answer(tmp_path, fault, key):
    """A conditional write whose answer is lost, or that loses against its own retry, is settled by reading."""
    bench = Bench(tmp_path)
    bench.faulty.plan = script = Script().add(fault, "put", key, times=2)
    first = bench.here.push(bench.source("x"), "n", alias="live")
    second = bench.here.push(bench.source("y"), "n", alias="live")
    assert script.met
    assert (first.version, second.version, first.created, second.created) == ("0.0", "0.1", True, True)
    assert bench.here.versions("n").versions == ("0.1", "0.0")
    assert bench.text("n:live") == "y"


def test_push__store_does_not_answer(bench):
    """A store that never answers a conditional write ends the push after a few tries, not never."""
    bench.faulty.plan = Script().add(Fault.BEFORE, "put", "*claims/*", times=10_000)
    with pytest.raises(UnreachableError):
        bench.here.push(bench.source("x"), "n")
    assert bench.clock.slept < 30


@pytest.mark.parametrize("key", ["n/0.1/a", "n/0.1/sub/b", "n/0.1.meta"])
def test_push__resumed_under_its_own_claim(bench, key):
    """A push that broke before its meta goes on, when it is run again, under its own claim and number."""
    bench.faulty.plan = Script().add(Fault.BEFORE, "put", key, times=100)
    with pytest.raises(UnreachableError):
        bench.here.push(bench.source("x"), "n")
    bench.faulty.plan = lambda _: None
    before = bench.claim("0.1")
    pushed = bench.here.push(bench.source("x"), "n")
    assert (pushed.version, pushed.created) == ("0.1", True)
    assert bench.claim("0.1") == before
    assert not [key for key in bench.written() if "claims/n/0.2" in key]


@pytest.fixture
def read_once(monkeypatch):
    """Every push counts as one of much, whose files are hashed while they are sent."""
    monkeypatch.setattr(publish, "READ_ONCE", 1)


@pytest.mark.usefixtures("read_once")
def test_push__of_much_is_read_once(bench):
    """Much is hashed while it is sent, and its hash is that of what was hashed before."""
    before = bench.there.push(bench.source("other"), "n").hash
    pushed = bench.here.push(bench.source("other"), "m")
    assert pushed.hash == before
    assert "hash" not in bench.here.engine.progress.stages
    assert bench.text("m") == "other"


@pytest.mark.usefixtures("read_once")
def test_push__of_much_is_compared_first(bench):
    """Much is hashed before where the newest version is as large: it may be the same."""
    again = bench.here.push(bench.source("base"), "n")
    assert (again.version, again.created, bench.here.engine.progress.stages) == ("0.0", False, ["hash"])
    other = bench.here.push(bench.source("cafe"), "n")
    assert (other.version, bench.text("n")) == ("0.1", "cafe")


@pytest.mark.usefixtures("read_once")
@pytest.mark.parametrize("key", ["n/0.1/a", "n/0.1/sub/b", "n/0.1.meta"])
def test_push__of_much_goes_on(bench, key):
    """A push of much that broke goes on under its own number, if its files were not touched."""
    source = bench.source("other")
    bench.faulty.plan = Script().add(Fault.BEFORE, "put", key, times=100)
    with pytest.raises(UnreachableError):
        bench.here.push(source, "n")
    bench.faulty.plan = lambda _: None
    assert bench.here.push(source, "n").version == "0.1"
    assert bench.text("n") == "other"


@pytest.mark.usefixtures("read_once")
def test_push__of_much_killed_when_whole(bench):
    """What a killed push of much made whole is listed, not made again, though its files were touched since."""
    bench.faulty.plan = Script().add(Fault.BEFORE, "put", "n.versions", times=100)
    with pytest.raises(UnreachableError):
        bench.here.push(bench.source("other"), "n")
    bench.faulty.plan = lambda _: None
    assert bench.here.push(bench.source("other"), "n").version == "0.1"
    assert bench.there.versions("n").versions == ("0.1", "0.0")


@pytest.mark.usefixtures("read_once")
def test_push__of_much_that_changes(bench):
    """A file that changes after it was sent stops the push before there is a version."""
    source = bench.source("other")

    def change(call):
        if call.key.endswith("n/0.1/sub/b"):
            (source / "a").write_text("again")

    bench.faulty.plan = change
    with pytest.raises(SourceChangedError):
        bench.here.push(source, "n")
    assert bench.there.versions("n").versions == ("0.0",)


@pytest.mark.usefixtures("read_once")
def test_push__of_much_goes_on_beside_others(bench):
    """A broken push of much goes on under its own number, though somebody pushed as many bytes meanwhile, which are compared with it."""
    source = bench.source("other")
    bench.faulty.plan = Script().add(Fault.BEFORE, "put", "n/0.1/a", times=100)
    with pytest.raises(UnreachableError):
        bench.here.push(source, "n")
    bench.faulty.plan = lambda _: None
    assert bench.there.push(bench.source("third"), "n").version == "0.2"
    assert bench.here.push(source, "n", unchanged=True).version == "0.1"
    assert bench.text("n:0.1") == "other"


@pytest.mark.usefixtures("read_once")
def test_push__of_much_that_was_replaced(bench):
    """What a broken push of much made whole is not taken for what lies there by now, though its size and time are as they were."""
    source = bench.source("other")
    bench.faulty.plan = Script().add(Fault.BEFORE, "put", "n.versions", times=100)
    with pytest.raises(UnreachableError):
        bench.here.push(source, "n")
    bench.faulty.plan = lambda _: None
    status = (source / "a").stat()
    (source / "a").write_text("third")
    os.utime(source / "a", ns=(status.st_atime_ns, status.st_mtime_ns))
    pushed = bench.here.push(source, "n")
    assert (pushed.version, pushed.created, bench.text("n")) == ("0.2", True, "third")
    assert bench.text("n:0.1") == "other"


def test_push__source_changes_and_hides_it(bench):
    """A file that changes after it was sent is found though its time is set back, and no version is published."""
    source = bench.source("x")
    status = (source / "a").stat()

    def meddle():
        (source / "a").write_text("y")
        os.utime(source / "a", ns=(status.st_atime_ns, status.st_mtime_ns))

    bench.faulty.plan, bench.faulty.pause = Script().add(Fault.SLOW, "get", "*claims/*"), meddle
    with pytest.raises(SourceChangedError):
        bench.here.push(source, "n")
    assert "n/0.1.meta" not in bench.written()


def test_push__resumed_under_another_user_name(bench):
    """A claim is one's own by the push's id, whoever the machine says that one is."""
    bench.broken(Fault.BEFORE, "put", "n/0.1/a", "x")
    renamed = bench.machine("here", who="renamed")
    assert renamed.push(bench.source("x"), "n").version == "0.1"


def test_push__other_content_takes_another_number(bench):
    """Another push than the one that broke takes the next number, and leaves the dead claim alone."""
    bench.broken(Fault.BEFORE, "put", "n/0.1/a", "x")
    assert bench.here.push(bench.source("y"), "n").version == "0.2"
    assert bench.there.push(bench.source("z"), "n").version == "0.3"
    assert bench.here.push(bench.source("x"), "n").version == "0.1"
    assert bench.here.versions("n").versions == ("0.3", "0.2", "0.1", "0.0")


def test_push__too_old_to_resume(bench):
    """A claim from longer ago than half the store's limit is left, for the push could not end in time."""
    bench.broken(Fault.BEFORE, "put", "n/0.1/a", "x")
    bench.clock.forward(hours=13)
    assert bench.here.push(bench.source("x"), "n").version == "0.2"


def test_push__number_taken_by_another_program_before_the_claim(bench):
    """A push killed before its claim never writes over what another program has published there since."""
    bench.faulty.plan = Script().add(Fault.BEFORE, "put", "*claims/*", times=100)
    with pytest.raises(UnreachableError):
        bench.here.push(bench.source("x"), "n")
    bench.faulty.plan = lambda _: None
    bench.store.put("n/0.1/a", b"modelkit's")
    meta = {"push_date": "2026-01-01T00:00:00+00:00", "is_directory": True, "contents": ["a"]}
    bench.store.put("n/0.1.meta", json.dumps(meta).encode())
    bench.store.put("n.versions", b'{"versions": ["0.1", "0.0"]}')
    assert bench.here.push(bench.source("x"), "n").version == "0.2"
    assert bytes(bench.store.get("n/0.1/a").data) == b"modelkit's"


def test_push__number_that_another_program_is_writing(bench):
    """Nor over data without a meta, which another program may be about to publish."""
    bench.faulty.plan = Script().add(Fault.BEFORE, "put", "*claims/*", times=100)
    with pytest.raises(UnreachableError):
        bench.here.push(bench.source("x"), "n")
    bench.faulty.plan = lambda _: None
    bench.store.put("n/0.1/a", b"modelkit's")
    assert bench.here.push(bench.source("x"), "n").version == "0.2"
    assert bytes(bench.store.get("n/0.1/a").data) == b"modelkit's"


@pytest.mark.parametrize("wish", [{"version": "3.0"}, {"new_major": True}])
def test_push__broken_once_listed(bench, wish):
    """A push that broke after its version was listed is finished, alias and all, when it is run again; once."""
    bench.faulty.plan = Script().add(Fault.BEFORE, "put", "*/assets/n", times=100)
    with pytest.raises(UnreachableError):
        bench.here.push(bench.source("x"), "n", alias="live", **wish)
    bench.faulty.plan = lambda _: None
    again = bench.here.push(bench.source("x"), "n", alias="live", **wish)
    assert again.version == wish.get("version", "1.0")
    assert bench.text("n:live") == "x"
    if "version" in wish:
        with pytest.raises(AlreadyExistsError):
            bench.here.push(bench.source("x"), "n", **wish)
    else:
        assert bench.here.push(bench.source("x"), "n", **wish).version == "2.0"


def test_push__old_content_after_another(bench):
    """A push that broke at its very end does not swallow a later push of the same content: that one becomes the newest."""
    bench.broken(Fault.BEFORE, "put", "*/pushes/*", "x", after=1)
    bench.there.push(bench.source("y"), "n")
    pushed = bench.here.push(bench.source("x"), "n")
    assert (pushed.version, pushed.created) == ("0.3", True)
    assert bench.text("n") == "x"


def test_push__unlisted_version_is_listed_by_the_next(bench):
    """A whole version that was never listed is listed by whoever pushes next."""
    bench.faulty.plan = Script().add(Fault.BEFORE, "put", "n.versions", times=100)
    with pytest.raises(UnreachableError):
        bench.here.push(bench.source("x"), "n")
    bench.faulty.plan = lambda _: None
    assert bench.there.push(bench.source("y"), "n").version == "0.2"
    assert bench.there.versions("n").versions == ("0.2", "0.1", "0.0")


def test_push__unlisted_equal_content_of_an_older_major(bench):
    """A whole, unlisted version of equal content stands for a push only where it would be the newest, and of its major."""
    bench.faulty.plan = Script().add(Fault.BEFORE, "put", "n.versions", times=100)
    with pytest.raises(UnreachableError):
        bench.here.push(bench.source("x"), "n")
    bench.faulty.plan = lambda _: None
    assert bench.there.push(bench.source("x"), "n", new_major=True).version == "1.0"


def test_push__unreadable_meta_beside_it(bench):
    """A meta that cannot be read is left unlisted and told of; the asset can be pushed to."""
    bench.store.put("n/0.7.meta", b"{half")
    assert bench.here.push(bench.source("x"), "n").version == "0.1"
    notes = bench.here.engine.progress
    assert isinstance(notes, Notes)
    assert "0.7" in notes.warnings[0]


def test_push__explicit_number_under_a_foreign_claim(bench):
    """An explicit number that another push has claimed is exit 4, naming who, since when, and the way out."""
    bench.broken(Fault.BEFORE, "put", "n/5.0/a", "x", version="5.0")
    with pytest.raises(AlreadyExistsError) as caught:
        bench.there.push(bench.source("y"), "n", version="5.0")
    assert caught.value.exit_code == 4
    assert "here" in caught.value.message
    assert "2026-01-01" in caught.value.message
    assert "asset repair n" in caught.value.hint
    assert "n/5.0.meta" not in bench.written()
    assert bench.here.push(bench.source("x"), "n", version="5.0").created


def test_push__automatic_skips_foreign_claims(bench):
    """An automatic number steps over foreign claims: gaps are normal."""
    for word in ("x", "y", "z"):
        bench.broken(Fault.BEFORE, "put", "n/*/a", word)
    assert bench.there.push(bench.source("w"), "n").version == "0.4"


def test_push__removed_number(bench):
    """A removed number is never used again, neither by itself nor when asked for."""
    bench.here.push(bench.source("x"), "n")
    bench.here.remove("n:0.1")
    with pytest.raises(AlreadyExistsError, match="removed"):
        bench.here.push(bench.source("x"), "n", version="0.1")
    assert bench.here.push(bench.source("x"), "n").version == "0.2"


def test_push__past_the_limit(bench):
    """A push that takes longer than the store allows stops itself and publishes nothing."""
    bench.faulty.plan = Script().add(Fault.SLOW, "put", "n/0.1/*", times=100)
    bench.faulty.pause = lambda: bench.clock.forward(hours=13)
    with pytest.raises(ConflictError, match="limit"):
        bench.here.push(bench.source("x"), "n")
    assert "n/0.1.meta" not in bench.written()


def test_push__freed_claim(bench):
    """A push whose claim is gone, or another's, by the time of its meta publishes nothing."""

    def rob():
        bench.store.delete(keys.claim_key("n", "0.1"))

    bench.faulty.plan = Script().add(Fault.SLOW, "put", "n/0.1/*")
    bench.faulty.pause = rob
    with pytest.raises(ConflictError, match="freed"):
        bench.here.push(bench.source("x"), "n")
    assert "n/0.1.meta" not in bench.written()


def test_push__written_over_by_another_program(bench):
    """A number that another program wrote over at the same moment is exit 4, and its content is not taken for ours."""
    script = Script().add(Fault.SLOW, "put", "n.versions")

    def overwrite():
        meta = {"push_date": "2026-01-01T00:00:00+00:00", "is_directory": True, "contents": ["a"]}
        bench.store.put("n/0.1.meta", json.dumps(meta).encode())

    bench.faulty.plan, bench.faulty.pause = script, overwrite
    with pytest.raises(ConflictError, match="at the same moment"):
        bench.here.push(bench.source("x"), "n")


@pytest.mark.parametrize("change", ["write", "grow", "remove"])
def test_push__source_changes(bench, change):
    """A file that changes or goes while it is pushed is named, and no version is published."""
    source = bench.source("x")

    def meddle():
        if change == "remove":
            (source / "sub" / "b").unlink()
        else:
            (source / "sub" / "b").write_text("??" if change == "write" else "longer than before")

    bench.faulty.plan, bench.faulty.pause = Script().add(Fault.SLOW, "put", "*claims/*"), meddle
    with pytest.raises(SourceChangedError, match="sub/b") as caught:
        bench.here.push(source, "n")
    assert caught.value.exit_code == 1
    assert "n/0.1.meta" not in bench.written()
    assert bench.here.versions("n").versions == ("0.0",)


def test_push__source_changes_after_it_was_sent(bench):
    """Also where it was sent already: a version is what lay there at one time."""
    source = bench.source("x")
    bench.faulty.plan = Script().add(Fault.SLOW, "get", "*claims/*")
    bench.faulty.pause = lambda: (source / "a").write_text("later")
    with pytest.raises(SourceChangedError):
        bench.here.push(source, "n")
    assert "n/0.1.meta" not in bench.written()


def test_push__unchanged(bench):
    """Equal content makes no version, but sets the alias; asked for explicitly it does."""
    same = bench.here.push(bench.source("base"), "n", alias="live")
    assert (same.created, same.version) == (False, "0.0")
    assert bench.here.versions("n").aliases == {"live": "0.0"}
    assert bench.here.push(bench.source("base"), "n", unchanged=False).version == "0.1"
    assert bench.here.push(bench.source("base"), "n", version="4.0").version == "4.0"
    assert bench.here.push(bench.source("base"), "n", new_major=True).version == "5.0"
    assert bench.here.push(bench.source("base"), "n", major="4").created is False


def test_push__dry_run(bench):
    """A dry run says what would be, and writes nothing, anywhere."""
    before = bench.written()
    pushed = bench.here.push(bench.source("x"), "n", dry_run=True, alias="live")
    assert pushed.version == "0.1"
    assert bench.written() == before
    assert not (bench.folder / "here" / "state").exists()
    with pytest.raises(AlreadyExistsError):
        bench.here.push(bench.source("x"), "n", dry_run=True, version="0.0")


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        ("n", {"version": "0.0"}, AlreadyExistsError),
        ("n", {"version": "1"}, InvalidVersionError),
        ("n", {"version": "../1.0"}, InvalidVersionError),
        ("n", {"version": "1.0", "new_major": True}, UsageError),
        ("n", {"new_major": True, "major": "0"}, UsageError),
        ("n", {"major": "7"}, VersionNotFoundError),
        ("n", {"initial": "x"}, InvalidVersionError),
        ("n", {"alias": "1"}, UsageError),
        ("n", {"alias": "1.0"}, UsageError),
        ("n", {"layout": "zip"}, UsageError),
        ("n", {"layout": "file"}, UsageError),
        ("n", {"only": "new"}, AlreadyExistsError),
        ("absent", {"only": "update"}, AssetNotFoundError),
        ("a/1.0", {}, InvalidNameError),
        ("a/../b", {}, InvalidNameError),
        ("a.versions", {}, InvalidNameError),
    ],
)
def test_push__refused(bench, name, options, error):
    """What cannot be is refused before anything is written."""
    before = bench.written()
    with pytest.raises(error):
        bench.here.push(bench.source("x"), name, **options)
    assert bench.written() - before <= {keys.STORE}


def test_push__store_without_conditions(bench):
    """A store that cannot keep conditions is refused, with the reason and the way out, before anything is written."""

    class Careless(FaultyStore):
        def promises(self):
            return Promises(create=False, replace=True, reason="it ignores If-None-Match")

    before = bench.written()
    repository = repository_on(Careless(bench.store), bench.folder / "careless", bench.clock)
    with pytest.raises(UnsupportedError, match="If-None-Match") as caught:
        repository.push(bench.source("x"), "n")
    assert "server" in caught.value.hint
    assert bench.written() == before


def test_push__meta_tells_what_was_pushed(bench):
    """The meta carries the seed's keys and ours."""
    bench.here.push(
        bench.source("x"), "n", message="m", labels={"k": "v"}, parent="0.0", inputs=["other:1.0"], layout="tree"
    )
    raw = bytes(bench.store.get("n/0.1.meta").data)
    meta, value = decode_meta(raw, "k"), json.loads(raw)
    assert (meta.message, meta.labels, meta.parent, meta.inputs) == ("m", {"k": "v"}, "0.0", ("other:1.0",))
    assert value["contents"] == ["a", "sub/b"]
    assert value["is_directory"] is True
    assert meta.pushed - bench.clock.now() < timedelta(seconds=1)


@pytest.mark.parametrize("layout", ["tree", "packs"])
def test_push__meta_that_came_late(bench, layout):
    """A push whose meta came after its limit, and whose number was freed meanwhile, is withdrawn and done again as another push."""

    def asleep(call):
        if call.verb == "put" and call.key == "n/0.1.meta":
            bench.clock.forward(hours=25)
            stranger = bench.claim("0.1") | {"push": "a" * 32}
            bench.store.put(keys.claim_key("n", "0.1"), json.dumps(stranger).encode())

    bench.faulty.plan = asleep
    pushed = bench.here.push(bench.source("x"), "n", layout=layout)
    bench.faulty.plan = lambda _: None
    assert (pushed.version, bench.text("n")) == ("0.2", "x")
    assert bench.here.versions("n").versions == ("0.2", "0.0")
    first, second = (decode_meta(bytes(bench.store.get(keys.meta_key("n", v)).data), v).push for v in ("0.1", "0.2"))
    assert first != second
    records = [json.loads(bytes(bench.store.get(keys.push_key(push)).data)) for push in (first, second)]
    assert all(record["closed"] for record in records)


def test_push__resumed_where_its_packs_were_condemned(bench):
    """A push of an explicit number, run again after its packs were condemned and deleted, writes them under other names."""
    source = bench.source("x")
    (source / "random").write_bytes(random.Random(1).randbytes(5000))
    options = {"version": "2.0", "layout": "packs"}
    bench.faulty.plan = Script().add(Fault.BEFORE, "put", "n/2.0", times=100)
    with pytest.raises(UnreachableError):
        bench.here.push(source, "n", **options)
    bench.faulty.plan = lambda _: None
    packs = [info.key for info in bench.store.list(".holdfast/packs")]
    names = join_names(key.rpartition("/")[2] for key in packs)
    bench.store.put(keys.gc_key("e"), encode(CondemnedRecord(1, "", "you", names)))
    for key in packs:
        bench.store.delete(key)
    assert bench.here.push(source, "n", **options).version == "2.0"
    assert packs
    assert bench.written().isdisjoint(packs), "a condemned name was written again"
    assert (bench.machine("reader").fetch("n:2.0") / "random").read_bytes() == (source / "random").read_bytes()
