"""The README's tour is typed as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.docs.typed import commands

ROOT = Path(__file__).parents[2]
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


def test_tour__every_command_works(tmp_path: Path) -> None:
    """Every command of the tour, and its Python, runs in order in an empty folder and succeeds."""
    tour = (ROOT / "README.md").read_text().partition("## A tour")[2]
    (tmp_path / "tour.py").write_text("".join(PYTHON.findall(tour)))
    script = ["set -e", *commands(tour), "python tour.py"]
    assert len(script) > 18
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "HOLDFAST_CONFIG": str(tmp_path / "config.toml")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "('0.1', '0.0')" in done.stdout
    assert (tmp_path / "old-model/config.json").read_text() == '{"layers": 12}\n'


def test_demo__ends_with_a_verified_asset() -> None:
    """The demo pushes, lists, fetches and verifies, and says so."""
    done = subprocess.run([ROOT / "tools/demo"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pushed to file://" in done.stdout
    assert "2 checked, all in order" in done.stdout
