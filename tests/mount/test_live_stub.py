"""goofys, geesefs and mount-s3, which are not installed here: a stub records how they are called. Where one is found, it mounts."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import HoldfastError
from holdfast.mount.live.apart import place_for
from tests.mount.live import fresh_bucket, require_fuse

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services import Service

STUB = """#!{python}
import json, os, sys
if sys.argv[1:] == ["--version"]:
    print("{name} version 9.9.9")
    sys.exit(0)
files = {{}}
for folder, _, names in os.walk({private!r}):
    for each in names:
        path = os.path.join(folder, each)
        files[each] = [open(path).read(), oct(os.stat(path).st_mode & 0o777)]
json.dump([sys.argv[1:], dict(os.environ), files], open({record!r}, "w"))
print("recorded")
sys.exit(7)
"""


@pytest.mark.parametrize("name", ["goofys", "geesefs", "mount-s3"])
def test_stub__is_called(ceph: Service, tmp_path: Path, name: str) -> None:
    """A mounter gets its arguments, an environment with nothing of the caller's, and credentials in a file of its user's alone."""
    bucket = fresh_bucket(ceph, tmp_path)
    folder, recorded = tmp_path / "bin", tmp_path / "recorded.json"
    folder.mkdir()
    text = STUB.format(python=sys.executable, name=name, private=str(tmp_path / "state"), record=str(recorded))
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
    bucket.programs = str(folder)
    with pytest.raises(HoldfastError, match=f"{name} did not mount: it ended, exit code 7: recorded"):
        bucket.mount(name, "allow_other")
    arguments, environ, files = json.loads(recorded.read_text())
    where = str(bucket.directory)
    assert (place_for(where) if os.geteuid() == 0 else where) in arguments
    assert any("allow" in word and "other" in word for word in arguments)
    assert f"--region={ceph.env['AWS_REGION']}" in arguments
    assert any(ceph.env["AWS_ENDPOINT_URL"] in word for word in arguments)
    secret = ceph.env["AWS_SECRET_ACCESS_KEY"]
    assert secret not in " ".join([*arguments, *environ.values()])
    assert set(environ) - {"LC_CTYPE"} == {"PATH", "HOME", "LC_ALL", "AWS_SHARED_CREDENTIALS_FILE"}
    assert secret in files["credentials"][0]
    assert {mode for _, mode in (files["credentials"], files["mount.json"], files["environment.json"])} == {"0o600"}
    assert bucket.left == {}


@pytest.mark.parametrize("name", ["goofys", "geesefs", "mount-s3"])
def test_real__mounts(ceph: Service, tmp_path: Path, name: str) -> None:
    """A mounter that is installed mounts, reads and unmounts."""
    require_fuse()
    if (program := shutil.which(name)) is None:
        pytest.skip(f"{name} is not installed: not run here")
    bucket = fresh_bucket(ceph, tmp_path)
    bucket.programs = os.path.dirname(os.path.realpath(program))
    bucket.mount(name)
    assert (bucket.directory / "hello.txt").read_text() == "hello"
    bucket.unmount()
    assert bucket.left == {}
