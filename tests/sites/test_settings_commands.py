"""``asset site init``, ``check`` and ``show``."""

from __future__ import annotations

import os
import stat
import tomllib

import pytest


def test_init__writes_what_check_accepts(site):
    """The file that init writes is for its owner only from birth, holds every setting, and is accepted."""
    from holdfast.sites.settings import _KEYS

    old = os.umask(0)
    try:
        site.ok("--store", "s3://b/p", "site", "init", "--file", "new.toml", "--site-url", "www.example.com")
    finally:
        os.umask(old)
    path = site.folder / "new.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert site.site("check", "--file", "new.toml")["ok"]
    text = path.read_text()
    assert tomllib.loads(text)["stores"] == [{"url": "s3://b/p"}]
    assert [
        key for key in _KEYS if f"{key} = " not in text and f"[[{key}]]" not in text and f"[{key}]" not in text
    ] == ["legacy_dots"]


def test_init__never_over_another(site):
    """init refuses a file that exists, and leaves it as it was."""
    before = (site.folder / "site.toml").read_bytes()
    assert site.fails(4, "init", "--site-url", "www.example.com")["kind"] == "already_exists"
    assert (site.folder / "site.toml").read_bytes() == before


def test_init__from_a_template(site):
    """The file that init writes from a template says what the template says, in our names, and none of its keys."""
    from dataclasses import replace

    from holdfast.sites.settings import read_file, read_template

    template = site.folder / "t.tmpl"
    template.write_text(
        'export WEBSITE_URL="www.example.com"\nexport WEBSITE_DISPLAY_NAME="The_\\"Site\\""\nexport APPLICATION="joomla"\n'
        'export BUILD_ARCHIVE_CHOICE="hourly"\nexport PERSIST_ASSETS_TO_CLOUD="1"\nexport SYNC_WEBROOTS="1"\n'
        'export DIRECTORIES_TO_MOUNT="images:media/videos"\nexport DATASTOREMOUNTTOOL="goof"\nexport HOLDFAST_STATE="/srv/state"\n'
        'export S3_HOST_BASE="s3.one.com|s3.two.com"\nexport S3_ACCESS_KEY="AK|BK"\nexport S3_SECRET_KEY="very/secret+|other/secret+"\n'
    )
    ended = site.ok("site", "init", "--template", "t.tmpl", "--file", "new.toml", "--json")
    assert "credentials" in ended.err
    written, problems = read_file(site.folder / "new.toml")
    assert problems == []
    said, wrong, _ = read_template(template)
    assert wrong == []
    stores = tuple(replace(store, keys={}) for store in said.stores)
    assert replace(written, names={}, keep={}) == replace(said, names={}, stores=stores)
    assert len(written.stores) == 2
    text = (site.folder / "new.toml").read_text()
    assert "secret+" not in text + ended.out + ended.err
    assert stat.S_IMODE((site.folder / "new.toml").stat().st_mode) == 0o600
    assert site.fails(4, "init", "--template", "t.tmpl")["kind"] == "already_exists"
    assert site.ok("site", "init", "--template", "t.tmpl", "--policies").out
    template.write_text('export APPLICATION="joomla"\n')
    assert "--site-url" in site.fails(2, "init", "--template", "t.tmpl", "--file", "x.toml")["message"]
    site.ok("site", "init", "--template", "t.tmpl", "--file", "x.toml", "--site-url", "a.b", "--store", "file:///b")
    other, _ = read_file(site.folder / "x.toml")
    assert (other.site_url, other.application, other.stores[0].url) == ("a.b", "joomla", "file:///b")
    template.write_text('export SYNC_WEBROOTS="2"\n')
    assert "SYNC_WEBROOTS" in site.fails(2, "init", "--template", "t.tmpl", "--file", "y.toml")["message"]
    assert not (site.folder / "y.toml").exists()


def test_check__explains_each_rule(site):
    """check tells each rule and which refuse, exits with 2 where one does, and touches nothing."""
    from holdfast.sites.plan import RULES

    site.write('build = "baseline"\npersist_assets_to_cloud = 1\n')
    before = sorted(site.folder.rglob("*"))
    ended = site("site", "check")
    assert ended.code == 2
    assert all(sentence in ended.out for sentence, _ in RULES.values())
    assert "refused  With a virgin or baseline build" in ended.out
    assert "error: persist_assets_to_cloud: must be 0" in ended.out
    assert [path for path in sorted(site.folder.rglob("*")) if "home" not in path.parts] == [
        path for path in before if "home" not in path.parts
    ]


def test_check__json(site):
    """check --json is one document of ok, errors, warnings, plan and advice."""
    site.write("persist_assets_to_cloud = 1\n")
    document = site.site("check")
    assert set(document) == {"ok", "errors", "warnings", "plan", "advice"}
    assert document["plan"]["mounts"][0]["buckets"] == ["www-example-com-assets-images"]
    site.write('persist_assets_to_cloud = 1\nbuild = "virgin"\n')
    ended = site("site", "check", "--json")
    assert ended.code == 2
    assert ended.json["plan"] is None
    assert ended.json["errors"][0]["setting"] == "persist_assets_to_cloud"


def test_check__template(site):
    """A template's errors are told by the seed's names, and its secrets by nobody."""
    (site.folder / "t.tmpl").write_text(
        'export WEBSITE_URL="www.example.com"\nexport APPLICATION="joomla"\nexport BUILD_ARCHIVE_CHOICE="baseline"\n'
        'export PERSIST_ASSETS_TO_CLOUD="1"\nexport S3_HOST_BASE="s3.example.com"\n'
        "export S3_ACCESS_KEY='AK'\nexport S3_SECRET_KEY='very/secret+'\n"
    )
    ended = site("site", "check", "--template", "t.tmpl", "--json")
    assert ended.json["errors"][0]["setting"] == "PERSIST_ASSETS_TO_CLOUD"
    shown = site("site", "show", "--template", "t.tmpl")
    assert "very/secret+" not in ended.out + ended.err + shown.out + shown.err
    text = (site.folder / "t.tmpl").read_text().replace("baseline", "hourly")
    (site.folder / "t.tmpl").write_text(text)
    shown = site.ok("site", "show", "--template", "t.tmpl", "--json")
    assert "very/secret+" not in shown.out
    assert shown.json["stores"][0]["endpoint"] == "https://s3.example.com"


def test_check__template_with_a_command(site):
    """A template with a command substitution is refused, and the command does not run."""
    (site.folder / "t.tmpl").write_text(f'export WEBSITE_URL="$(touch {site.folder}/run)"\n')
    assert "command substitution" in site.fails(2, "check", "--template", "t.tmpl")["message"]
    assert not (site.folder / "run").exists()


@pytest.mark.parametrize("text", ["x = ", "\xff", "[stores"])
def test_check__no_toml(site, text):
    """A file that is no TOML is refused with what is wrong with it."""
    (site.folder / "site.toml").write_text(text, encoding="latin-1")
    assert site.fails(2, "show")["kind"] == "usage"


def test_check__no_file(site):
    """Without a file, init is named."""
    (site.folder / "site.toml").unlink()
    error = site.fails(1, "show")
    assert "asset site init" in error["hint"]
    assert site.fails(2, "show", "--file", "a", "--template", "b")["kind"] == "usage"


def test_show__is_the_plan(site):
    """show prints the resolved plan, and refuses where check does."""
    site.write(
        'persist_assets_to_cloud = 1\ndirectories_to_mount = "images:merge=media/data2"\n', stores=("one", "two")
    )
    shown = site.site("show")
    assert [mount["place"] for mount in shown["mounts"]] == [f"{site.webroot}/images", f"{site.webroot}/media/data"]
    assert len(shown["stores"]) == 2
    assert "www-example-com-assets-media-data2" in site.ok("site", "show").out
    site.write("persist_assets_to_cloud = 2\n")
    assert "persist_assets_to_cloud" in site.fails(2, "show")["message"]


def test_check__looks_at_the_backup(site):
    """check tells a listed directory that the newest backup lacks, and warns where there is no backup or no store answers."""
    site.site("backup", "--period", "hourly")
    site.write('persist_assets_to_cloud = 1\ndirectories_to_mount = "images:docs"\n')
    ended = site("site", "check", "--json")
    assert ended.code == 2
    assert "'docs' is no directory of the backup sites/www-example-com/hourly:" in ended.json["errors"][0]["message"]
    site.write('persist_assets_to_cloud = 1\nbuild = "daily"\n')
    assert "no backup daily" in site.site("check")["warnings"][0]["message"]
    (site.folder / "one").rename(site.folder / "away")
    site.write("persist_assets_to_cloud = 1\n")
    assert "could not be looked at" in site.site("check")["warnings"][0]["message"]
