"""Every command, option, setting and kind of error is documented, and nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from holdfast.cli.options import common
from holdfast.cli.program import COMMANDS, program
from holdfast.config import ALIASES, KEYS
from holdfast.errors import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS_PAGE = (DOCS / "commands.md").read_text("utf-8")
SETTINGS_PAGE = (DOCS / "settings.md").read_text("utf-8")
SHARED = {name for option in common(transfers=True) for name in option.opts}


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name, those of groups too."""
    context = click.Context(program)
    for name in COMMANDS:
        found = program.get_command(context, name)
        assert found is not None
        yield from with_inner(name, found)


def with_inner(name: str, found: click.Command) -> Iterator[tuple[str, click.Command]]:
    """A command, and those within it."""
    yield name, found
    if isinstance(found, click.Group):
        for inner, command in found.commands.items():
            yield from with_inner(f"{name} {inner}", command)


ALL = dict(commands())


def sections() -> dict[str, str]:
    """The page's sections by command."""
    parts = re.split(r"^#{2,4} `asset ([a-z -]+)`$", COMMANDS_PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_commands__are_those_that_exist() -> None:
    """The page has a section for each command, in the program's order, and for no other."""
    assert list(sections()) == list(ALL)


@pytest.mark.parametrize("name", ALL)
def test_command__options_are_those_that_exist(name: str) -> None:
    """A command's section names each of its own options, and no other."""
    own = {o for p in ALL[name].params if isinstance(p, click.Option) for o in p.opts} - SHARED
    table = "\n".join(line for line in sections()[name].splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(--?[a-z-]+)", table)) == own


@pytest.mark.parametrize("name", ALL)
def test_command__says_all_that_matters(name: str) -> None:
    """A command's section has its sentence, its JSON, its exit codes, and an example that is one of its help's."""
    section, help_text = sections()[name], ALL[name].help or ""
    assert ALL[name].short_help in section
    assert "\nJSON: " in section
    assert "\nExit codes: " in section
    examples = [line.strip() for line in help_text.partition("Examples:\n")[2].splitlines()]
    assert all(example in section for example in examples)


def test_shared_options() -> None:
    """The options of every command are in the page's tables."""
    head = COMMANDS_PAGE.partition("## `asset push`")[0]
    assert {name for name in SHARED if f"`{name}" not in head} == set()
    assert "`asset --version`" in head


def test_error_kinds() -> None:
    """Each kind stands in the table with its exit code, and no other kind."""
    table = dict(re.findall(r"^\| \d+ \| `(\w+)` \|()", COMMANDS_PAGE, flags=re.MULTILINE))
    assert set(table) == set(KINDS)
    for kind, (code, _, _) in KINDS.items():
        assert f"| {code} | `{kind}` |" in COMMANDS_PAGE


def test_settings__are_those_that_exist() -> None:
    """Each setting stands in the table in the program's order, and no other."""
    table = SETTINGS_PAGE.partition("## The settings\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z0-9_.]+)` \|", table, flags=re.MULTILINE) == list(KEYS)


@pytest.mark.parametrize("name", KEYS)
def test_setting__variables(name: str) -> None:
    """A setting's row names each variable that gives it."""
    row = next(line for line in SETTINGS_PAGE.splitlines() if line.startswith(f"| `{name}` |"))
    assert set(re.findall(r"`([A-Z][A-Z0-9_]+_[A-Z0-9_]+)`", row.split("|")[2])) == set(KEYS[name].environment)


def test_settings__aliases_and_other_variables() -> None:
    """The seed's names, and the variables that are no setting's, are on the page."""
    others = ["HOLDFAST_CONFIG", "HOLDFAST_PROFILE", "MODELKIT_STORAGE_PROVIDER", "MODELKIT_STORAGE_BUCKET"]
    seeds = [alias for alias in ALIASES if "-" in alias or alias.startswith("bucket")]
    for word in (*others, "MODELKIT_STORAGE_PREFIX", "asset-server-url", "bucket_mt_config"):
        assert f"`{word}`" in SETTINGS_PAGE
    assert {"asset-server-url", "bucket_mt_config"} <= set(seeds)


def test_settings__of_a_store() -> None:
    """Each limit and default of a store stands in the table."""
    from holdfast.formats.records import StoreRecord

    fixed = {"format", "id", "origin", "created"}
    table = SETTINGS_PAGE.partition("## Settings of a store\n")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)) == set(StoreRecord.__struct_fields__) - fixed
