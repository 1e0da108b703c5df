"""The rules of a site's settings: each refuses what it must, by the setting's name, before anything is touched."""

from __future__ import annotations

import pytest

from holdfast.sites.plan import RULES, Facts, resolve
from holdfast.sites.settings import from_table

BASE = {"site_url": "www.example.com", "build": "hourly", "stores": "s3://b/p", "persist_assets_to_cloud": 1}


def resolved(facts=None, **settings):
    """The outcome of these settings."""
    found, problems = from_table(BASE | settings)
    return resolve(found, facts or Facts(), problems=tuple(problems))


def refused(**settings):
    """The settings that are refused, and all that is said of them."""
    outcome = resolved(**settings)
    assert outcome.plan is None
    return {problem.setting for problem in outcome.errors}, " ".join(problem.message for problem in outcome.errors)


@pytest.mark.parametrize("build", ["virgin", "baseline"])
def test_ladder__no_media_in_buckets(build):
    """A virgin or baseline build with media in buckets is refused."""
    assert refused(build=build, directories_to_mount="images")[0] == {"persist_assets_to_cloud"}


@pytest.mark.parametrize("build", ["hourly", "daily", "weekly", "monthly", "bimonthly", "shutdown", "manual"])
def test_ladder__every_period(build):
    """A site is deployed from a backup of any period, with or without media in buckets."""
    assert resolved(build=build, directories_to_mount="images").plan.mounts[0].directory == "images"
    assert resolved(build=build, persist_assets_to_cloud=0).plan.mode == "plain"


def test_named__no_directory():
    """Media in buckets without a directory are refused, unless the application has directories of its own."""
    setting, text = refused()
    assert setting == {"directories_to_mount"}
    assert "names no directory" in text


@pytest.mark.parametrize(
    ("application", "media"),
    [
        ("joomla", "images"),
        ("wordpress", "wp-content/uploads"),
        ("drupal", "sites/default/files"),
        ("moodle", "moodledata/filedir"),
    ],
)
def test_named__the_applications_own(application, media):
    """Where no directory is listed, the application's own are mounted."""
    plan = resolved(application=application).plan
    assert [mount.place for mount in plan.mounts] == [f"/var/www/html/{media}"]


def test_not_persisted__directories_are_ignored():
    """With persist_assets_to_cloud 0 the directories are ignored with a warning: media are in every backup."""
    outcome = resolved(persist_assets_to_cloud=0, directories_to_mount="images")
    assert outcome.plan.mounts == ()
    assert outcome.plan.exclude == ()
    assert [warning.setting for warning in outcome.warnings] == ["directories_to_mount"]


def test_list__all_of_it():
    """A list of three directories is three directories with a bucket each."""
    plan = resolved(directories_to_mount="images:media/videos:docs").plan
    assert [mount.buckets for mount in plan.mounts] == [
        ("www-example-com-assets-images",),
        ("www-example-com-assets-media-videos",),
        ("www-example-com-assets-docs",),
    ]


def test_merge__mixed_with_plain():
    """merge=images6:media/data is seven buckets and two places, the branches outside of the webroot."""
    plan = resolved(directories_to_mount="merge=images6:media/data").plan
    assert [len(mount.buckets) for mount in plan.mounts] == [6, 1]
    assert plan.mounts[0].buckets[5] == "www-example-com-assets-images6"
    assert plan.mounts[0].branches[0] == "/var/www/images1"
    assert plan.mounts[0].place == "/var/www/html/images"


@pytest.mark.parametrize(
    "item", ["merge=images10", "merge=images", "merge=images0", "merge=4", "merge=", "merge=WHOLE-WEBROOT3"]
)
def test_merge__one_digit(item):
    """A merge that does not end in one digit from 1 to 9 is refused, not read as another directory."""
    assert refused(directories_to_mount=item)[0] == {"directories_to_mount"}


@pytest.mark.parametrize("word", ["WHOLE-WEBROOT", "WHOLE", "webroot"])
def test_whole__any_of_its_words(word):
    """WHOLE-WEBROOT, and what the original called it later, is the web directory itself in one bucket."""
    plan = resolved(directories_to_mount=word).plan
    assert plan.mode == "whole"
    assert plan.mounts[0].place == "/var/www/html"
    assert plan.mounts[0].buckets == ("www-example-com-assets-webroot",)


def test_whole__mounter_that_cannot_overwrite():
    """A whole webroot with a mounter that can neither rename nor overwrite is refused."""
    assert refused(directories_to_mount="WHOLE-WEBROOT", mounter="mount-s3")[0] == {"mounter"}
    warned = resolved(directories_to_mount="WHOLE-WEBROOT", mounter="s3fs").warnings
    assert [warning.setting for warning in warned] == ["mounter"]


@pytest.mark.parametrize(
    "text",
    [
        "images:images",
        "images:images/2024",
        "a/b:a",
        "WHOLE-WEBROOT:images",
        "images:/var/www/html/images/x",
        "merge=images2:images/x",
    ],
)
def test_overlap__is_refused(text):
    """Nested, overlapping and repeated directories are refused, absolute paths within the webroot too."""
    setting, said = refused(directories_to_mount=text)
    assert setting >= {"directories_to_mount"}
    assert "lie in each other" in said or "the same directory" in said


def test_overlap__names_that_only_begin_alike():
    """images and images2 do not overlap."""
    assert len(resolved(directories_to_mount="images:images2").plan.mounts) == 2


@pytest.mark.parametrize("path", ["/etc", "/etc/nginx", "/usr/share/x", "/", "/var", "/home", "/proc/1", "/root/x"])
def test_absolute__the_systems(path):
    """A directory of the system is never mounted over, whatever absolute_roots says."""
    setting, _ = refused(directories_to_mount=[path], absolute_roots=["/", "/etc", "/usr", "/var", "/proc", "/root"])
    assert setting == {"directories_to_mount"}


def test_absolute__outside_of_the_roots():
    """An absolute directory outside of absolute_roots is refused, one inside is mounted just there."""
    assert "absolute_roots" in refused(directories_to_mount="/var/www/private")[1]
    plan = resolved(directories_to_mount="/var/www/private", absolute_roots=["/var/www"]).plan
    assert plan.mounts[0].place == "/var/www/private"


@pytest.mark.parametrize("path", ["../etc", "images/../../x", "./images", "a//b", "a\nb"])
def test_path__that_leads_elsewhere(path):
    """A path with an empty piece, a dot or two, or a control character is refused."""
    assert refused(directories_to_mount=[path])[0] == {"directories_to_mount"}


@pytest.mark.parametrize("directory", ["Images", "my_uploads", "x" * 80])
def test_bucket__refused_with_another(directory):
    """A name that no bucket can have is refused with one that would do, and that one is then taken."""
    _, said = refused(directories_to_mount=[directory])
    name = said.rpartition(' = "')[2].rstrip('"')
    plan = resolved(directories_to_mount=[directory], buckets={directory: name}).plan
    assert plan.mounts[0].buckets == (name,)


def test_bucket__collision():
    """a/b and a-b, which would share a bucket, are refused."""
    assert "would share the bucket" in refused(directories_to_mount="a/b:a-b")[1]
    assert "would share the bucket" in refused(directories_to_mount="merge=images2:images1")[1]


def test_backup__lacks_a_directory():
    """A listed directory that the backup lacks is refused by name."""
    facts = Facts("hourly:1", frozenset({"images"}))
    outcome = resolved(facts, directories_to_mount="images:docs")
    assert [problem.message for problem in outcome.errors] == ["'docs' is no directory of the backup hourly:1"]
    assert resolved(facts, directories_to_mount="images").plan is not None


def test_config_file__in_a_mounted_directory():
    """A mounted directory that holds the configuration file is refused."""
    assert "secrets" in refused(application="drupal", directories_to_mount="sites/default")[1]


@pytest.mark.parametrize("stores", ["https://host/project", "ftp://x", [], ["s3://a/b", "s3://a/b/"], ["s3://a", 3]])
def test_stores__must_be_buckets(stores):
    """A server, an unknown scheme, no store, and one store twice are refused."""
    assert refused(directories_to_mount="images", stores=stores)[0] == {"stores"}


def test_legacy_dots__only_when_asked():
    """Dots are slashes only behind the flag, with a warning."""
    assert "'wp-content.uploads' would get the bucket" in refused(directories_to_mount="wp-content.uploads")[1]
    outcome = resolved(directories_to_mount="wp-content.uploads", legacy_dots=True)
    assert outcome.plan.mounts[0].directory == "wp-content/uploads"
    assert [warning.setting for warning in outcome.warnings] == ["legacy_dots"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("persist_assets_to_cloud", "yes"),
        ("webroot", "www"),
        ("webroot", "/a/../b"),
        ("lease", "1s"),
        ("keep", {"hourly": {"minutes": 3}}),
        ("keep", {"ly": {"last": 3}}),
        ("before_backup", ["mysqldump"]),
        ("before_backup", [{"run": ["x"], "into": "../x"}]),
        ("buckets", ["x"]),
        ("typo", 1),
        ("site_url", "Not A Host"),
        ("build", "ly"),
        ("build", ""),
        ("application", "jomla"),
        ("mounter", "nfs"),
        ("local", ["../x"]),
        ("webroot", "/etc"),
    ],
)
def test_value__that_cannot_be(name, value):
    """A value that a setting cannot have is refused by the setting's name."""
    assert name in refused(directories_to_mount="images", **{name: value})[0]


def test_rules__each_has_a_sentence():
    """Every rule is explained by a sentence of its own."""
    sentences = [sentence for sentence, _ in RULES.values()]
    assert len(set(sentences)) == len(sentences)
    assert all(sentence.endswith(".") for sentence in sentences)
