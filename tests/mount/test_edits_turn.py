"""Who works on the changes of a writable mount: one at a time, though the folder goes with the last of them."""

from __future__ import annotations

import shutil
import threading
from contextlib import suppress

from holdfast.errors import BusyError, LocalError
from holdfast.mount.edits import Edits


def test_turn__of_a_folder_that_goes(tmp_path):
    """Of many who work on changes whose folder goes with each, two never do so at once."""
    edits, inside, wrong = Edits(tmp_path / "edits"), [], []

    def take(number):
        for _ in range(500):
            with suppress(BusyError, LocalError), edits.turn():
                inside.append(number)
                if len(inside) != 1 or not edits.folder.exists():
                    wrong.append(number)
                inside.remove(number)
                shutil.rmtree(edits.folder, ignore_errors=True)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
