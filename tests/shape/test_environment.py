"""The environment is read in one place, so that every setting is documented and its origin can be shown."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "holdfast"
#: Modules, or packages with a slash at the end, that may look into the environment.
MAY_READ = ("config.py", "config/", "failpoint.py")
READERS = {"environ", "environb", "getenv", "getenvb"}


def readers(path: Path) -> list[int]:
    """The lines that read the environment by ``os``."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in READERS and isinstance(node.value, ast.Name):
            if node.value.id == "os":
                found.append(node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            found += [node.lineno for name in node.names if name.name in READERS]
    return found


def test_environment__is_read_in_config_only():
    """No module but the settings and the failpoints reads an environment variable."""
    strays = [
        f"{name}:{line}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if not (name := str(path.relative_to(PACKAGE))).startswith(MAY_READ)
        for line in readers(path)
    ]
    assert strays == []
