"""Settings: where values come from, what they may be, and how the file is written."""

from __future__ import annotations

import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from holdfast.config import KEYS, load
from holdfast.config.file import mount, set_value, unmount, unset_value
from holdfast.config.keys import parse_size
from holdfast.errors import LocalError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the settings' file of a test would be."""
    return tmp_path / "folder" / "config.toml"


def written(file: Path, text: str) -> Path:
    """The file with this text."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return file


def test_order__argument_environment_profile_file_default(file: Path) -> None:
    """A value is taken from the argument, else the environment, else the profile, else the file, else the default."""
    written(file, 'region = "from-file"\n[profiles.work]\nregion = "from-profile"\n')
    environ = {"AWS_REGION": "from-environment"}
    seen = [
        load({"region": "from-argument"}, environ, "work", file),
        load({}, environ, "work", file),
        load({}, {}, "work", file),
        load({}, {}, None, file),
        load({}, {}, None, file.parent / "none.toml"),
    ]
    assert [settings.region for settings in seen] == [
        "from-argument", "from-environment", "from-profile", "from-file", None,
    ]  # fmt: skip
    assert [settings.origins["region"] for settings in seen] == [
        "argument", "environment variable AWS_REGION", f"profile work in {file}", str(file), "default",
    ]  # fmt: skip


def test_environment__first_variable_wins(tmp_path: Path) -> None:
    """Of several variables for one setting the first that is set and not empty counts."""
    environ = {"HOLDFAST_ASSETS_DIR": "", "MODELKIT_ASSETS_DIR": str(tmp_path / "a"), "ASSETS_DIR": str(tmp_path / "b")}
    settings = load({}, environ)
    assert settings.assets_dir == tmp_path / "a"
    assert settings.origins["assets_dir"] == "environment variable MODELKIT_ASSETS_DIR"


def test_environment__process_is_default(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """Without an environment given, the process's own is read, and a copy is kept."""
    monkeypatch.setenv("HOLDFAST_STORE", "s3://from-process/p")
    settings = load(file=file)
    assert settings.store == "s3://from-process/p"
    assert settings.environ["HOLDFAST_STORE"] == "s3://from-process/p"


def test_file__moved_by_variable(file: Path) -> None:
    """HOLDFAST_CONFIG says where the file is."""
    written(file, "[cache]\nmax_size = '10G'\n")
    settings = load({}, {"HOLDFAST_CONFIG": str(file)})
    assert (settings.cache_max_size, settings.file) == (10 * 1024**3, file)


def test_folders__follow_xdg(tmp_path: Path) -> None:
    """On Linux the file and the cache lie where the XDG variables, or the home folder, say."""
    if sys.platform != "linux":
        pytest.skip("the rule of other platforms is platformdirs'")
    settings = load({}, {"XDG_CONFIG_HOME": str(tmp_path / "c"), "HOME": str(tmp_path)})
    assert settings.file == tmp_path / "c" / "holdfast" / "config.toml"
    assert settings.cache_dir == tmp_path / ".cache" / "holdfast"
    assert settings.state_dir == tmp_path / ".local" / "state" / "holdfast"
    assert settings.assets_dir == tmp_path / ".cache" / "holdfast" / "assets"


def test_folders__agree_with_platformdirs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The shortcut gives what platformdirs gives."""
    import platformdirs

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "k"))
    monkeypatch.delenv("HOLDFAST_CONFIG", raising=False)
    settings = load()
    assert settings.file == platformdirs.user_config_path("holdfast") / "config.toml"
    assert settings.cache_dir == platformdirs.user_cache_path("holdfast")
    assert settings.state_dir == platformdirs.user_state_path("holdfast")


def test_profile__from_variable_and_file(file: Path) -> None:
    """The profile is the one asked for, else HOLDFAST_PROFILE, else the one that the file names."""
    written(file, 'profile = "a"\n[profiles.a]\nregion = "a"\n[profiles.b]\nregion = "b"\n[profiles.c]\nregion = "c"\n')
    environ = {"HOLDFAST_PROFILE": "b"}
    assert [load({}, environ, "c", file).region, load({}, environ, None, file).region, load({}, {}, None, file).region] == [
        "c", "b", "a",
    ]  # fmt: skip


def test_profile__unknown(file: Path) -> None:
    """An unknown profile is refused with the nearest name."""
    written(file, "[profiles.work]\n")
    with pytest.raises(UsageError, match="unknown profile 'wrok'") as error:
        load({}, {}, "wrok", file)
    assert error.value.hint == "did you mean 'work'?"


def test_argument__unknown() -> None:
    """An argument that is no setting is refused; None counts as not given."""
    with pytest.raises(UsageError, match="unknown setting 'regoin'"):
        load({"regoin": "x"}, {})
    assert load({"region": None}, {}).region is None


def test_file__unknown_names_are_reported(file: Path) -> None:
    """Names in the file that are no settings are kept apart and do no harm."""
    written(file, 'stroe = "s3://b"\n[cache]\nmax_sise = 1\n')
    assert load({}, {}, None, file).unknown == ("cache.max_sise", "stroe")


@pytest.mark.parametrize("text", ["store = ", "profiles = 3", "\xff"])
def test_file__broken(file: Path, text: str) -> None:
    """A file that cannot be read as settings is a usage error that names it."""
    file.parent.mkdir()
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=r"config\.toml"):
        load({}, {}, None, file)


def test_file__is_a_folder(file: Path) -> None:
    """A folder in place of the file is an error of the local disk."""
    file.mkdir(parents=True)
    with pytest.raises(LocalError, match="cannot read"):
        load({}, {}, None, file)


@pytest.mark.parametrize(
    ("environ", "store"),
    [
        ({"MODELKIT_STORAGE_PROVIDER": "s3", "MODELKIT_STORAGE_BUCKET": "b"}, "s3://b/modelkit-assets"),
        ({"MODELKIT_STORAGE_PROVIDER": "gcs", "MODELKIT_STORAGE_BUCKET": "b"}, "gs://b/modelkit-assets"),
        (
            {"MODELKIT_STORAGE_PROVIDER": "az", "MODELKIT_STORAGE_BUCKET": "b", "MODELKIT_STORAGE_PREFIX": "p"},
            "az://b/p",
        ),
        ({"MODELKIT_STORAGE_PROVIDER": "local", "MODELKIT_STORAGE_BUCKET": "/d"}, "file:///d/modelkit-assets"),
        ({"MODELKIT_STORAGE_PROVIDER": "s3", "MODELKIT_STORAGE_BUCKET": "b", "HOLDFAST_STORE": "s3://c"}, "s3://c"),
        ({"ASSET_SERVER_URL": "https://h/", "ASSET_PROJECT": "p"}, "https://h/p"),
        ({"ASSET_SERVER_URL": "https://h", "ASSET_PROJECT": "p", "HOLDFAST_STORE": "s3://c"}, "s3://c"),
        ({"HOLDFAST_STORE": "gcs://bucket/x"}, "gs://bucket/x"),
        ({"HOLDFAST_STORE": "/a/b c"}, "file:///a/b%20c"),
        ({}, None),
    ],
)
def test_store__is_made(environ: dict[str, str], store: str | None) -> None:
    """The store is the one set, else a project on the server, else what modelkit's variables make."""
    assert load({}, environ).store == store


def test_store__project_given_beats_store_set() -> None:
    """A project given as an argument is stronger than a store from the environment."""
    settings = load({"project": "p"}, {"HOLDFAST_STORE": "s3://b", "ASSET_SERVER_URL": "http://h:1"})
    assert settings.store == "http://h:1/p"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"ASSET_PROJECT": "p"}, "no server"),
        ({"MODELKIT_STORAGE_PROVIDER": "s4", "MODELKIT_STORAGE_BUCKET": "b"}, "s4"),
        ({"MODELKIT_STORAGE_PROVIDER": "s3"}, "no MODELKIT_STORAGE_BUCKET"),
    ],
)
def test_store__cannot_be_made(environ: dict[str, str], message: str) -> None:
    """What is missing to make the store is named."""
    with pytest.raises(UsageError, match=message):
        load({}, environ)


@pytest.mark.parametrize(
    ("store", "prefix", "result"),
    [
        ("s3://b/old/deep", "new", "s3://b/new"),
        ("s3://b/old", "", "s3://b"),
        ("gs://b", "/a/b/", "gs://b/a/b"),
        ("file:///d", "p", "file:///d/p"),
    ],
)
def test_storage_prefix__replaces(store: str, prefix: str, result: str) -> None:
    """A prefix given explicitly takes the place of the store's own; below a directory it is added."""
    assert load({"store": store, "storage_prefix": prefix}, {}).store == result


def test_storage_prefix__beats_modelkits() -> None:
    """A prefix given explicitly takes the place of modelkit's, too."""
    environ = {"MODELKIT_STORAGE_PROVIDER": "s3", "MODELKIT_STORAGE_BUCKET": "b", "MODELKIT_STORAGE_PREFIX": "p"}
    assert load({"storage_prefix": "q"}, environ).store == "s3://b/q"
    with pytest.raises(UsageError, match="storage_prefix"):
        load({"store": "https://h/p", "storage_prefix": "q"}, {})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("store", "s4://b", "unknown scheme 's4'"),
        ("store", "s3://", "no bucket"),
        ("store", "s3:/bucket", "not a store URL"),
        ("store", "bucket/prefix", "not a store URL"),
        ("store", "file://relative", "not absolute"),
        ("server", "host", "not an address"),
        ("project", "a/b", "not a project's name"),
        ("cache.max_size", "10X", "not a size"),
        ("cache.max_size", -1, "not a size"),
        ("cache.timeout", "soon", "not a number of seconds"),
        ("store_timeout", "0", "too short"),
        ("store_timeout", "soon", "not a number of seconds"),
        ("versioning", "semver", "unknown version scheme"),
        ("s3.path_style", "maybe", "neither on nor off"),
        ("s3.checksum", "md5", "not a checksum"),
        ("mounts", "nonsense", "not JSON"),
        ("mounts", "[1]", "not JSON"),
        ("mounts", {"ftp://b": "/m"}, "not a bucket's URL"),
        ("mounts", {"s3://b": "m"}, "not absolute"),
        ("mounts", {"s3://b": 3}, "not a bucket URL and a path"),
        ("region", "a\nb", "printable"),
        ("assets_dir", "", "not a path"),
    ],
)
def test_value__refused(name: str, value: object, message: str) -> None:
    """A value that a setting does not take is refused, naming the setting and the origin."""
    with pytest.raises(UsageError, match=message) as error:
        load({name: value}, {})
    assert f"setting {name!r} (from argument)" in error.value.message
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("17", 17),
        ("10K", 10240),
        ("10 MiB", 10 * 1024**2),
        ("1.5g", 3 * 512**3 * 4),
        ("2GB", 2 * 1000**3),
        (5, 5),
    ],
)
def test_size__units(text: object, size: int) -> None:
    """Sizes count by 1024, with a B after the unit by 1000."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ['{"s3://b/": "/m/"}', '"s3://b":"/m"', ' "s3://b" : "/m/../m" '])
def test_mounts__spellings(text: str) -> None:
    """Mounts are read from a JSON object and from the seed's spelling without braces, in normal form."""
    assert load({}, {"ASSET_BUCKET_MT_CONFIG": text}).mounts == {"s3://b": "/m"}


def test_bucket_options__only_what_the_environment_does_not_say(file: Path) -> None:
    """The cloud's own variables are left to their reader; the file's values are handed on."""
    written(file, 'endpoint = "http://file:1"\nregion = "r"\n[s3]\nchecksum = "none"\npath_style = true\n')
    settings = load({}, {"AWS_REGION": "e"}, None, file)
    assert settings.bucket_options() == {"endpoint": "http://file:1", "path_style": True}
    patient = load({}, {"HOLDFAST_STORE_TIMEOUT": "2.5"}, None, file)
    assert patient.bucket_options() == {**settings.bucket_options(), "region": "r", "read_timeout": 2.5}


def test_endpoint__of_another_cloud(file: Path) -> None:
    """The variable of one cloud's endpoint says nothing about another's bucket."""
    environ = {"AWS_ENDPOINT_URL": "http://s3:1", "GOOGLE_BASE_URL": "http://g:1"}
    assert load({"store": "s3://b"}, environ, None, file).endpoint == "http://s3:1"
    assert load({"store": "gs://b"}, environ, None, file).endpoint == "http://g:1"
    assert load({"store": "az://b"}, environ, None, file).endpoint is None


def test_shown__secrets_masked() -> None:
    """Tokens, and credentials inside a URL, are never shown; nor are they in the repr."""
    settings = load({}, {"HOLDFAST_TOKEN": "hush", "ASSET_SERVER_URL": "https://me:hush@host/x"})
    shown = {name: value for name, value, _ in settings.shown()}
    assert set(shown) == set(KEYS)
    assert "hush" not in str(shown.values())
    assert shown["server"] == "https://********@host/x"


def test_set__creates_private_file(file: Path) -> None:
    """The file is created for its owner only, and holds the value."""
    set_value(file, "store", "s3://bucket/prefix")
    assert file.read_text() == 'store = "s3://bucket/prefix"\n'
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_set__keeps_comments_and_tightens_mode(file: Path) -> None:
    """What others wrote in the file stays, comments and all; the file becomes private."""
    written(file, '# mine\nstore = "s3://old" # why\n\n[cache] # room\nmax_size = 1\n')
    file.chmod(0o644)
    set_value(file, "store", "s3://new")
    set_value(file, "cache.max_size", "2K")
    assert file.read_text() == '# mine\nstore = "s3://new" # why\n\n[cache] # room\nmax_size = 2048\n'
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_set__in_profile(file: Path) -> None:
    """A value is set in a profile, which is made where it is missing."""
    set_value(file, "store", "s3://b")
    set_value(file, "s3.path_style", "on", profile="work")
    mount(file, "s3://b", "/m", profile="work")
    settings = load({}, {}, "work", file)
    assert (settings.store, settings.s3_path_style, settings.mounts) == ("s3://b", True, {"s3://b": "/m"})
    assert load({}, {}, None, file).s3_path_style is None


@pytest.mark.parametrize(("name", "text"), [("stor", "s3://b"), ("store", "x4://b"), ("mounts", ""), ("cache", "1")])
def test_set__refused_writes_nothing(file: Path, name: str, text: str) -> None:
    """A name or a value that is refused leaves no file behind."""
    with pytest.raises(UsageError):
        set_value(file, name, text)
    assert not file.exists()


def test_set__dry_run_writes_nothing(file: Path) -> None:
    """Without leave to write, everything is checked and nothing is written."""
    assert set_value(file, "region", "r", write=False) == "r"
    assert not file.exists()


def test_set__seeds_spellings(file: Path) -> None:
    """The seed's names and its spelling of a mount are understood; each call adds one entry."""
    set_value(file, "asset-server-url", "https://host/")
    set_value(file, "bucket_mt_config", '"s3://a":"/mnt/a"')
    set_value(file, "mounts", '"s3://b/":"/mnt/b"')
    settings = load({}, {}, None, file)
    assert settings.server == "https://host"
    assert settings.mounts == {"s3://a": "/mnt/a", "s3://b": "/mnt/b"}


def test_unset__removes_value_and_empty_table(file: Path) -> None:
    """A value goes, with the table that it leaves empty; a second time there is nothing to remove."""
    set_value(file, "cache.max_size", "1")
    assert unset_value(file, "cache.max_size") is True
    assert "cache" not in file.read_text()
    assert unset_value(file, "cache.max_size") is False


def test_unmount__one_entry(file: Path) -> None:
    """One mount goes and the others stay; an unknown one is refused with the nearest."""
    mount(file, "s3://a", "/mnt/a")
    mount(file, "s3://b", "/mnt/b")
    assert unmount(file, "s3://a/") == "s3://a"
    assert load({}, {}, None, file).mounts == {"s3://b": "/mnt/b"}
    with pytest.raises(UsageError, match="no mount of s3://bb") as error:
        unmount(file, "s3://bb")
    assert error.value.hint == "did you mean 's3://b'?"


def test_set__through_a_link(file: Path, tmp_path: Path) -> None:
    """Where the file is a symlink, its target is written and the link stays."""
    target = tmp_path / "kept.toml"
    target.write_text("")
    file.parent.mkdir()
    file.symlink_to(target)
    set_value(file, "region", "r")
    assert file.is_symlink()
    assert target.read_text() == 'region = "r"\n'


def test_set__broken_file_is_left_alone(file: Path) -> None:
    """A file that is not TOML is not overwritten."""
    written(file, "store = ")
    with pytest.raises(UsageError, match="not TOML"):
        set_value(file, "region", "r")
    assert file.read_text() == "store = "


def test_set__folder_not_writable(tmp_path: Path) -> None:
    """A place that cannot be written is an error of the local disk."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError, match="cannot"):
        set_value(tmp_path / "file" / "config.toml", "region", "r")


def test_import__is_cheap() -> None:
    """Reading settings where there is no file imports neither a TOML library nor platformdirs."""
    code = "import sys; from holdfast.config import load; load({}, {'HOME': '/nonexistent'})\n"
    code += "print(sorted({'tomlkit', 'tomllib', 'platformdirs', 'msgspec'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == ("[]" if sys.platform == "linux" else "['platformdirs']")


@pytest.mark.parametrize(
    "url",
    [
        "s3://b",
        "s3://b/",
        "s3://b//p/q/",
        "gcs://b/p",
        "az://c/p/",
        "file:///a/b/",
        "file:///a%20b//c",
        "/a b",
        "memory://m",
    ],
)
def test_place__is_what_copies_are_recorded_under(url: str) -> None:
    """A store's URL in settings is in the form that the opened store has, so that a cached copy is known as its own."""
    from holdfast.store.settings import split_url
    from holdfast.wiring import open_store, store_place

    settings = load({"store": url}, {"AWS_ENDPOINT_URL": "http://e:1"})
    assert settings.store is not None
    if settings.store.startswith(("file", "memory")):
        opened = open_store(settings.store, settings).url
    else:
        scheme, bucket, prefix = split_url(settings.store)
        opened = f"{scheme}://{bucket}/{prefix}".rstrip("/")
    assert settings.place == store_place(opened, settings)
