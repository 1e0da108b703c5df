"""Version schemes: form, order, the next number."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import InvalidVersionError, UsageError, VersionNotFoundError
from holdfast.model.version import (
    BUILT_IN,
    check_text,
    newest_first,
    newest_matching,
    next_version,
    scheme_named,
    scheme_of,
)

MAJOR_MINOR, SIMPLE_DATE = BUILT_IN["major_minor"], BUILT_IN["simple_date"]
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("partial", "newest"), [("1", "1.10"), ("10", "10.2"), ("01", "1.10"), ("2", None), (None, "11.0"), ("0", None)]
)
def test_newest_matching(partial, newest):
    """``1`` stands for the newest ``1.*`` by number, and never for ``10.*``."""
    assert newest_matching(["1.2", "1.10", "10.2", "10.0", "11.0", "1.9", "odd"], partial, MAJOR_MINOR) == newest


def test_newest_first():
    """Versions are ordered by number, not as text."""
    assert newest_first(["0.9", "0.10", "10.0", "9.1", "0.10"], MAJOR_MINOR) == ["10.0", "9.1", "0.10", "0.9"]


@pytest.mark.parametrize(
    ("text", "full", "partial"),
    [
        ("1.0", True, False),
        ("1", False, True),
        ("1.0.0", False, False),
        ("1.", False, False),
        (".1", False, False),
        ("1.0\n", False, False),
        ("-1.0", False, False),
        ("\u0661.\u0660", False, False),
        ("latest", False, False),
        ("1" * 18 + ".0", True, False),
        ("1" * 19 + ".0", False, False),
    ],
)
def test_major_minor__form(text, full, partial):
    """Digits, or digits, a dot and digits."""
    assert (MAJOR_MINOR.is_full(text), MAJOR_MINOR.is_partial(text)) == (full, partial)


def test_simple_date():
    """Dates to the second; two in one second do not collide."""
    assert SIMPLE_DATE.initial(NOW) == "2026-01-02T03-04-05Z"
    assert SIMPLE_DATE.following("2026-01-02T03-04-05Z", NOW) == "2026-01-02T03-04-06Z"
    assert SIMPLE_DATE.following("2020-01-01T00-00-00Z", NOW) == "2026-01-02T03-04-05Z"
    assert SIMPLE_DATE.is_full("9999-99-99T99-99-99Z")
    assert not SIMPLE_DATE.is_partial("2026")
    with pytest.raises(UsageError, match="no major"):
        SIMPLE_DATE.next_major([], NOW)


@pytest.mark.parametrize(
    ("listed", "taken", "options", "version"),
    [
        ([], [], {}, "0.0"),
        ([], ["0.0"], {}, "0.1"),
        ([], [], {"initial": "3.1"}, "3.1"),
        (["0.0"], [], {}, "0.1"),
        (["1.2", "0.9"], [], {"partial": "0"}, "0.10"),
        (["1.2", "10.0"], [], {"partial": "1"}, "1.3"),
        (["1.2"], ["1.3", "1.4"], {}, "1.5"),
        (["1.2"], ["7.0"], {}, "1.3"),
        (["1.2"], ["7.0"], {"new_major": True}, "8.0"),
        (["9.0", "10.3"], [], {"new_major": True}, "11.0"),
        ([], [], {"new_major": True}, "0.0"),
    ],
)
def test_next_version(listed, taken, options, version):
    """The next number follows the newest listed one and steps over every number in use."""
    assert next_version(listed, taken, MAJOR_MINOR, NOW, **options) == version


def test_next_version__no_such_major():
    """A major that nothing has cannot be followed; the hint names the newest versions."""
    with pytest.raises(VersionNotFoundError) as caught:
        next_version(["10.0"], [], MAJOR_MINOR, NOW, partial="1")
    assert "10.0" in caught.value.hint


@settings(derandomize=True, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)).map(lambda pair: f"{pair[0]}.{pair[1]}"), unique=True),
    st.data(),
)
def test_next_version__never_in_use(numbers, data):
    """Whatever is listed or taken, the next number is neither, and is newer than what is listed."""
    listed = data.draw(st.lists(st.sampled_from(numbers), unique=True)) if numbers else []
    found = next_version(listed, numbers, MAJOR_MINOR, NOW)
    assert found not in numbers
    assert newest_first([*listed, found], MAJOR_MINOR)[0] == found


def test_scheme_of():
    """An asset's scheme is the one that reads most of its list; the default where that is a draw."""
    dates = [SIMPLE_DATE.initial(NOW + timedelta(days=day)) for day in range(2)]
    assert scheme_of(dates, MAJOR_MINOR) is SIMPLE_DATE
    assert scheme_of(["1.0", "odd"], SIMPLE_DATE) is MAJOR_MINOR
    assert scheme_of([], SIMPLE_DATE) is SIMPLE_DATE
    assert scheme_of(["odd"], SIMPLE_DATE) is SIMPLE_DATE


def test_scheme_named__unknown():
    """An unknown scheme is refused, naming the known ones."""
    with pytest.raises(UsageError) as caught:
        scheme_named("semver")
    assert "major_minor" in caught.value.hint


@pytest.mark.parametrize("text", ["", "a/b", "..", "1..2", "1.0.meta", "x.versions", "-1", "a" * 129, "1.0\n", "é"])
def test_check_text__refused(text):
    """What cannot stand in a key is no version."""
    with pytest.raises(InvalidVersionError):
        check_text(text)
