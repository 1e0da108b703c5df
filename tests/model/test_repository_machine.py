"""The repository against a plain dict: random pushes, fetches, removals and other programs' writes, with answers lost on the way.

The model is what users believe: a name has versions, a version has files, and neither ever changes. Two machines, each with its
own cache and journal, work on one store through :class:`tests.fakes.FaultyStore`; invariants are read past it.

Two kinds of trouble are told apart. *Doubt* (the answer to a conditional write is lost, or a library's own retry loses against
itself) must not be noticed by the caller at all. An *outage* may end the verb with UnreachableError, at any request; then
nothing half may be seen, and running it again must do.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from holdfast.errors import (
    AlreadyExistsError,
    AssetNotFoundError,
    ConflictError,
    NotFoundError,
    UnreachableError,
    VersionNotFoundError,
)
from holdfast.formats import layout as keys
from holdfast.formats.codec import unpack
from holdfast.formats.convention import decode_meta
from holdfast.formats.root import decode_root
from holdfast.model.digest import digest_of
from holdfast.model.version import BUILT_IN, newest_first, newest_matching
from holdfast.store.memory import MemoryStore
from holdfast.store.path import PathStore
from holdfast.transfer.manifests import opened
from tests.fakes import Fault, FaultyStore, ManualClock, Script, repository_on

if TYPE_CHECKING:
    from holdfast.repository import Repository

SCHEME = BUILT_IN["major_minor"]
NAMES = ("one", "group/two")
CONTENTS = (
    {"a": b"a", "sub/b": b"b" * 3000},
    {"a": b"other", "sub/b": b"b" * 3000},
    {"only": b""},
    {"a": b"a", "sub/b": b"b" * 3000, "sub/c": b"c"},
    {"": b"a file asset"},
    {"": b"another file"},
)
#: The folder that is pushed in layout tree; the others go into packs.
_TREE = 3
EXPLICIT = ("0.3", "1.0", "2.5")
ROOM = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - syncing costs nothing there

names = st.sampled_from(NAMES)
machines = st.integers(0, 1)
contents = st.integers(0, len(CONTENTS) - 1)
wishes = st.one_of(
    st.just({}),
    st.just({}),
    st.just({"unchanged": False}),
    st.just({"major": "0"}),
    st.just({"new_major": True}),
    st.just({"only": "new"}),
    st.just({"only": "update"}),
    st.sampled_from(EXPLICIT).map(lambda version: {"version": version}),
)
trouble = st.one_of(
    st.none(),
    st.tuples(
        st.just("doubt"),
        st.sampled_from([Fault.LOST, Fault.ECHO]),
        st.sampled_from(["*claims/*", "*.meta", "*.versions", "*/assets/*", "*store.json", "*/packs/*", "*/pages/*"]),
    ),
    st.tuples(st.just("outage"), st.sampled_from([Fault.BEFORE, Fault.LOST]), st.integers(0, 24)),
)


class World(RuleBasedStateMachine):
    """One store, two machines, and what must be true of them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=ROOM))
        self.clock = ManualClock()
        self.store = self.make_store()
        self.faulty = FaultyStore(self.store)
        self.machines = [self.machine(self.faulty, f"m{number}") for number in range(2)]
        self.checker = self.machine(self.store, "checker")
        #: name → version → files; never forgotten, not even when removed.
        self.whole: dict[str, dict[str, dict[str, bytes]]] = {name: {} for name in NAMES}
        self.removed: dict[str, set[str]] = {name: set() for name in NAMES}
        #: Whole, and dropped from the list by a crash or another program; the next push that makes a version lists them.
        self.unlisted: dict[str, set[str]] = {name: set() for name in NAMES}
        self.aliases: dict[str, dict[str, str]] = {name: {} for name in NAMES}
        #: Contents whose push ended without an answer.
        self.pending: dict[str, list[int]] = {name: [] for name in NAMES}
        #: Pushes without an answer, to be run again.
        self.broken: list[tuple] = []
        self.foreign: dict[str, set[str]] = {name: set() for name in NAMES}
        self.sources = [self.lay(number) for number in range(len(CONTENTS))]

    def make_store(self):
        return MemoryStore("machine", self.time)

    def time(self) -> float:
        """By the clock that both machines and the store share."""
        return self.clock.now().timestamp()

    def foreign_put(self, key: str, data: bytes) -> None:
        """As another program writes: without any condition."""
        self.store.put(key, data)

    def foreign_get(self, key: str) -> bytes | None:
        """As another program reads."""
        try:
            return bytes(self.store.get(key).data)
        except NotFoundError:
            return None

    def machine(self, store, name: str) -> Repository:
        return repository_on(store, self.folder / name, self.clock, name)

    def lay(self, number: int) -> Path:
        folder = self.folder / "sources" / str(number)
        for path, data in CONTENTS[number].items():
            target = folder / path if path else folder / "file.bin"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        return folder / "file.bin" if "" in CONTENTS[number] else folder

    def teardown(self) -> None:
        try:
            self.everything_fetches_back()
        finally:
            shutil.rmtree(self.folder)

    # what the model says

    def listed(self, name: str) -> list[str]:
        return newest_first(set(self.whole[name]) - self.removed[name] - self.unlisted[name], SCHEME)

    def exists(self, name: str) -> bool:
        return self.foreign_get(keys.versions_key(name)) is not None or bool(self.whole[name])

    def is_taken(self, name: str, version: str) -> bool:
        return version in self.whole[name] or self.foreign_get(keys.claim_key(name, version)) is not None

    @contextmanager
    def troubled(self, plan):
        """With this trouble; yields whether UnreachableError is an answer."""
        script = Script()
        if plan and plan[0] == "doubt":
            script.add(plan[1], "put", plan[2])
        elif plan:
            script.add(plan[1], "*", "*", after=plan[2])
        self.faulty.plan = lambda call: script(call) if call.conditional or (plan and plan[0] == "outage") else None
        try:
            yield bool(plan) and plan[0] == "outage"
        finally:
            self.faulty.plan = lambda _: None

    # pushes

    @rule(
        machine=machines,
        name=names,
        content=contents,
        wish=wishes,
        plan=trouble,
        alias=st.sampled_from([None, None, "live"]),
    )
    def push_with_a_wish(self, machine, name, content, wish, plan, alias):
        self.push(machine, name, content, wish, plan, alias)

    def push(self, machine, name, content, wish, plan, alias):
        options = dict(wish) | ({"alias": alias} if alias else {})
        if content == _TREE:
            options["layout"] = "tree"
        before = self.listed(name)
        existed = self.exists(name)
        wanted = wish.get("version")
        was_taken = wanted and self.is_taken(name, wanted)
        had_pending = bool(self.pending[name])
        with self.troubled(plan) as outage:
            try:
                pushed = self.machines[machine].push(self.sources[content], name, **options)
            except UnreachableError:
                assert outage, "a doubtful answer was not settled"
                self.pending[name].append(content)
                self.broken.append((machine, name, content, wish, alias))
                self.settle(name)
                return
            except AlreadyExistsError:
                assert was_taken or had_pending or (wish.get("only") == "new" and existed)
                return
            except AssetNotFoundError:
                assert wish.get("only") == "update"
                assert not existed
                return
            except VersionNotFoundError:
                assert wish.get("major")
                assert not [version for version in before if SCHEME.matches(version, wish["major"])]
                return
        self.note(name, pushed.version, content, created=pushed.created)
        if pushed.created or pushed.version not in before:
            self.unlisted[name] &= self.foreign[name]  # what is ours is listed again
        self.unlisted[name].discard(pushed.version)
        if alias:
            self.aliases[name][alias] = pushed.version
        self.settle(name)
        if not had_pending and not wish:
            assert self.checker.resolve(name) == pushed.version, "a push that returned is not the newest"
        if wanted:
            assert pushed.version == wanted
        self.clock.forward(seconds=1)

    @rule(machine=machines, name=names, content=contents, plan=trouble)
    def push_plainly(self, machine, name, content, plan):
        self.push(machine, name, content, {}, plan, None)

    @precondition(lambda self: self.broken)
    @rule(plan=trouble, data=st.data())
    def push_again(self, plan, data):
        """Run a push that had no answer again, on its machine, at once or after others."""
        machine, name, content, wish, alias = data.draw(st.sampled_from(self.broken))
        self.broken.remove((machine, name, content, wish, alias))
        self.push(machine, name, content, wish, plan, alias)

    def note(self, name, version, content, *, created):
        files = CONTENTS[content]
        if created and version in self.whole[name]:
            assert version in [v for v in self.whole[name] if self.whole[name][v] == files], "a number was used again"
        assert self.whole[name].setdefault(version, files) == files, "a version changed"
        assert version not in self.removed[name], "a removed number was used again"

    def settle(self, name):
        """After a push without an answer, what became whole is found by looking; it must be something that was pushed."""
        metas = self.checker.catalog.taken(name).metas
        raw = set(self.checker.catalog.listed(name).versions)
        for version in metas - set(self.whole[name]):
            found = self.stored(name, version)
            assert found in [CONTENTS[number] for number in self.pending[name]], "something whole that nobody pushed"
            self.whole[name][version] = found
            if version not in raw:
                self.unlisted[name].add(version)
        if self.pending[name]:
            self.unlisted[name] -= raw
            record = self.checker.catalog.record(name)
            for alias, version in record.aliases.items():
                assert version in self.whole[name]
                self.aliases[name][alias] = version

    # the other verbs

    def choose(self, data, name, *, removed=False):
        versions = sorted(self.removed[name] if removed else set(self.whole[name]) - self.removed[name])
        return data.draw(st.sampled_from(versions)) if versions else None

    @rule(machine=machines, name=names, how=st.sampled_from(["newest", "major", "alias", "pinned"]), force=st.booleans(),
          plan=trouble, data=st.data(), spoil=st.booleans())  # fmt: skip
    def fetch(self, machine, name, how, force, plan, data, spoil):
        """A fetch gives just what was pushed, from the cache or not; one that fails leaves nothing half."""
        version, text = self.named(name, how, data)
        repository = self.machines[machine]
        if version and force and spoil:
            self.spoil(repository, name, version)
        with self.troubled(plan) as outage:
            for attempt in range(2):
                try:
                    path = repository.fetch(f"{name}{text}", force=force)
                except UnreachableError:
                    assert outage
                    assert attempt == 0
                    continue
                except NotFoundError:
                    assert version is None or version in self.removed[name]
                    return
                break
        assert version is not None
        assert path.name == version
        assert read(path) == self.whole[name][version]

    def named(self, name, how, data):
        listed = self.listed(name)
        if how == "newest":
            return (listed[0] if listed else None), ""
        if how == "major":
            major = data.draw(st.sampled_from(["0", "1", "2", "10"]))
            return newest_matching(listed, major, SCHEME), f":{major}"
        if how == "alias":
            return self.aliases[name].get("live"), ":live"
        version = self.choose(data, name)
        return version, f":{version or '77.7'}"

    def spoil(self, repository, name, version):
        """Somebody edits the copy."""
        path = repository.assets.path_of(name, version)
        if path.is_dir():
            (path / "added").write_bytes(b"added")
        elif path.is_file():
            path.write_bytes(b"spoilt")

    @rule(machine=machines, name=names, alias=st.sampled_from(["live", "stable"]), plan=trouble, data=st.data())
    def set_alias(self, machine, name, alias, plan, data):
        version = self.choose(data, name)
        if version is None:
            return
        with self.troubled(plan) as outage:
            try:
                self.machines[machine].alias(name, alias, version)
            except UnreachableError:
                assert outage
                self.machines[machine].alias(name, alias, version)
        self.aliases[name][alias] = version

    @rule(machine=machines, name=names, plan=trouble, data=st.data())
    def remove(self, machine, name, plan, data):
        """A removal is refused while an alias names the version; else it takes effect, if need be when it is run again."""
        version = self.choose(data, name)
        if version is None:
            return
        with self.troubled(plan) as outage:
            for attempt in range(2):
                try:
                    self.machines[machine].remove(f"{name}:{version}")
                except UnreachableError:
                    assert outage
                    assert attempt == 0
                except NotFoundError:
                    assert attempt == 1, "the first removal was done"
                    break
                except ConflictError:
                    assert version in self.aliases[name].values()
                    return
                else:
                    break
        assert version not in self.aliases[name].values()
        self.removed[name].add(version)

    @rule(machine=machines, name=names, plan=trouble, data=st.data())
    def restore(self, machine, name, plan, data):
        version = self.choose(data, name, removed=True)
        if version is None:
            return
        with self.troubled(plan) as outage:
            try:
                self.machines[machine].restore(f"{name}:{version}")
            except UnreachableError:
                assert outage
                self.faulty.plan = lambda _: None
                self.machines[machine].restore(f"{name}:{version}")
        self.removed[name].discard(version)
        self.unlisted[name].discard(version)

    # another program

    @rule(name=names, stale=st.booleans(), number=st.integers(0, 9))
    def another_program_pushes(self, name, stale, number):
        """As modelkit: reads the list, writes data, meta, then the list, no condition asked; ``stale``: an older list."""
        found = self.foreign_get(keys.versions_key(name))
        known = json.loads(found)["versions"] if found else []
        used = {*known, *self.whole[name]}
        version = SCHEME.following(newest_matching(known, None, SCHEME) or "0.9", self.clock.now())
        if version in used or self.is_taken(name, version):
            return
        data = b"foreign %d" % number
        self.foreign_put(keys.data_key(name, version), data)
        meta = {"push_date": self.clock.now().isoformat(), "is_directory": False}
        self.foreign_put(keys.meta_key(name, version), json.dumps(meta).encode())
        if stale:
            dropped = set(known[: len(known) // 2])
            known = [text for text in known if text not in dropped]
            self.drop(name, dropped)
        self.foreign_put(keys.versions_key(name), json.dumps({"versions": [version, *known]}).encode())
        self.whole[name][version] = {"": data}
        self.foreign[name].add(version)

    def drop(self, name, versions):
        self.unlisted[name] |= versions & set(self.whole[name])

    @precondition(lambda self: any(self.whole.values()))
    @rule()
    def time_passes(self):
        self.clock.forward(hours=1)

    @initialize()
    def start(self):
        """Nothing is there yet."""
        assert self.checker.list() == []

    # what is always true

    def stored(self, name, version):
        """The files of a version as they lie in the store, checked against its meta: meta means data."""
        data = self.foreign_get(keys.meta_key(name, version))
        meta = decode_meta(data, name)
        if meta.push is None:
            return {"": self.foreign_get(keys.data_key(name, version))}
        if meta.layout == "packs":
            return self.packed(keys.data_key(name, version))
        found = {}
        for entry in meta.manifest.files:
            single = meta.layout == "file"
            key = keys.data_key(name, version) if single else keys.file_key(name, version, entry.path)
            found["" if single else entry.path] = content = self.foreign_get(key)
            assert content is not None, f"{key} is missing though its meta is there"
            assert digest_of(content) == entry.digest, f"{key} is not what its meta says"
        return found

    def packed(self, key):
        """The files of a version in packs, chunk by chunk."""
        found = {}
        for page in decode_root(self.foreign_get(key), key).pages:
            stored = self.foreign_get(keys.pages_key(page.object))[page.offset :][: page.stored]
            for entry in opened(page, stored):
                if entry.kind == ord("f"):
                    found[entry.path.decode()] = content = self.content(entry)
                    assert digest_of(content) == entry.digest.hex()
        return found

    def content(self, entry):
        """The bytes of one file."""
        if isinstance(entry.content, bytes):
            return entry.content
        pieces = []
        for chunk in entry.content:
            stored = self.foreign_get(keys.pack_key(chunk.pack.hex()))[chunk.offset :][: chunk.stored]
            pieces.append(bytes(unpack(stored, chunk.codec, chunk.raw, "chunk")))
        return b"".join(pieces)

    @invariant()
    def versions_never_change(self):
        """Every version that was ever published lies whole in the store, as it was pushed."""
        for name, versions in self.whole.items():
            for version, files in versions.items():
                assert self.stored(name, version) == files

    @invariant()
    def lists_are_right(self):
        """What is listed is whole and was pushed; what was pushed is listed, unless removed or dropped by a crash."""
        for name in NAMES:
            try:
                versions = self.checker.versions(name)
            except AssetNotFoundError:
                assert not self.listed(name)
                continue
            assert list(versions.versions) == self.listed(name)
            assert versions.aliases == self.aliases[name]
            assert versions.unknown == ()

    def everything_fetches_back(self):
        """At the end, every version that is not removed is fetched into an empty folder, and is what was pushed."""
        last = self.machine(self.store, "last")
        for name, versions in self.whole.items():
            for version in sorted(set(versions) - self.removed[name]):
                assert read(last.fetch(f"{name}:{version}")) == versions[version]
        assert not list((self.folder / "last" / "assets").rglob("*.part"))


class PathWorld(World):
    """The same on a directory, where another program writes files past the store's own order."""

    def make_store(self):
        (self.folder / "store").mkdir()
        return PathStore(self.folder / "store")

    def foreign_put(self, key: str, data: bytes) -> None:
        path = self.folder / "store" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    def foreign_get(self, key: str) -> bytes | None:
        path = self.folder / "store" / key
        return path.read_bytes() if path.is_file() else None

    def drop(self, name, versions):
        """What its own order has listed a directory store keeps: it is merged with what another program wrote."""
        folder = self.folder / "store" / keys.generations_prefix(keys.versions_key(name))
        numbers = [int(path.name) for path in folder.iterdir()] if folder.is_dir() else []
        kept = json.loads((folder / str(max(numbers))).read_bytes())["versions"] if numbers else []
        super().drop(name, versions - set(kept))


def read(path: Path) -> dict[str, bytes]:
    """The files of a copy."""
    if path.is_file():
        return {"": path.read_bytes()}
    found = {item.relative_to(path).as_posix(): item.read_bytes() for item in path.rglob("*") if item.is_file()}
    found.pop(".SUCCESS")
    return found


@pytest.mark.parametrize(("world", "examples"), [(World, 200), (PathWorld, 80)])
def test_repository__keeps_what_was_pushed(world, examples):
    """Whatever is done, by whom, and whichever answers are lost: what was published stays, whole and under its number."""
    run_state_machine_as_test(world, settings=chosen(examples, 30, derandomize=True))


@pytest.mark.soak
@pytest.mark.parametrize("world", [World, PathWorld])
def test_repository__keeps_what_was_pushed_for_long(world):
    """So in many more random orders."""
    run_state_machine_as_test(world, settings=chosen(1500, 60, derandomize=False))


def chosen(examples: int, steps: int, *, derandomize: bool) -> settings:
    """Hypothesis's settings."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=derandomize,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
