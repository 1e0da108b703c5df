"""The tables of docs/seeds: a row for each sentence, which names the tests that prove it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows_of(seed: str) -> list[str]:
    """The rows of a seed's page, without the heads of its tables."""
    text = (ROOT / "docs" / "seeds" / f"{seed}.md").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.startswith("| ") and "proved by" not in line]


def check(row: str) -> None:
    """Every cell says something, and the last names tests, each of which is a function in its file with a sentence of its own."""
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert all(cells)
    named = TEST.findall(cells[-1])
    assert named
    assert TEST.sub("", cells[-1]).strip() == ""
    for path, function in named:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function]
        assert len(found) == 1, f"{path} has no {function}"
        assert ast.get_docstring(found[0])
