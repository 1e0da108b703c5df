"""The probe of conditional writes, against scratch writers that keep, ignore or refuse them."""

from __future__ import annotations

import json

import pytest

from holdfast.errors import AccessError, AlreadyExistsError, ChangedError, UnsupportedError
from holdfast.store.probe import GOOD_FOR, Conditions, probe, remember, remembered


class FakeScratch:
    """One key of a server that may ignore (None) or refuse (False) a condition, and may want versions unquoted."""

    def __init__(self, *, create=True, replace=True, quotes=(True,), delete=True):
        self.keeps_create, self.keeps_replace, self.quotes, self.may_delete = create, replace, quotes, delete
        self.count = 0
        self.there = False

    def create(self):
        if self.keeps_create is False:
            raise UnsupportedError("501")
        if self.keeps_create and self.there:
            raise AlreadyExistsError("there")
        return self._write()

    def replace(self, version, *, quotes):
        if self.keeps_replace is False:
            raise UnsupportedError("501")
        if self.keeps_replace and (version != str(self.count) or quotes not in self.quotes):
            raise ChangedError("changed")
        return self._write()

    def read(self):
        return str(self.count)

    def delete(self):
        if not self.may_delete:
            raise AccessError("no right to delete")
        self.there = False

    def _write(self):
        self.there = True
        self.count += 1
        return str(self.count)


def test_probe__all_kept():
    """A server that keeps both promises both, and the scratch key is gone."""
    scratch = FakeScratch()
    assert probe(scratch) == Conditions(create=True, replace=True, etag_quotes=True)
    assert not scratch.there


def test_probe__wants_versions_unquoted():
    """A server that refuses a quoted version (RGW) is asked again without quotes, and that is remembered."""
    assert probe(FakeScratch(quotes=(False,))) == Conditions(create=True, replace=True, etag_quotes=False)


@pytest.mark.parametrize(("keeps", "word"), [(None, "ignores"), (False, "refuses")])
def test_probe__create_not_kept(keeps, word):
    """Without create-only nothing is promised, and the reason tells ignoring from refusing."""
    found = probe(FakeScratch(create=keeps))
    assert (found.create, found.replace) == (False, False)
    assert word in found.reason


@pytest.mark.parametrize(("keeps", "word"), [(None, "ignores"), (False, "refuses")])
def test_probe__replace_not_kept(keeps, word):
    """A server may keep create-only and not replace."""
    found = probe(FakeScratch(replace=keeps))
    assert (found.create, found.replace) == (True, False)
    assert word in found.reason


def test_probe__replace_never_fits():
    """A server that refuses the right version either way does not keep replace."""
    found = probe(FakeScratch(quotes=()))
    assert not found.replace
    assert "refuses the version that is there" in found.reason


def test_probe__no_right_to_delete():
    """A push needs no right to delete, nor does the probe."""
    assert probe(FakeScratch(delete=False)).replace


def test_remembered__for_a_day(tmp_path):
    """An answer is kept by place and for a day; a clock that was set back makes it none."""
    file, kept = tmp_path / "sub" / "probe.json", Conditions(create=True, replace=True, etag_quotes=False)
    remember(file, "a", 1000.0, kept)
    remember(file, "b", 1000.0, Conditions(create=False, replace=False, reason="why"))
    assert remembered(file, "a", 1000.0 + GOOD_FOR - 1) == kept
    assert remembered(file, "b", 1000.0).reason == "why"
    assert remembered(file, "a", 1000.0 + GOOD_FOR) is None
    assert remembered(file, "a", 999.0) is None
    assert remembered(file, "c", 1000.0) is None
    assert [path.name for path in file.parent.iterdir()] == ["probe.json"]


@pytest.mark.parametrize(
    "text", ["", "no json", "[]", '{"a": 1}', '{"a": {"at": 1}}', '{"a": {"at": 1, "conditions": {}}}']
)
def test_remembered__unreadable(tmp_path, text):
    """A file that is not ours to read counts as no answer, and the next answer is kept all the same."""
    file = tmp_path / "probe.json"
    file.write_text(text)
    assert remembered(file, "a", 2.0) is None
    remember(file, "a", 2.0, Conditions(create=True, replace=True))
    assert remembered(file, "a", 2.0) == Conditions(create=True, replace=True)
    assert "a" in json.loads(file.read_text())


def test_remember__nowhere():
    """Without a file, or a place to write it, there is nothing to keep and no error."""
    conditions = Conditions(create=True, replace=True)
    remember(None, "a", 1.0, conditions)
    assert remembered(None, "a", 1.0) is None
