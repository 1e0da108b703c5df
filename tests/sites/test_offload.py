"""What is done with a bucket of media is decided from what is there and what was agreed to: nothing is lost without a word."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import ConflictError, IntegrityError
from holdfast.sites.attached import in_turn
from holdfast.sites.journal import Journal
from holdfast.sites.offload import Agreed, BucketSeen, Found, Wanted, branch_of, decide_bucket

SITE, BUCKET = "www-example-com", "www-example-com-assets-images"
WANTED = {"a": Wanted(1, "da"), "b": Wanted(2, "db")}
SAME = {"a": Found(1, "da"), "b": Found(2, "db")}
SURE = Agreed(overwrite=frozenset({BUCKET}))


def decided(objects=None, agreed=None, wanted=WANTED, *, owner="ours", marked=SITE, predates=False):
    """The decision for a bucket with these objects."""
    seen = BucketSeen(BUCKET, "images", owner, marked, objects or {})
    return decide_bucket(SITE, seen, wanted, agreed or Agreed(), predates=predates)


def test_decide__adopts_without_a_write():
    """A bucket that holds just what the backup has is adopted, and not written to, even where it was written to later."""
    decision = decided(SAME, predates=True)
    assert decision.state == "adopted"
    assert not any((decision.write, decision.remove, decision.create, decision.mark, decision.safety))


def test_decide__new_and_missing():
    """A bucket that is not there is made, marked and filled; what is only missing in one is added without asking."""
    new = decided(owner="nobody", marked=None)
    assert (new.state, new.create, new.mark, new.write) == ("created", True, True, ("a", "b"))
    assert decided({"a": Found(1, "da")}).write == ("b",)


@pytest.mark.parametrize(
    "objects",
    [SAME | {"c": Found(3)}, SAME | {"a": Found(1, "x")}, SAME | {"a": Found(1)}, SAME | {"a": Found(9, "da")}],
)
def test_decide__overwriting_needs_consent(objects):
    """What would be overwritten or removed needs consent, and a safety copy comes first."""
    assert "--overwrite" in decided(objects).problem.message
    assert decided(objects).write == ()
    decision = decided(objects, SURE)
    assert decision.safety
    assert decision.write or decision.remove


def test_decide__a_backup_that_is_older():
    """A backup that is older than the last write overwrites only where the loss was accepted, too."""
    objects = SAME | {"new": Found(3)}
    assert "--accept-loss" in decided(objects, SURE, predates=True).problem.message
    assert decided(objects, Agreed(overwrite=frozenset({BUCKET}), accept_loss=True), predates=True).remove == ("new",)


@pytest.mark.parametrize(
    ("owner", "marked", "said"),
    [("another", None, "another account"), ("ours", "shop-org", "shop-org"), ("ours", None, "--adopt")],
)
def test_decide__buckets_of_others(owner, marked, said):
    """A bucket of another account or another site is never touched, one without a mark only with --adopt."""
    assert said in decided(owner=owner, marked=marked, agreed=SURE).problem.message
    sure = decided(SAME, Agreed(adopt=True), owner=owner, marked=marked)
    assert (sure.problem is None) == (said == "--adopt")


def test_decide__media_that_a_backup_omits():
    """A backup that omits mounted media leaves their bucket as it is, and is refused where there is none."""
    assert decided(SAME, wanted=None).state == "adopted"
    assert decided({"x": Found(1)}, wanted=None).write == ()
    assert "no media at all" in decided(owner="nobody", wanted=None, marked=None).problem.message


OBJECTS = st.dictionaries(
    st.sampled_from("abcdef"), st.builds(Found, st.integers(0, 2), st.sampled_from(["x", "y", None]))
)
FILES = st.dictionaries(st.sampled_from("abcdef"), st.builds(Wanted, st.integers(0, 2), st.sampled_from(["x", "y"])))


@given(OBJECTS, FILES, st.booleans(), st.booleans(), st.booleans())
def test_decide__nothing_goes_without_a_copy(objects, wanted, consent, loss, predates):
    """Whatever is there and wanted, what is overwritten or removed was agreed to and is copied first, and at the end just what is wanted is there."""
    agreed = Agreed(overwrite=frozenset({BUCKET} if consent else ()), accept_loss=loss)
    decision = decided(objects, agreed, wanted, predates=predates)
    touched = {key for key in (*decision.write, *decision.remove) if key in objects}
    if touched:
        assert consent
        assert decision.safety
        assert loss or not predates
    if decision.problem is not None:
        assert not any((decision.write, decision.remove, decision.create, decision.mark))
        return
    after = {key for key in (*objects, *decision.write) if key not in decision.remove}
    assert after == set(wanted)
    kept = [key for key in wanted if key not in decision.write]
    assert all(objects[key] == Found(wanted[key].size, wanted[key].digest) for key in kept)


def test_branches__are_stable_and_spread():
    """A file of a merged directory lies on the same bucket for ever, and files are spread over all."""
    keys = [f"2026/{number}.jpg" for number in range(900)]
    counts = [sum(branch_of(key, 9) == each for key in keys) for each in range(9)]
    assert min(counts) > 60
    assert [branch_of(key, 4) for key in ("a", "b", "ä")] == [branch_of(key, 4) for key in ("a", "b", "ä")]


def test_journal__goes_on_with_the_same_work(tmp_path):
    """A journal knows its work, facts and steps again, forgets them for another work, and is for its owner only."""
    journal = Journal(tmp_path / "state", "deploy")
    identity = journal.begin({"spec": "a"})
    journal.note("safety x", "spec")
    journal.did("create x")
    again = Journal(tmp_path / "state", "deploy")
    assert again.is_of(identity, {"spec": "a"})
    assert again.begin({"spec": "a"}) == identity
    assert (again.fact("safety x"), again.fact("none")) == ("spec", None)
    assert again.is_done("create x")
    assert stat.S_IMODE(again.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(again.path.parent.stat().st_mode) == 0o700
    assert again.begin({"spec": "b"}) != identity
    assert not again.is_done("create x")
    again.end()
    assert not again.path.exists()
    again.path.write_text("{")
    with pytest.raises(IntegrityError, match="damaged"):
        Journal(tmp_path / "state", "deploy")


def test_journal__what_is_true_of_the_disk_outlives_the_work(tmp_path):
    """Another piece of work begins anew, but knows where an earlier one that was killed moved a directory, and its permission bits."""
    journal = Journal(tmp_path / "state", "attach")
    first = journal.begin({"deployment": "one"})
    for name in ("aside images", "bits images", "consent"):
        journal.note(name, "value")
    journal.did("mount images")
    other = Journal(tmp_path / "state", "attach")
    assert other.begin({"deployment": "two"}) != first
    assert [other.fact(name) for name in ("aside images", "bits images", "consent")] == ["value", "value", None]
    assert not other.is_done("mount images")


def test_turn__that_is_not_wanted_any_more(tmp_path):
    """Whoever waited for others learns in his turn that it is not wanted any more, and does nothing."""
    with pytest.raises(ConflictError, match="detached"), in_turn(str(tmp_path), "site", lambda: False):
        pytest.fail("it was done all the same")
    with in_turn(str(tmp_path), "site"):
        pass
