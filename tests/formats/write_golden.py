"""Writes golden files that are not there yet: ``python -m tests.formats.write_golden``. What is there is never changed."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

import holdfast
from holdfast.formats.convention import encode_meta, encode_versions
from holdfast.formats.records import encode
from tests.formats import bundle_cases, cases, pack_cases

HERE = Path(__file__).parent
#: Written by the first commits of layout packs, before its release.
PACKS_STORE = "0.2.0-packs"


def main() -> None:
    """Write every missing file, and a store of this release if there is none."""
    contents = {name: encode_meta(meta) for name, meta in cases.METAS.items()}
    contents |= {name: encode(record) for name, record in cases.RECORDS.items()}
    contents |= pack_cases.OBJECTS | {"meta-packs.json": encode_meta(pack_cases.META)}
    contents["bert.versions"] = encode_versions(["1.10", "1.9", "0.0"])
    for name, data in contents.items():
        if not (HERE / "golden" / name).exists():
            (HERE / "golden" / name).write_bytes(data)
    if not (HERE / "golden" / "bundle.tar").exists():
        (HERE / "golden" / "bundle.tar").write_bytes(bundle_cases.bundle())
    for name, make in {holdfast.__version__: _make_store, PACKS_STORE: _make_packs_store}.items():
        store = HERE / "stores" / f"{name}.tar"
        if not store.exists():
            with tempfile.TemporaryDirectory() as place:
                make(Path(place))
                with tarfile.open(store, "w") as archive:
                    archive.add(Path(place) / "store", "store")


def _make_store(place: Path) -> None:
    source = place / "source"
    (source / "sub" / "empty").mkdir(parents=True)
    (place / "store").mkdir()
    (place / "assets").mkdir()
    (source / "a.txt").write_text("hello\n")
    (source / ".hidden").write_text("hidden\n")
    (source / "sub" / "b.bin").write_bytes(b"\0" * 1000)
    (source / "sub" / "link").symlink_to("../a.txt")
    repository = holdfast.open((place / "store").as_uri(), assets_dir=place / "assets")
    repository.push(source, "nlp/bert", message="first", alias="stable")
    repository.push(source, "x/archive", layout="tar.gz")
    repository.push(source / "a.txt", "x/file", version="1.0")
    (source / "a.txt").write_text("changed\n")
    repository.push(source, "nlp/bert")
    (source / "a.txt").write_text("removed\n")
    repository.push(source, "nlp/bert")
    repository.remove("nlp/bert:0.2")


def _make_packs_store(place: Path) -> None:
    for name in ("source", "store", "assets", "empty"):
        (place / name).mkdir()
    repository = holdfast.open((place / "store").as_uri(), assets_dir=place / "assets")
    pack_cases.lay_tree(place / "source")
    repository.push(place / "source", "golden/tree", message="first", layout="packs")
    pack_cases.change_tree(place / "source")
    repository.push(place / "source", "golden/tree", message="changed", alias="stable")
    (place / "source" / "README.md").write_text("removed\n")
    repository.push(place / "source", "golden/tree", message="removed")
    repository.remove("golden/tree:0.2")
    repository.push(place / "empty", "golden/empty")


if __name__ == "__main__":
    main()
