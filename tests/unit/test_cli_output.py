"""What the command line prints: JSON, tables, sizes, errors, progress."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.cli import output
from holdfast.cli.main import program_name, run
from holdfast.cli.options import Session, labels
from holdfast.cli.progress import LineProgress, Warnings, progress_for
from holdfast.errors import KINDS, NotFoundError, UsageError
from holdfast.model.result import AssetSummary, Finding


class Terminal(io.StringIO):
    """A text stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass
class Clock:
    """A clock that goes when it is told to."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "?"), (-1, "?"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"),
        (1024**2 - 1, "1.0 MiB"), (5 * 1024**3, "5.0 GiB"), (3 * 1024**5, "3072.0 TiB"),
    ],
)  # fmt: skip
def test_human_size(count: float | None, text: str) -> None:
    """Sizes count by 1024 and never read as 1024 of a unit but of the last; unknown is a question mark."""
    assert output.human_size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (125, "2:05"), (3725, "1:02:05")]
)
def test_human_time(seconds: float, text: str) -> None:
    """Spans read as a clock does, from a minute on."""
    assert output.human_time(seconds) == text


def test_plain__values() -> None:
    """Values of ours become objects and lists; a problem that is none is left out."""
    assert output.plain((Finding("a", "ok"), Path("/x"))) == [{"subject": "a", "state": "ok", "message": ""}, "/x"]
    listed = output.plain(AssetSummary("a", None, 0, {}, None))
    assert listed == {"name": "a", "latest": None, "versions": 0, "aliases": {}, "bytes": None}
    assert output.plain(AssetSummary("a", None, 0, {}, None, "bad"))["problem"] == "bad"


def test_print_json__one_document(capsys) -> None:
    """One line, one document."""
    output.print_json({"a": [1]})
    assert capsys.readouterr().out == '{"a": [1]}\n'


def test_print_table__aligned(capsys) -> None:
    """Away from a terminal columns are aligned by spaces, nothing is cut, and no line ends in a space."""
    output.print_table(("NAME", "SIZE"), [("a" * 200, "1 B"), ("b", "10 B")], right=(1,))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "a" * 200 + "   1 B"
    assert lines[2] == "b" + " " * 199 + "  10 B"


def test_print_table__terminal(monkeypatch) -> None:
    """On a terminal the table is drawn, and markup in a cell is text."""
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    output.print_table(("NAME",), [("[red]x\x1b[2J",)])
    assert "[red]x\\x1b[2J" in screen.getvalue()


def test_print_lines__terminal(monkeypatch, capsys) -> None:
    """On a terminal control characters are spelled out; elsewhere bytes of names stay what they are."""
    output.print_lines(["a\x1b[2Jb"])
    assert capsys.readouterr().out == "a\x1b[2Jb\n"
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    output.print_lines(["a\x1b[2Jb\nc", "é"])
    assert screen.getvalue() == "a\\x1b[2Jb\\nc\né\n"


def test_print_error__text(capsys) -> None:
    """Text goes to stderr, the hint on a line of its own."""
    output.print_error(NotFoundError("no x", hint="try y"), as_json=False)
    output.print_error(NotFoundError("no z"), as_json=False)
    assert capsys.readouterr() == ("", "error: no x\nhint: try y\nerror: no z\n")


def test_print_error__json(capsys) -> None:
    """With --json the error is the document on stdout."""
    output.print_error(NotFoundError("no x", hint="try y"), as_json=True)
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": {"kind": "not_found", "message": "no x", "hint": "try y"}}
    assert err == ""


def test_progress__line() -> None:
    """Bytes, share, files, rate and time left stand on one line that is rewritten."""
    screen, clock = Terminal(), Clock()
    progress = LineProgress(screen, clock)
    progress.start("push", 4 * 1024**2, 3)
    clock.now += 1
    progress.advance(1024**2)
    assert screen.getvalue().endswith("\r\x1b[Kpush  1.0 MiB of 4.0 MiB (25 %)  3 files  1.0 MiB/s  3 s left")
    progress.finish()
    assert screen.getvalue().endswith("\r\x1b[K")


def test_progress__total_unknown() -> None:
    """Without a total there are bytes and rate."""
    screen, clock = Terminal(), Clock()
    progress = LineProgress(screen, clock)
    progress.start("fetch", None, 1)
    clock.now += 2
    progress.advance(2048)
    assert screen.getvalue().endswith("fetch  2.0 KiB  1.0 KiB/s")


def test_progress__drawn_a_few_times_a_second() -> None:
    """Many small steps draw seldom."""
    screen, clock = Terminal(), Clock()
    progress = LineProgress(screen, clock)
    progress.start("push", 1000, 1000)
    for _ in range(1000):
        clock.now += 0.001
        progress.advance(1)
    assert screen.getvalue().count("\r") <= 11


def test_progress__warning() -> None:
    """A warning clears the line and stands on its own."""
    screen = Terminal()
    progress = LineProgress(screen, Clock())
    progress.start("push", 10, 1)
    progress.advance(5)
    progress.warn("bad\x1b[1m")
    assert screen.getvalue().endswith("\r\x1b[Kwarning: bad\\x1b[1m\n")


def test_warnings__quiet() -> None:
    """Nothing moves without a terminal, and -q drops warnings, too."""
    stream, silent = io.StringIO(), io.StringIO()
    for shown in (Warnings(stream), Warnings(silent, quiet=True)):
        shown.start("push", 1, 1)
        shown.advance(1)
        shown.warn("careful")
        shown.finish()
    assert (stream.getvalue(), silent.getvalue()) == ("warning: careful\n", "")


def test_progress_for(monkeypatch) -> None:
    """A line on a terminal, warnings elsewhere, nothing where there is no stderr."""
    monkeypatch.setattr("sys.stderr", Terminal())
    assert isinstance(progress_for(quiet=False), LineProgress)
    assert not isinstance(progress_for(quiet=True), LineProgress)
    monkeypatch.setattr("sys.stderr", None)
    progress_for(quiet=False).warn("nobody hears")


def test_labels() -> None:
    """Labels are KEY=VALUE, each key once; a value may hold an equals sign."""
    assert labels(("a=1", "b=x=y", "c=")) == {"a": "1", "b": "x=y", "c": ""}
    for bad in (("a",), ("=1",), ("a=1", "a=2")):
        with pytest.raises(UsageError, match="invalid label"):
            labels(bad)


def test_session__interactive(monkeypatch) -> None:
    """Nothing is asked where stdin is no terminal, is closed, or --json is given."""
    monkeypatch.setattr("sys.stdin", Terminal())
    assert Session().interactive
    assert not Session(json=True).interactive
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert not Session().interactive
    monkeypatch.setattr("sys.stdin", None)
    assert not Session().interactive


def test_program_name(monkeypatch) -> None:
    """The program has the name by which it was called, if that is one of its own."""
    for called, name in (("/usr/bin/holdfast", "holdfast"), ("C:\\x\\asset.exe", "asset"), ("/x/pytest", "asset")):
        monkeypatch.setattr("sys.argv", [called])
        assert program_name() == name


def test_run__unexpected(monkeypatch, capsys) -> None:
    """What nobody expected is exit 1 and one clear line, with a traceback under -v only."""

    def broken(*args: object, **options: object) -> None:
        raise RuntimeError("several\nlines")

    monkeypatch.setattr("holdfast.cli.program.program.main", broken)
    assert run(["list"]) == 1
    assert capsys.readouterr().err.splitlines()[0] == "error: unexpected RuntimeError: several lines"
    assert run(["list", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "failed"


@pytest.mark.parametrize(
    ("raised", "code", "kind"),
    [(KeyboardInterrupt(), 130, "interrupted"), (PermissionError(13, "Permission denied", "/x"), 1, "local")],
)
def test_run__other_ends(monkeypatch, capsys, raised: BaseException, code: int, kind: str) -> None:
    """An interrupt is 130; what the operating system refuses is an error of the local disk."""

    def ends(*args: object, **options: object) -> None:
        raise raised

    monkeypatch.setattr("holdfast.cli.program.program.main", ends)
    assert run(["list", "--json"]) == code == KINDS[kind][0]
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == kind
