"""What commands print: JSON for programs, lines and tables for people. Tables are drawn by rich, on a terminal only."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from holdfast.errors import HoldfastError

__all__ = [
    "error_value",
    "human_size",
    "human_time",
    "plain",
    "print_error",
    "print_failure",
    "print_json",
    "print_lines",
    "print_table",
    "printable",
]

_STEP = 1024
_UNITS = ("KiB", "MiB", "GiB", "TiB")
_MINUTE, _HOUR = 60, 3600


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(plain(value), indent=2 if sys.stdout.isatty() else None) + "\n")


def plain(value: object) -> Any:
    """Values of ours as JSON knows them; a field named ``problem`` or ``unknown`` that says nothing is left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((each.name, getattr(value, each.name)) for each in dataclasses.fields(value))
        return {name: plain(each) for name, each in pairs if each or name not in ("problem", "unknown")}
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def print_lines(lines: Iterable[str]) -> None:
    """Lines on stdout; on a terminal nothing in them can move the cursor or change its colours."""
    safe = sys.stdout.isatty()
    for line in lines:
        sys.stdout.write((printable(line) if safe else line) + "\n")


def printable(text: str) -> str:
    """The text with control characters spelled out: what others wrote into a store is not sent to a terminal as it is."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """A table with these columns; those numbered in ``right`` are set to the right.

    On a terminal it is drawn and fits the width; elsewhere columns are aligned by spaces and nothing is cut.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(headers, cells, right)
        return
    widths = [max(len(row[column]) for row in (headers, *cells)) for column in range(len(headers))]
    for row in (headers, *cells):
        padded = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def _draw(headers: Sequence[str], rows: list[list[str]], right: Sequence[int]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, header in enumerate(headers):
        table.add_column(header, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(file=sys.stdout).print(table)


def marked(value: dict[str, Any], *, dry_run: bool) -> dict[str, Any]:
    """A command's document, which says so where nothing was done."""
    return value | {"dry_run": True} if dry_run else value


def error_value(error: HoldfastError) -> dict[str, object]:
    """The error as it stands under ``error`` in JSON."""
    return {"kind": error.kind, "message": error.message, "hint": error.hint}


def print_error(error: HoldfastError, *, as_json: bool) -> None:
    """Say that the command failed, and what to do."""
    print_failure(error.kind, error.message, error.hint, as_json=as_json)


def print_failure(kind: str, message: str, hint: str | None, *, as_json: bool) -> None:
    """Say that the command failed: ``{"error": …}`` on stdout, or text on stderr."""
    if as_json:
        print_json({"error": {"kind": kind, "message": message, "hint": hint}})
        return
    print(f"error: {printable(message)}", file=sys.stderr)
    if hint:
        print(f"hint: {printable(hint)}", file=sys.stderr)


def human_size(count: float | None) -> str:
    """Bytes for people: 1536 is ``1.5 KiB``; unknown is ``?``."""
    if count is None or count < 0:
        return "?"
    if count < _STEP:
        return f"{int(count)} B"
    unit = 0
    while unit < len(_UNITS) and (unit == 0 or count >= _STEP * 0.9995):  # or it would read as 1024.0
        count, unit = count / _STEP, unit + 1
    return f"{count:.1f} {_UNITS[unit - 1]}"


def human_time(seconds: float) -> str:
    """A span for people: ``7 s``, ``2:05``, ``1:02:05``."""
    whole = int(seconds + 0.5)
    if whole < _MINUTE:
        return f"{whole} s"
    minutes, rest = divmod(whole, _MINUTE)
    if whole < _HOUR:
        return f"{minutes}:{rest:02}"
    return f"{minutes // _MINUTE}:{minutes % _MINUTE:02}:{rest:02}"


def pairs(table: Mapping[str, str]) -> str:
    """``a=1, b=2``, sorted."""
    return ", ".join(f"{name}={value}" for name, value in sorted(table.items()))
