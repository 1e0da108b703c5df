"""Templates with the seed's names are read, and never run."""

from __future__ import annotations

import pytest

from holdfast.errors import UsageError
from holdfast.sites.settings import from_template
from holdfast.sites.template import parse_template

TEMPLATE = r"""
#####################################################
# A temporal deployment
export APPLICATION="joomla" #MANDATORY
export WEBSITE_URL='www.example.com'
   export WEBSITE_DISPLAY_NAME="My_Site"
export BUILD_ARCHIVE_CHOICE=hourly
export PERSIST_ASSETS_TO_CLOUD="1"
export DIRECTORIES_TO_MOUNT="images:media/videos:docs"
SYNC_WEBROOTS="0"
export S3_ACCESS_KEY="a/+='k|second"
export S3_SECRET_KEY='s$/+="|two'
export S3_HOST_BASE="ewr1.example.com|ams1.example.com"
export S3_LOCATION="US"
export EMPTY=
export QUOTED="a \"b\" \$c \\ d"'e'
"""


def test_template__is_read():
    """A template's assignments, comments, quotes and escapes are read as a shell would, without one."""
    values = parse_template(TEMPLATE)
    assert values["QUOTED"] == 'a "b" $c \\ de'
    assert values["EMPTY"] == ""
    assert values["S3_SECRET_KEY"] == 's$/+="|two'
    settings, problems, warnings = from_template(values)
    assert (problems, warnings) == ([], [])
    assert settings.persist
    assert settings.directories == ("images", "media/videos", "docs")
    assert (settings.build, settings.application, settings.display_name) == ("hourly", "joomla", "My Site")
    assert [store.endpoint for store in settings.stores] == ["https://ewr1.example.com", "https://ams1.example.com"]
    assert settings.stores[1].keys == {"AWS_ACCESS_KEY_ID": "second", "AWS_SECRET_ACCESS_KEY": "two"}


@pytest.mark.parametrize(
    "value",
    [
        "$(id)",
        "`id`",
        '"$(id)"',
        '"`id`"',
        "$HOME",
        '"${HOME}"',
        "a;id",
        "a&",
        "a|b",
        "<x",
        "(x)",
        '"open',
        "'open",
        "a b",
    ],
)
def test_template__never_run(value, tmp_path):
    """A value that only a shell could tell is refused with its line, and nothing is run."""
    with pytest.raises(UsageError, match="line 2 of the template"):
        parse_template(f"# a comment\nexport SITE={value}\n")


@pytest.mark.parametrize("line", ["rm -rf /", ". other.sh", "if true; then", "export A", "eval x"])
def test_template__other_lines(line):
    """A line that assigns nothing is refused: it would have to be run."""
    with pytest.raises(UsageError, match=r"no assignment|outside of quotes|goes on"):
        parse_template(line)


@pytest.mark.parametrize(
    "name",
    ["PERSIST_ASSETS_TO_CLOUD", "PERSIST_ASSETS_TO_DATASTORE", "PERSISTASSETSTODATASTORE"],
)
def test_template__names_of_every_generation(name):
    """The seed's name, the later one and that in a web server's own list say the same."""
    for text in (f'export {name}="1"', f"{name}:1"):
        settings, problems, _ = from_template(parse_template(text))
        assert settings.persist
        assert problems == []
        assert settings.called("persist") == name


def test_template__names_that_contradict():
    """Two generations of one name with different values are refused."""
    _, problems, _ = from_template({"PERSIST_ASSETS_TO_CLOUD": "1", "PERSIST_ASSETS_TO_DATASTORE": "0"})
    assert [problem.setting for problem in problems] == ["PERSIST_ASSETS_TO_CLOUD"]


def test_template__chains_that_do_not_fit():
    """Two keys for three hosts are refused by the name of the setting."""
    values = {
        "S3_HOST_BASE": "a|b|c",
        "S3_ACCESS_KEY": "1|2",
        "S3_SECRET_KEY": "1|2|3",
        "WEBSITE_URL": "www.example.com",
    }
    _, problems, _ = from_template(values)
    assert [problem.setting for problem in problems] == ["S3_ACCESS_KEY"]
    assert "2 values where there are 3 stores" in problems[0].message


def test_template__hosts_chained_by_colons():
    """Hosts chained by a colon, as one page of the original has it, are understood with a warning."""
    settings, problems, warnings = from_template({"S3_HOST_BASE": "a.example:b.example", "WEBSITE_URL": "x.y"})
    assert [store.endpoint for store in settings.stores] == ["https://a.example", "https://b.example"]
    assert [problem.setting for problem in warnings] == ["S3_HOST_BASE"]
    assert problems == []


def test_template__secrets_stay_secret():
    """A key is in no text that a settings value makes of itself."""
    settings, _, _ = from_template(parse_template(TEMPLATE))
    assert "second" not in repr(settings)
