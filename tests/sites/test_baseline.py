"""Baselines hold no media, no secrets and no names of the site, and come back byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import UsageError
from holdfast.sites.placeholders import Names, is_text, names_of, salts
from tests.sites.conftest import FILES, files_of
from tests.sites.test_backup import content

BASELINE = "sites/www-example-com/baseline"
NAMES = names_of("www.example.com", "My Fine Site")[0]
TEXTS = st.lists(
    st.sampled_from(
        [
            b"www.example.com",
            b"example.com",
            b"My Fine Site",
            b"MY FINE SITE",
            b"my fine site",
            b"@@site-",
            b"-",
            b".",
            b" ",
            b"a",
            b"\n",
            b"@@",
        ]
    ),
    max_size=12,
).map(b"".join)


@given(TEXTS)
def test_placeholders__round_trip(data):
    """Names to placeholders and back gives the same bytes, whatever stands around them."""
    names = Names(NAMES, salts("x")[0])
    assert names.own(names.neutral(data)) == data


@given(st.binary(max_size=60))
def test_placeholders__any_bytes(data):
    """So it does with any bytes."""
    names = Names(NAMES, salts("x")[0])
    assert names.own(names.neutral(data)) == data


@pytest.mark.parametrize(
    ("text", "neutral"),
    [
        ("https://www.example.com/a", "https://{host}/a"),
        ("info@example.com.", "info@{domain}."),
        ("My Fine Site", "{name}"),
        ("MY FINE SITE!", "{upper}!"),
        ("myexample.com example.community example.com.au", "myexample.com example.community example.com.au"),
        ("my-www.example.com", "my-www.{domain}"),
    ],
)
def test_placeholders__where_a_name_stands_alone(text, neutral):
    """A name is replaced where it stands alone, in four letter cases, and not within another one."""
    names = Names(NAMES, "5a17")
    expected = neutral
    for which in NAMES:
        expected = expected.replace("{" + which + "}", names.token(which).decode())
    assert names.neutral(text.encode()).decode() == expected


@pytest.mark.parametrize("display", ["", "Cache", "index"])
def test_placeholders__common_words(display):
    """An empty display name, or one short word that code may hold too, is not replaced, and it is said why."""
    names, why = names_of("www.example.com", display)
    assert set(names) == {"host", "domain"}
    assert (why is None) == (display == "")


def test_placeholders__serialized():
    """A name within serialized data is known, for its length counts there."""
    names = Names(NAMES, "5a17")
    assert names.in_serialized(b's:15:"www.example.com";')
    assert names.in_serialized(b's:22:\\"http://www.example.com\\";')
    assert not names.in_serialized(b"'www.example.com'")


def test_placeholders__without_a_name():
    """A placeholder for which the site has no name is refused with the setting."""
    with pytest.raises(UsageError, match="display_name"):
        Names({"host": "a.b"}, "5a17").own(b"@@site-upper-5a17@@")


@pytest.mark.parametrize(
    ("data", "text"), [(b"abc", True), (b"a\0b", False), (b"\xff\xd8", False), ("ä".encode(), True), (b"", True)]
)
def test_is_text(data, text):
    """Text is UTF-8 without NUL."""
    assert is_text(data) is text


def laid(site):
    """A webroot with names, secrets and binaries."""
    more = {
        "config/site.json": b'{"url": "https://www.example.com", "mail": "info@example.com", "name": "My Fine Site"}',
        "font.woff": b"\x00www.example.com\xff",
        "cachefile.txt": b's:15:"www.example.com";',
        ".env": b"PASSWORD=1",
        "keys/server.pem": b"-----BEGIN",
        "dump.sql": b"INSERT",
        "tmpl/.htpasswd": b"x",
        "plain.txt": b"nothing of it",
    }
    for path, data in more.items():
        (site.webroot / path).parent.mkdir(exist_ok=True)
        (site.webroot / path).write_bytes(data)
    site.write('display_name = "My Fine Site"\n')
    return more


def test_baseline__what_is_in_it(site):
    """A baseline has no media, no configuration file, no keys, dumps and scratch, and no name of the site in its texts; binaries are as they were."""
    more = laid(site)
    report = site.site("baseline")
    found = content(site, name=BASELINE)
    assert not [path for path in found if path.startswith(("images/", "logs/", "tmp/"))]
    assert not {".env", "keys/server.pem", "dump.sql", "tmpl/.htpasswd", "configuration.php"} & found.keys()
    assert "media/system/images/icon.svg" in found
    assert found["font.woff"] == more["font.woff"]
    assert found["cachefile.txt"] == more["cachefile.txt"]
    text = found["config/site.json"] + found["index.php"]
    assert b"example" not in text
    assert b"My Fine" not in text
    assert text.count(b"@@site-") == 4
    assert report["state"] == "created"
    assert "serialized" in site.ok("site", "baseline").err
    assert site.site("baseline")["state"] == "unchanged"


def test_baseline__comes_back_byte_for_byte(site):
    """Restored under the same names every file of a baseline is what it was, byte for byte."""
    more = laid(site)
    site.site("baseline")
    out = site.folder / "out"
    site.site("restore", "baseline", "--to", str(out))
    found = files_of(out)
    source = FILES | more
    assert found == {path: source[path] for path in found}
    assert len(found) > 5


def test_baseline__for_another_site(site):
    """A baseline that is copied to another site gets that site's names."""
    import holdfast
    from holdfast.model.result import NoProgress
    from holdfast.sites.baseline import with_names
    from holdfast.sites.plan import resolve
    from holdfast.sites.settings import from_table
    from holdfast.sites.stores import Stores

    laid(site)
    version = site.site("baseline")["version"]
    out = site.folder / "out"
    holdfast.open((site.folder / "one").as_uri(), assets_dir=site.folder / "home").fetch(
        f"{BASELINE}:{version}", to=out
    )
    store = f"{(site.folder / 'one').as_uri()}"
    settings, _ = from_table(
        {"site_url": "shop.other.org", "display_name": "Other Name", "build": "baseline", "stores": store}
    )
    plan = resolve(settings).plan
    with_names(plan)(out, Stores(plan.stores, progress=NoProgress()).all[0], BASELINE, version)
    found = files_of(out)
    assert (
        found["config/site.json"]
        == b'{"url": "https://shop.other.org", "mail": "info@other.org", "name": "Other Name"}'
    )
    assert found["index.php"] == b"<?php echo 'shop.other.org';"


def test_baseline__in_place_leaves_media(site):
    """A baseline restored in place leaves media, the configuration and scratch alone."""
    laid(site)
    site.site("baseline")
    (site.webroot / "index.php").write_text("x")
    site.site("restore", "baseline", "--path", "index.php")
    assert (site.webroot / "index.php").read_bytes() == FILES["index.php"]
    assert (site.webroot / "images/logo.png").read_bytes() == FILES["images/logo.png"]
