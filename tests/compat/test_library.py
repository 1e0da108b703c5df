"""The real ModelLibrary of modelkit 0.1.3, with our manager in place of its own."""

from __future__ import annotations

import pytest


@pytest.fixture
def model_asset(tmp_path, ours):
    """A model's asset, in three versions."""
    (tmp_path / "model").mkdir()
    for number, version in enumerate(("1.0", "1.1", "10.0")):
        (tmp_path / "model" / "a.txt").write_text(f"text {version}")
        ours("update" if number else "new", tmp_path / "model", "cat/model", version)


@pytest.mark.parametrize(("spec", "version"), [("cat/model:1", "1.1"), ("cat/model", "10.0"), ("cat/model:1.0", "1.0")])
def test_library(mixed, model_asset, spec, version):
    """The library resolves, fetches and loads a model through our manager, from disk and from S3."""
    found = mixed("library", spec)
    assert found == {"answer": f"text {version}!", "manager": "holdfast.modelkit.manager", "version": version}


def test_library__override(mixed, model_asset, tmp_path):
    """The library's override folder, a manager without a store, works with ours."""
    (tmp_path / "override" / "cat" / "model").mkdir(parents=True)
    (tmp_path / "override" / "cat" / "model" / "a.txt").write_text("mine")
    override = str(tmp_path / "override")
    assert mixed("library", "cat/model:1", MODELKIT_ASSETS_DIR_OVERRIDE=override)["answer"] == "mine!"
