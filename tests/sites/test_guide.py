"""docs/operating.md is followed word for word: every command is typed on its machine, and must print and end as the guide says."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from tests.docs.typed import Made, Typed, steps
from tests.mount.forwarder import forwarded
from tests.mount.live import require_fuse
from tests.sites.guided import World
from tests.sites.happenings import HAPPENINGS

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "operating.md"


@pytest.mark.skipif(os.geteuid() != 0, reason="the guide is for root")
def test_guide__is_followed_word_for_word(ceph):
    """From nothing to three web servers, then every failure and what to type: all of it does what the guide says."""
    require_fuse()
    folder = Path(tempfile.mkdtemp(prefix="guide-", dir="/tmp"))
    folder.chmod(0o755)
    with forwarded(ceph.env["AWS_ENDPOINT_URL"]) as way:
        world = World(ceph, way, folder)
        try:
            follow(world)
        finally:
            sys.stdout.write("\n".join(world.log))
            world.end()
            shutil.rmtree(folder, ignore_errors=True)


def follow(world: World) -> None:
    """Every step of the guide, in order."""
    for step in steps(GUIDE.read_text("utf-8")):
        if isinstance(step, Typed):
            world.follow(step)
        elif isinstance(step, Made):
            world.log.append(f"--- {step.what}")
            HAPPENINGS[step.what](world)
        else:
            world.write(step)
