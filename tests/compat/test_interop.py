"""The real modelkit 0.1.3 and the drop-in on one store and in one assets folder (issue "Core", interop)."""

from __future__ import annotations

import pytest

from tests.compat.conftest import CallError, contents


def test_we_read_what_they_wrote(theirs, ours, source, scheme):
    """A file or directory that modelkit pushed, in either scheme, is listed, found and fetched by us."""
    theirs("new", source, "cat/name", scheme[0])
    theirs("update", source, "cat/name", scheme[1])
    assert ours("versions", "cat/name") == [scheme[1], scheme[0]]
    assert ours("listing") == [["cat/name", [scheme[1], scheme[0]]]]
    fetched = ours("fetch", "cat/name")
    assert (fetched["version"], fetched["from_cache"]) == (scheme[1], False)
    assert contents(fetched["path"]) == contents(source)
    assert ours("meta", "cat/name", scheme[0]) == theirs("meta", "cat/name", scheme[0])


def test_they_read_what_we_wrote(theirs, ours, source, scheme):
    """A file or directory that we pushed, in either scheme, is listed, found and fetched by modelkit."""
    ours("new", source, "cat/name", scheme[0])
    ours("update", source, "cat/name", scheme[1])
    assert theirs("versions", "cat/name") == [scheme[1], scheme[0]]
    fetched = theirs("fetch", "cat/name")
    assert (fetched["version"], fetched["from_cache"]) == (scheme[1], False)
    assert contents(fetched["path"]) == contents(source)
    assert theirs("meta", "cat/name", scheme[0]) == ours("meta", "cat/name", scheme[0])


def test_our_cache_is_warm_for_them(theirs, ours, source):
    """A version that we fetched is a hit for modelkit, and serves it without a store."""
    ours("new", source, "cat/name", "0.0")
    path = ours("fetch", "cat/name:0.0")["path"]
    for options in ([], ["local"]):
        assert theirs("fetch", "cat/name:0.0", *options) == {"path": path, "from_cache": True, "version": "0.0"}


def test_their_cache_is_warm_for_us(theirs, ours, source):
    """A version that modelkit fetched is a hit for us, and serves us without a store."""
    theirs("new", source, "cat/name", "0.0")
    path = theirs("fetch", "cat/name:0.0")["path"]
    for options in ([], ["local"]):
        assert ours("fetch", "cat/name:0.0", *options) == {"path": path, "from_cache": True, "version": "0.0"}


def test_pushes_in_turn(theirs, ours, source, scheme):
    """Both push to one asset in turn: nothing is lost, and each fetches every version of the other."""
    theirs("new", source, "cat/name", scheme[0])
    ours("update", source, "cat/name", scheme[1])
    theirs("update", source, "cat/name", scheme[2])
    ours("update", source, "cat/name", scheme[3])
    assert theirs("versions", "cat/name") == ours("versions", "cat/name") == scheme[::-1]
    for version in scheme:
        assert contents(theirs("fetch", f"cat/name:{version}", "force")["path"]) == contents(source)
        assert contents(ours("fetch", f"cat/name:{version}", "force")["path"]) == contents(source)


def test_pushes_in_turn__we_begin(theirs, ours, source):
    """An asset that we began goes on with modelkit's versions between ours."""
    ours("new", source, "cat/name", "0.0")
    theirs("update", source, "cat/name", "0.1")
    ours("update", source, "cat/name", "0.2")
    theirs("update", source, "cat/name", "1.0")
    ours("update", source, "cat/name", "1.1")
    assert theirs("versions", "cat/name") == ours("versions", "cat/name") == ["1.1", "1.0", "0.2", "0.1", "0.0"]
    assert ours("fetch", "cat/name:0")["version"] == theirs("fetch", "cat/name:0")["version"] == "0.2"


def test_unlisted_push(theirs, ours, source):
    """A version that one pushed without listing it is fetched by the other by its full version."""
    theirs("new", source, "cat/name", "0.0")
    ours("push", source, "cat/name", "5.0")
    theirs("push", source, "cat/name", "6.0")
    assert contents(theirs("fetch", "cat/name:5.0")["path"]) == contents(source)
    assert contents(ours("fetch", "cat/name:6.0")["path"]) == contents(source)
    assert theirs("versions", "cat/name") == ours("versions", "cat/name") == ["0.0"]


@pytest.mark.parametrize(
    "call",
    [
        ("new", "{source}", "cat/name", "0.1"),
        ("update", "{source}", "cat/unknown", "0.1"),
        ("update", "{source}", "cat/name", "x"),
        ("versions", "cat/unknown"),
        ("meta", "cat/name", "7.0"),
        ("fetch", "cat/unknown"),
        ("fetch", "cat/name:7.0"),
        ("fetch", "cat/name:x"),
        ("fetch", "_bad"),
        ("fetch", "cat/name:0.0[nothing]"),
        ("fetch", "cat/name:7.0", "local"),
        ("fetch", "cat/unknown", "local"),
        ("fetch", "cat/name:0.0", "local", "force"),
    ],
    ids=" ".join,
)
def test_the_same_errors(theirs, ours, tmp_path, call):
    """Where modelkit fails, we fail with an error that its users' except clauses find."""
    (tmp_path / "x").write_text("x")
    ours("new", tmp_path / "x", "cat/name", "0.0")
    arguments = [part.format(source=tmp_path / "x") for part in call]
    with pytest.raises(CallError) as their_error:
        theirs(*arguments)
    with pytest.raises(CallError) as our_error:
        ours(*arguments)
    assert their_error.value.kinds[0] in our_error.value.kinds


def test_signatures(theirs, ours, store):
    """Every public class and method of modelkit's is ours too, with its parameters in its order first."""
    if store["MODELKIT_STORAGE_PROVIDER"] != "local":
        pytest.skip("once is enough")
    found, other = ours("signatures"), []
    for name, parameters in theirs("signatures", "own").items():
        kind, _, method = name.rpartition(".")
        if kind.endswith("DriverSettings") or method in ("with_traceback", "add_note"):
            continue  # pydantic models there, plain classes here; and what every exception has
        if name not in found or ("_" not in parameters and found[name][: len(parameters)] != parameters):
            other.append((name, parameters, found.get(name)))
    assert other == []
