"""The house rules that a machine can hold: who may import whom, what a room may touch, how a module looks."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "oomsight"
MODULES = sorted(SRC.rglob("*.py"))

PURE = {
    # room: pure rooms it may import
    "kernel": set(),
    "naming": set(),
    "proc": set(),
    "report": {"naming"},
    "diagnose": {"kernel", "naming", "report"},
    "attribute": {"naming"},
    "score": {"kernel", "naming", "proc"},
    "simulate": {"kernel", "naming", "proc", "score"},
    "live": {"diagnose", "kernel", "naming", "report"},
    "alerts": {"alarms", "naming"},
    "alarms": {"naming", "proc", "trend"},
    "status": {"alarms", "kernel", "naming", "proc", "score", "trend"},
    "drill": {"alerts", "naming", "proc"},
    "metrics": {"alarms", "diagnose", "naming", "proc", "report", "score"},
    "why": {"attribute", "diagnose", "kernel", "naming", "report"},
    "trend": {"kernel", "naming", "proc"},
    "foresight": {"kernel", "naming", "trend"},
    "record": {"naming", "proc"},
    "policy": {"kernel", "naming", "proc", "score"},
    "audit": {"kernel", "naming", "proc", "score"},
    "rightsize": {"audit", "diagnose", "naming", "proc", "report", "simulate", "trend"},
}
"""Rooms that decide: text and numbers in, values out."""

SHELLS = {
    # room: shells it may import, besides every pure room
    "data": set(),
    "sources": set(),
    "sinks": set(),
    "actions": set(),
    "pipeline": {"sources"},
    "api": {"sources", "sinks", "pipeline"},
    "daemons": {"sources", "sinks", "actions", "pipeline"},
    "web": {"sources", "sinks", "pipeline", "daemons"},
    "cli": {"api", "data", "sources", "sinks", "actions", "pipeline", "daemons", "web"},
}
"""Rooms that touch the system or wire others."""

BASE = {"_version", "_enums", "_lazy", "_named", "_record", "_rows", "_sizes"}
"""Modules beside the rooms that know nobody and that everybody may import."""

IMPURE = {"os", "io", "pathlib", "subprocess", "socket", "time", "logging", "random", "sys", "tempfile", "threading",
          "asyncio", "multiprocessing", "shutil", "glob", "secrets", "uuid", "select", "selectors", "signal"}  # fmt: skip
"""What a pure room must not import: files, clocks, processes, the environment, chance."""

DEPENDENCIES = {
    # top-level module: rooms that may import it
    "click": {"cli"},
    "isal": {"sources"},
    "matplotlib": {"sinks"},
    "prometheus_client": {"sinks"},
    "pyarrow": {"sinks"},
    "yaml": {"sources"},
    "backports": {"sources"},
    "compression": {"sources"},  # standard library from 3.14 on
}

MOST_LINES = 500
LONGER: dict[str, str] = {}
"""Modules that may be longer, with the reason."""


def room(path: Path) -> str:
    """The room a module belongs to; modules beside the rooms are rooms of their own."""
    inside = path.relative_to(SRC)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def name_of(path: Path) -> str:
    """The module's path below the package, as it stands in tables and messages."""
    return path.relative_to(SRC).as_posix()


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that *path* imports anywhere in it, absolute, with the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: relative import"
            base = node.module or ""
            yield base, node.lineno
            if base == "oomsight":  # from oomsight import report
                yield from ((f"oomsight.{alias.name}", node.lineno) for alias in node.names)


def imported_room(module: str) -> str | None:
    """The room of an ``oomsight.…`` module, ``None`` for all others and for :data:`BASE`."""
    parts = module.split(".")
    if parts[0] != "oomsight" or len(parts) < 2 or parts[1] in BASE:
        return None
    return parts[1] if (SRC / parts[1]).exists() or (SRC / f"{parts[1]}.py").exists() else None


def allowed(of: str) -> set[str]:
    """Rooms that *of* may import, itself included."""
    return {of} | (PURE[of] if of in PURE else SHELLS[of] | set(PURE))


def test_every_room_has_a_row() -> None:
    rooms = {room(path) for path in MODULES} - {"__init__", "__main__"} - BASE
    assert rooms <= set(PURE) | set(SHELLS), "a new room: say in the tables above what it may import"


def test_every_room_is_described() -> None:
    text = (ROOT / "docs" / "explanation" / "house.md").read_text(encoding="utf-8")
    for name in {room(path) for path in MODULES if path.parent != SRC}:
        assert f"\n  {name}/ " in text, name


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_arrows_point_down(path) -> None:
    if room(path) in {"__init__", "__main__"}:  # the front loads lazily; it names modules, not rooms
        return
    if room(path) in BASE:
        assert not [module for module, _ in imports(path) if module.startswith("oomsight")]
        return
    wrong = [
        f"{name_of(path)}:{line} imports {module}"
        for module, line in imports(path)
        if (target := imported_room(module)) is not None and target not in allowed(room(path))
    ]
    assert wrong == []


@pytest.mark.parametrize("path", [path for path in MODULES if room(path) in PURE], ids=name_of)
def test_pure_room_touches_nothing(path) -> None:
    wrong = [f"{name_of(path)}:{line} imports {m}" for m, line in imports(path) if m.split(".")[0] in IMPURE]
    assert wrong == []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"open", "input", "exec", "eval"}, f"{name_of(path)}:{node.lineno}"
        if isinstance(node, ast.Call) and re.fullmatch(r"(?:\w+\.)*(?:now|utcnow|today)", ast.unparse(node.func)):
            pytest.fail(f"{name_of(path)}:{node.lineno} asks the clock")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_foreign_modules_stay_in_their_rooms(path) -> None:
    for module, line in imports(path):
        top = module.split(".")[0]
        if top == "oomsight" or (top in sys.stdlib_module_names and top not in DEPENDENCIES):
            continue
        assert room(path) in DEPENDENCIES.get(top, set()), f"{name_of(path)}:{line} imports {module}"


def test_arrows_catch_a_wrong_import(tmp_path, monkeypatch) -> None:
    (tmp_path / "kernel").mkdir()
    (tmp_path / "report").mkdir()
    wrong = tmp_path / "kernel" / "x.py"
    wrong.write_text("def f():\n    from oomsight.report import model\n    import os.path\n")
    monkeypatch.setattr(sys.modules[__name__], "SRC", tmp_path)
    with pytest.raises(AssertionError, match=r"kernel/x\.py:2 imports oomsight\.report"):
        test_arrows_point_down(wrong)
    with pytest.raises(AssertionError, match=r"kernel/x\.py:3 imports os\.path"):
        test_pure_room_touches_nothing(wrong)


# -- how a module looks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_is_not_too_long(path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    if name_of(path) in LONGER:
        assert lines <= 700
        return
    assert lines <= MOST_LINES, f"{lines} lines: split it, or say in LONGER why not"


def test_exceptions_are_still_needed() -> None:
    for name in LONGER:
        path = SRC / name
        assert path.exists(), name
        assert len(path.read_text(encoding="utf-8").splitlines()) > MOST_LINES, f"{name} fits now: remove its row"


# Methods whose meaning the language gives them, and properties that a protocol or base class describes.
_KNOWN = re.compile(r"__(?!init__)\w+__")


def _undocumented(tree: ast.Module) -> Iterator[str]:
    def walk(node: ast.AST, prefix: str, inherits: bool) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If | ast.Try):
                yield from walk(child, prefix, inherits)
            elif isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                if child.name.startswith("_"):
                    continue
                # What overrides a documented method needs no second docstring.
                if not ast.get_docstring(child) and not (inherits and not isinstance(child, ast.ClassDef)):
                    yield f"{prefix}{child.name} (line {child.lineno})"
                if isinstance(child, ast.ClassDef):
                    yield from walk(child, f"{child.name}.", bool(child.bases) or _is_source(child))

    yield from walk(tree, "", False)


def _is_source(node: ast.ClassDef) -> bool:
    """A class in the shape of a documented protocol says what it is in its own docstring."""
    return any(isinstance(child, ast.FunctionDef) and child.name in {"blocks", "eof"} for child in node.body)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_everything_public_has_a_docstring(path) -> None:
    text = path.read_text(encoding="utf-8")
    if not text.strip() or path.stem == "_version":  # empty packages; one constant, described below it
        return
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "the module itself"
    assert list(_undocumented(tree)) == []


@pytest.mark.parametrize("path", [path for path in MODULES if room(path) != "cli"], ids=name_of)
def test_only_the_command_line_prints(path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{name_of(path)}:{node.lineno}"


# Put together so that this file does not find itself.
_ELSEWHERE = re.compile("|".join(["/wo" + "rk/", r"\.lib" + "rary", "fa" + r"rm-\d", "sha" + "red/captures"]))
_LEFTOVER = re.compile(r"\b(?:" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b(?!X)")
_SKIP_DIRS = {".git", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "dist", "build"}
_TEXT = {".py", ".md", ".sh", ".toml", ".txt", ".json", ".log", ".cfg", ".c", ".yaml", ".yml", ""}


def _files() -> Iterator[Path]:
    todo = [ROOT]
    while todo:
        for path in todo.pop().iterdir():
            if path.name == ".git":  # a directory, or in a worktree a file that names one
                continue
            if path.is_dir() and not path.is_symlink():
                if path.name not in _SKIP_DIRS:
                    todo.append(path)
            elif path.suffix in _TEXT and path.name not in _SKIP_DIRS:  # .git is a file in a worktree
                yield path


def test_no_file_mentions_a_workplace_or_unfinished_work() -> None:
    wrong = []
    for path in _files():
        text = path.read_text(encoding="utf-8", errors="replace")
        golden = "golden" in path.parts  # what kernels and scenarios print may hold any word
        for pattern in (_ELSEWHERE,) if golden else (_ELSEWHERE, _LEFTOVER):
            if found := pattern.search(text):
                line = text.count("\n", 0, found.start()) + 1
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {found[0]}")
    assert wrong == []
