"""The budget of sizes: what is over a hard limit fails, what is over the aim is shown as a warning with ``-s``.

Lines of a function are counted without its docstring. The table is that of CONTRIBUTING.md.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "holdfast"
MODULES = sorted(PACKAGE.rglob("*.py"))
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)

MODULE_LINES, MODULE_AIM = 500, 300
FUNCTION_LINES, FUNCTION_AIM = 60, 25
LONG_FUNCTION, LONG_SHARE = 50, 0.03
EXPORTED_NAMES, EXPORTED_AIM = 20, 15
DOCUMENTED_SHARE = 0.95
BANNED_NAMES = {"utils", "helpers", "common", "misc", "handler"}


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def functions() -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function of the package, with the module and line where it stands."""
    return [
        (f"{name_of(path)}:{node.lineno} {node.name}", node)
        for path in MODULES
        for node in ast.walk(tree_of(path))
        if isinstance(node, FUNCTION)
    ]


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` to the end, docstring apart."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node) is not None:
        text = node.body[0]
        lines -= (text.end_lineno or text.lineno) - text.lineno + 1
    return lines


def judge(what: str, sizes: dict[str, int], aim: int, limit: int) -> None:
    """Print the worst that are over the aim, and fail with those over the limit."""
    worst = sorted(((size, name) for name, size in sizes.items() if size > aim), reverse=True)
    if worst:
        print(f"\n{what} over the aim of {aim}: {len(worst)} of {len(sizes)}")
        print("\n".join(f"  {size:5} {name}" for size, name in worst[:10]))
    assert [f"{name}: {size}" for size, name in worst if size > limit] == [], f"{what} over the limit of {limit}"


def test_modules__lines():
    """A module has at most 500 lines."""
    sizes = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    judge("lines of modules", sizes, MODULE_AIM, MODULE_LINES)


def test_functions__lines():
    """A function has at most 60 lines, and few have more than 50."""
    sizes = {where: length(node) for where, node in functions()}
    judge("lines of functions", sizes, FUNCTION_AIM, FUNCTION_LINES)
    assert sum(size > LONG_FUNCTION for size in sizes.values()) <= LONG_SHARE * len(sizes)


def test_top__exported_names():
    """The package exports at most 20 names."""
    top = PACKAGE / "__init__.py"
    if not top.exists():
        pytest.fail("holdfast has no __init__.py")
    exported = next(
        (
            [ast.literal_eval(element) for element in node.value.elts]
            for node in tree_of(top).body
            if isinstance(node, ast.Assign)
            and isinstance(node.value, ast.List | ast.Tuple)
            and any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)
        ),
        None,
    )
    assert exported is not None, "holdfast/__init__.py has no __all__ as a plain list"
    assert len(exported) == len(set(exported))
    judge("names exported at the top", {"holdfast": len(exported)}, EXPORTED_AIM, EXPORTED_NAMES)


def test_modules__names():
    """No module has a name that says nothing."""
    assert [name_of(path) for path in MODULES if path.stem in BANNED_NAMES] == []


def test_modules__docstrings():
    """Every module says what it owns."""
    assert [name_of(path) for path in MODULES if path.stem != "__init__" and not ast.get_docstring(tree_of(path))] == []


def test_functions__docstrings():
    """Nearly every public function has a docstring; functions within functions need none."""
    found = functions()
    inner = {id(below) for _, node in found for below in ast.walk(node) if below is not node}
    public = [(where, node) for where, node in found if is_public(node) and id(node) not in inner]
    bare = [where for where, node in public if not ast.get_docstring(node)]
    print(f"\npublic functions without a docstring: {len(bare)} of {len(public)}", *bare[:20], sep="\n  ")
    assert len(bare) <= (1 - DOCUMENTED_SHARE) * len(public), bare


def is_public(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    overrides = any(isinstance(mark, ast.Name) and mark.id in ("override", "overload") for mark in node.decorator_list)
    return not node.name.startswith("_") and not overrides


def test_project__names_its_parts_once():
    """``requirements/runtime.in``, ``server.in`` and ``sites.in`` name the same distributions as ``pyproject.toml``."""
    import re
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {"runtime": project["dependencies"], **project["optional-dependencies"]}
    for file, distributions in wanted.items():
        listed = (ROOT / "requirements" / f"{file}.in").read_text(encoding="utf-8").splitlines()
        named = {re.split(r"[^A-Za-z0-9_.-]", line)[0] for line in listed if line and line[0] not in "#-"}
        assert named == {re.split(r"[^A-Za-z0-9_.-]", line)[0] for line in distributions}


def test_lock_files__hold_no_address():
    """A lock file holds names, versions and hashes; where packages come from is the machine's business."""
    folder = ROOT / "requirements"
    texts = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.txt")}
    assert [name for name, text in texts.items() if "://" in text or "--index-url" in text] == []
    assert '"resolved"' not in (folder / "npm" / "package-lock.json").read_text(encoding="utf-8")
