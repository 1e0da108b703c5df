"""What a test needs of a store, and of versions mounted as plain folders; run as a program, it does one thing and may be killed in it.

python -m tests.mount.edit_program STORE mount SPEC DIR | push DIR | status DIR | unmount DIR | discard DIR
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import holdfast
from holdfast.disk import sync_directory
from holdfast.errors import HoldfastError
from holdfast.mount import editing


class Fetched:
    """Mounts versions, as the kernel's bind mounts of fetched folders. The folders lie beside the store."""

    def __init__(self, repository, place: Path):
        self.repository = repository
        self.place = place

    def mount(self, name, version, directory):
        copy = self.place / f"{name.replace('/', '_')}-{version}"
        if not copy.exists():
            self.repository.fetch(f"{name}:{version}", to=copy)
            sync_directory(copy)
        subprocess.run(["mount", "--bind", "-o", "ro", copy, directory], check=True)

    def unmount(self, directory):
        subprocess.run(["umount", "-l", directory], check=True)

    def close(self):
        pass


def opened(place: Path):
    """The repository of the store in a folder, and who mounts its versions."""
    repository = holdfast.open(f"file://{place}/store", assets_dir=place / "assets")
    return repository, Fetched(repository, place)


def main(store: str, deed: str, *words: str) -> int:
    repository, versions = opened(Path(store))
    if deed == "mount":
        editing.mount_writable(repository, words[0], words[1], lambda _: versions)
        return 0
    edits = editing.find_edits(repository, words[0])
    assert edits is not None
    if deed == "push":
        pushed = editing.push_edits(repository, edits, {}, versions)
        print(json.dumps({"version": pushed.version, "created": pushed.created}))
    elif deed == "status":
        found = editing.status_of(repository, edits)
        print(json.dumps([found.difference.added, found.difference.removed, found.difference.changed, found.folders]))
    else:
        editing.unmount_writable(repository, edits, versions, discard=deed == "discard")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except HoldfastError as error:
        print(error.message, error.hint, file=sys.stderr)
        sys.exit(error.exit_code)
