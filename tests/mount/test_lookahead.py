"""Names that are listed before they are asked for: when, what of, and what comes of it in the kernel."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

from holdfast.config import load
from holdfast.mount import lister
from holdfast.mount.mounting import mount_version
from holdfast.mount.streaks import Streaks, Window
from tests.mount.test_daemon_worker import until
from tests.mount.test_mount_version import Shop, shop  # noqa: F401
from tests.mount.versions import needs_fuse


def asked(streaks: Streaks, positions, node: int = 7, step: float = 0.0001) -> list[Window]:
    """The windows that come of names at these positions."""
    found = [streaks.hit(node, position, at * step) for at, position in enumerate(positions)]
    return [window for window in found if window is not None]


def test_streak__is_listed_from_where_it_is():
    """The thirty-second name in a row has the directory listed from there on, and none more until that is done."""
    assert asked(Streaks(), range(500, 1500)) == [Window(7, 531, 1024)]


def test_streak__slow_or_elsewhere():
    """Names that are asked for now and then, or in many directories, have nothing listed."""
    assert asked(Streaks(), range(1000), step=0.05) == []
    streaks = Streaks()
    assert [streaks.hit(node, 0, 0.0) for node in range(1000) for _ in range(31)] == [None] * 31_000


def test_streak__out_of_order():
    """Names out of order have the directory listed from its start, window by window."""
    positions = random.Random(5).sample(range(100_000), 32)
    streaks = Streaks()
    (first,) = asked(streaks, positions)
    assert first == Window(7, 0, 1024)
    streaks.end(first, 1024)
    assert asked(streaks, [position + 2000 for position in positions]) == [Window(7, 1024, 2048)]


def test_streak__grows_to_a_bound():
    """Each window of a directory is twice the one before, up to a bound."""
    streaks, position, sizes = Streaks(), 0, []
    for _ in range(7):
        (window,) = asked(streaks, range(position, position + 32))
        position = window.position + window.entries
        streaks.end(window, position)
        sizes.append(window.entries)
    assert sizes == [1024, 2048, 4096, 8192, 16_384, 16_384, 16_384]


def test_streak__names_that_do_not_stay():
    """What the kernel forgets as soon as it was listed is listed ever more rarely."""
    streaks, windows = Streaks(), 0
    for at in range(40_000):
        window = streaks.hit(7, at % 1000, at * 0.0001)
        if window is not None:
            windows += 1
            streaks.end(window, -1)
    assert windows <= 16


def test_streak__nothing_was_listed():
    """Where nothing could be listed it is tried again."""
    streaks = Streaks()
    (window,) = asked(streaks, range(32))
    streaks.end(window, window.position)
    assert len(asked(streaks, range(32, 64))) == 1


def test_lister__plain_folder(tmp_path):
    """It goes as far as it was told in the directory with the number that it was told, and says where it ended; else it stays where it is."""
    folder = tmp_path / "folder é"
    folder.mkdir()
    for number in range(3000):
        (folder / f"{number}").touch()
    node, path = folder.stat().st_ino, os.fsencode(folder.name).hex()
    lines = [
        f"{node} 0 5000 {path}",
        f"{node} 0 5 {path}",
        f"{node + 1} 5 5000 {path}",
        f"{node} 5 100 {b'gone'.hex()}",
    ]
    command = [sys.executable, "-I", "-S", lister.__file__, str(tmp_path)]
    done = subprocess.run(
        command, input="\n".join(lines) + "\n", capture_output=True, text=True, check=True, timeout=60
    )
    whole, some, other, gone = map(int, done.stdout.split())
    assert (whole, other, gone) == (-1, 5, 5)
    assert some > 0


@needs_fuse
def test_mount__many_names(shop):  # noqa: F811
    """Names that are asked for one after the other are listed ahead, so that the kernel knows most of them before."""
    many = shop.source / "many"
    many.mkdir()
    for number in range(3000):
        (many / f"{number:04}").write_bytes(b"%d" % number)
    shop.repository.push(shop.source, "nlp/bert")
    record = mount_version("nlp/bert", str(shop.place), settings=load({}))
    try:
        inside = shop.place / "many"

        def knows_more() -> bool:
            before = asked_for()
            for number in range(3000):
                assert os.lstat(inside / f"{number:04}").st_size == len(str(number))
            return asked_for() - before < 300

        def asked_for() -> int:
            time.sleep(2.6)  # until it is written
            return record.state.more.get("requests", 0)

        until(knows_more, seconds=60)
        total = asked_for()
    finally:
        shop.asset("unmount", shop.place)
    assert 0 < total < 2000
