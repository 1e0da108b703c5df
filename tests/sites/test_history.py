"""Listing backups, holding them, and what is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.sites.history import newest_before
from holdfast.sites.retention import plan_retention, time_of

START = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)


def dates(count, step):
    """So many versions, newest first, this far apart."""
    return [(START - n * step).strftime("%Y-%m-%dT%H-%M-%SZ") for n in range(count)]


def test_retention__newest_of_each():
    """hourly 3 and daily 2 keep the newest of the last three hours and two days that have one."""
    versions = dates(300, timedelta(minutes=20))
    doomed, kept = plan_retention(versions, {"hourly": 3, "daily": 2})
    assert [time_of(each).strftime("%d %H:%M") for each in kept] == ["31 23:30", "31 22:50", "31 21:50", "30 23:50"]
    assert kept[versions[0]] == ["last", "hourly", "daily"]
    assert len(doomed) + len(kept) == 300


def test_retention__a_year_of_it():
    """Of two years of daily backups, daily 7, weekly 4, monthly 12 and yearly 2 keep 7, 4, 12 and 2, those that are more than one of it once."""
    versions = dates(730, timedelta(days=1))
    _, kept = plan_retention(versions, {"daily": 7, "weekly": 4, "monthly": 12, "yearly": 2})
    counts = {rule: sum(rule in why for why in kept.values()) for rule in ("daily", "weekly", "monthly", "yearly")}
    assert counts == {"daily": 7, "weekly": 4, "monthly": 12, "yearly": 2}


def test_retention__holds_and_strange_numbers():
    """What is held, what has no date, and everything where there is no rule, stays."""
    versions = [*dates(5, timedelta(hours=1)), "1.0"]
    assert plan_retention(versions, {"last": 1}, protected=[versions[3]])[0] == [versions[1], versions[2], versions[4]]
    assert plan_retention(versions, {})[0] == []


@given(
    st.lists(st.integers(0, 10**8), unique=True, min_size=1),
    st.dictionaries(st.sampled_from(["last", "hourly", "daily", "weekly", "monthly", "yearly"]), st.integers(1, 5)),
)
def test_retention__never_everything(seconds, rules):
    """Whatever the rules and dates, the newest stays, each version is kept or removed, and a second run removes nothing."""
    versions = [(START - timedelta(seconds=n)).strftime("%Y-%m-%dT%H-%M-%SZ") for n in sorted(seconds)]
    doomed, kept = plan_retention(versions, rules)
    assert versions[0] in kept
    assert sorted([*doomed, *kept]) == sorted(versions)
    assert plan_retention([each for each in versions if each in kept], rules)[0] == []


def test_newest_before():
    """The state at a moment is the newest backup made by then."""
    versions = dates(3, timedelta(hours=1))
    assert newest_before(versions, START) == versions[0]
    assert newest_before(versions, START - timedelta(minutes=1)) == versions[1]
    assert newest_before(versions, START - timedelta(days=1)) is None


def change(site, text):
    """Another content, backed up; the version."""
    (site.webroot / "index.php").write_text(text)
    return site.site("backup", "--period", "manual")["version"]


def test_backups__are_listed(site):
    """backups lists every backup of every period, the newest first, with the stores that have it."""
    site.write(stores=("one", "two"))
    made = [change(site, text) for text in "abc"]
    site.site("backup", "--period", "daily")
    found = site.site("backups")
    assert [each["period"] for each in found] == ["daily", "manual", "manual", "manual"]
    assert [each["version"] for each in site.site("backups", "--period", "manual")] == made[::-1]
    assert len(found[0]["stores"]) == 2
    assert "2 of 2" in site.ok("site", "backups").out
    assert site.fails(2, "backups", "--period", "ly")["kind"] == "usage"


def test_backups__a_store_is_away(site):
    """Backups are listed from the stores that answer."""
    site.write(stores=("one", "two"))
    change(site, "a")
    (site.folder / "one").rename(site.folder / "away")
    assert len(site.site("backups")[0]["stores"]) == 1
    (site.folder / "two").rename(site.folder / "away2")
    assert site.fails(3, "backups")["kind"] == "not_found"


def test_backup__keeps_what_the_rules_say(site):
    """After a backup what no rule keeps is removed from every store, and what is held stays."""
    site.write(stores=("one", "two"), after="[keep.manual]\nlast = 2\n")
    first = change(site, "a")
    site.site("backups", "--hold", f"manual:{first}", "--reason", "the first")
    made = [change(site, text) for text in "bcd"]
    found = site.site("backups", "--period", "manual")
    assert [each["version"] for each in found] == [made[2], made[1], first]
    assert found[-1]["held"] == "the first"
    assert all(len(each["stores"]) == 2 for each in found)
    site.site("backups", "--release", f"manual:{first}")
    last = change(site, "e")
    assert [each["version"] for each in site.site("backups", "--period", "manual")] == [last, made[2]]


def test_backups__hold_what_is_not_there(site):
    """A backup that is not there cannot be held; the hint names those that are."""
    made = change(site, "a")
    error = site.fails(3, "backups", "--hold", "manual:2020-01-01T00-00-00Z")
    assert made in error["hint"]


@pytest.mark.parametrize("spec", ["x", "hourl:1", ""])
def test_backups__hold_no_spec(site, spec):
    """What names no period is refused."""
    assert site.fails(2, "backups", "--hold", spec)["kind"] == "usage"
