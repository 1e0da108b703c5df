"""``asset config``."""

from __future__ import annotations

import stat

import pytest

from tests.e2e.conftest import needs_rights


def test_config__shows_values_and_origins(asset) -> None:
    """Every setting stands with its value and where that comes from; secrets are masked."""
    asset.ok("config", "set", "token", "hush")
    asset.ok("config", "set", "region", "eu")
    shown = asset.ok("config", "--json", AWS_REGION="us").json
    assert shown["settings"]["store"] == {"value": asset.store, "origin": "environment variable HOLDFAST_STORE"}
    assert shown["settings"]["region"] == {"value": "us", "origin": "environment variable AWS_REGION"}
    assert shown["settings"]["token"] == {"value": "********", "origin": str(asset.config)}
    assert shown["file"] == str(asset.config)
    out = asset.ok("config").out
    assert "hush" not in out
    assert out.splitlines()[0].split() == ["SETTING", "VALUE", "ORIGIN"]


def test_config__argument_wins(asset) -> None:
    """--store before or after the command is an argument."""
    for args in (("--store", "s3://b", "config"), ("config", "--store", "s3://b")):
        assert asset.ok(*args, "--json").json["settings"]["store"] == {"value": "s3://b", "origin": "argument"}


def test_set__and_unset(asset) -> None:
    """A value is written to a private file, and removed again; a secret is not repeated."""
    assert asset.ok("config", "set", "cache.max_size", "10G").lines == ["cache.max_size is 10.0 GiB"]
    assert stat.S_IMODE(asset.config.stat().st_mode) == 0o600
    assert asset.ok("config", "--json").json["settings"]["cache.max_size"]["value"] == 10 * 1024**3
    assert asset.ok("config", "unset", "cache.max_size", "--json").json == {
        "changed": {"cache.max_size": None}, "dry_run": False,
    }  # fmt: skip
    assert "hush" not in asset.ok("config", "set", "token", "hush").out


def test_set__dry_run(asset) -> None:
    """--dry-run checks and writes nothing."""
    assert asset.ok("config", "set", "region", "eu", "--dry-run").lines == ["region would be eu"]
    assert not asset.config.exists()


def test_set__in_profile(asset) -> None:
    """--profile says which profile is written and read."""
    asset.ok("--profile", "work", "config", "set", "region", "eu")
    assert asset.ok("config", "--profile", "work", "--json").json["settings"]["region"]["origin"] == (
        f"profile work in {asset.config}"
    )
    assert asset.ok("config", "--json").json["settings"]["region"]["value"] is None
    assert asset.error(2, "config", "--profile", "wrok")["hint"] == "did you mean 'work'?"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("set", "regoin", "x"), "unknown setting 'regoin'"),
        (("set", "store", "s4://x"), "unknown scheme"),
        (("set", "cache.max_size", "much"), "not a size"),
        (("unset", "regoin"), "unknown setting"),
        (("mount", "ftp://b", "/m"), "not a bucket's URL"),
        (("unmount", "s3://b"), "no mount of s3://b"),
        (("set", "region"), "Missing argument"),
        (("get", "region"), "No such command"),
    ],
)
def test_config__refused(asset, args: tuple[str, ...], words: str) -> None:
    """What is no setting or no value of it is exit 2, and nothing is written."""
    assert words in asset.error(2, "config", *args)["message"]
    assert not asset.config.exists()


def test_mounts__both_spellings(asset) -> None:
    """Mounts are added by the seed's spelling and by mount, one by one, and removed by unmount."""
    asset.ok("config", "set", "bucket_mt_config", '"s3://a":"/mnt/a"')
    asset.ok("config", "set", "mounts", '"s3://b":"/mnt/b"')
    asset.ok("config", "mount", "gs://c", "/mnt/c")
    assert asset.ok("config", "unmount", "s3://a").lines == ["s3://a is not mounted"]
    assert asset.ok("config", "--json").json["settings"]["mounts"]["value"] == {"s3://b": "/mnt/b", "gs://c": "/mnt/c"}


def test_server__seeds_name(asset) -> None:
    """The seed's asset-server-url is server."""
    assert asset.ok("config", "set", "asset-server-url", "https://host/").lines == ["server is https://host"]


def test_set__store_wide(pushed) -> None:
    """--store-wide changes a limit or default in the store itself."""
    assert pushed.ok("config", "set", "--store-wide", "push_limit", "7200").lines == ["push_limit is 7200"]
    assert '"push_limit":7200' in (pushed.folder / "store/.holdfast/store.json").read_text().replace(" ", "")
    assert pushed.error(2, "config", "set", "--store-wide", "pushlimit", "7200")["kind"] == "usage"
    assert not pushed.config.exists()


@pytest.mark.parametrize("key", ["undo", "grace"])
def test_set__store_wide_too_long(pushed, key: str) -> None:
    """A limit of more than a hundred years, whose end no date can tell, is refused, and the store goes on as it was."""
    assert "hundred years" in pushed.error(2, "config", "set", "--store-wide", key, "9" * 26)["message"]
    pushed.ok("remove", "nlp/bert:0.0", "--yes")
    pushed.ok("restore", "nlp/bert:0.0")
    pushed.ok("config", "set", "--store-wide", key, str(99 * 365 * 86_400))
    pushed.ok("remove", "nlp/bert:0.0", "--yes")
    pushed.ok("collect")
    pushed.ok("restore", "nlp/bert:0.0")
    pushed.ok("repair")


def test_set__store_wide_dry_run(pushed) -> None:
    """--dry-run leaves the store as it is."""
    before = (pushed.folder / "store/.holdfast/store.json").read_text()
    pushed.ok("config", "set", "--store-wide", "push_limit", "7200", "--dry-run")
    assert (pushed.folder / "store/.holdfast/store.json").read_text() == before


def test_file__unknown_names_are_warned_of(pushed) -> None:
    """A name in the file that is no setting is warned of on stderr, unless -q."""
    pushed.config.parent.mkdir(parents=True)
    pushed.config.write_text("stroe = 1\n")
    assert "unknown setting 'stroe'" in pushed.ok("list").err
    assert pushed.ok("list", "-q").err == ""


def test_file__broken(pushed) -> None:
    """A file that is not TOML is exit 2 and named."""
    pushed.config.parent.mkdir(parents=True)
    pushed.config.write_text("stroe\n")
    assert "config.toml is not TOML" in pushed.error(2, "list")["message"]


def test_config_set__masks_what_it_prints(asset) -> None:
    """Credentials within a URL are masked where it is set, too, and kept in the file as they are."""
    for words in ((), ("--json",), ("--dry-run",)):
        told = asset.ok("config", "set", "server", "http://user:secret-word@h/x", *words).out
        assert "********@h/x" in told
        assert "secret-word" not in told
    assert "secret-word" in asset.config.read_text()


@needs_rights
def test_config__in_a_folder_that_is_closed(asset) -> None:
    """Settings in a folder that may not be entered, as sudo may leave it, are an error that names them, and not taken for none."""
    asset.ok("config", "set", "versioning", "simple_date")
    asset.config.parent.chmod(0)
    code, told = asset.without_rights("config")
    asset.config.parent.chmod(0o700)
    assert (code, told["error"]["kind"]) == (1, "local")
    assert told["error"]["message"] == f"cannot read {asset.config}: Permission denied"
