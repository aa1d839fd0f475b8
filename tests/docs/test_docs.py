"""README.md and docs/: every command runs and prints what is shown, every link leads somewhere, nothing is left out."""

from __future__ import annotations

import doctest
import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest

from oomsight.cli.exits import EXIT_HELP
from oomsight.cli.main import COMMANDS, PROGRAM, cli

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))  # as for a script that is run there


def _tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tools_{name}", ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


doc_blocks = _tool("doc_blocks")
gen_reference = _tool("gen_reference")

PAGES = doc_blocks.documents()
BLOCKS = [block for page in PAGES for block in doc_blocks.blocks(page)]
LANGUAGES = {"console", "pycon", "python", "text", "yaml", "ini", "json", "sh"}


def _of(language: str) -> list:
    return [pytest.param(block, id=block.where) for block in BLOCKS if block.language == language]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.where)
def test_block_has_a_language_that_is_checked(block) -> None:
    assert block.language in LANGUAGES
    if block.language == "sh":  # an excerpt of an output, never a command to type
        assert block.path.parts[-2] == "explanation"


@pytest.mark.parametrize("block", _of("console"))
def test_console_block_shows_what_the_commands_print(block, tmp_path) -> None:
    assert list(doc_blocks.syntax_errors(block)) == []
    if "syntax" in block.words:
        assert not any(command.output for command in block.commands()), "an output that nobody checks"
        return
    if missing := doc_blocks.missing_programs(block):
        pytest.skip(f"not installed: {', '.join(missing)}")
    lines, wrong = doc_blocks.run_block(block, doc_blocks.Bench(tmp_path))
    assert wrong == []
    assert block.lines == lines, "run: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pycon_blocks_of_a_page_run(page, tmp_path, monkeypatch) -> None:
    blocks = [block for block in doc_blocks.blocks(page) if block.language == "pycon"]
    if not blocks:
        assert ">>>" not in page.read_text(encoding="utf-8")
        return
    doc_blocks.Bench(tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for block in blocks:  # a page is one session
        source = "\n".join(block.lines) + "\n"
        test = doctest.DocTestParser().get_doctest(source, names, block.where, str(page), block.first)
        runner.run(test, clear_globs=False)
        names |= test.globs
    assert runner.summarize(verbose=False).failed == 0


# -- the runner itself ------------------------------------------------------------------------------------------------


def _page(tmp_path, monkeypatch, text: str) -> Path:
    monkeypatch.setattr(doc_blocks, "ROOT", tmp_path)
    monkeypatch.setattr(doc_blocks, "documents", lambda: [tmp_path / "page.md"])
    (tmp_path / "page.md").write_text(text)
    return tmp_path / "page.md"


def test_runner_finds_another_output_and_write_mends_it(tmp_path, monkeypatch) -> None:
    text = "# x\n\n```console\n$ printf 'one\\ntwo\\n'\nthree\n$ true\n```\n"
    page = _page(tmp_path, monkeypatch, text)
    src = ROOT / "src"
    monkeypatch.setenv("PYTHONPATH", str(src))
    assert doc_blocks.check() == ["page.md:3: shows another output than the command gives (make docs)"]
    assert doc_blocks.check(write=True) == []
    assert page.read_text() == text.replace("three", "one\ntwo")
    assert doc_blocks.check() == []


def test_runner_finds_a_failing_command_and_leaves_the_page(tmp_path, monkeypatch) -> None:
    text = "```console\n$ false\nx\n```\n"
    page = _page(tmp_path, monkeypatch, text)
    assert doc_blocks.check(write=True) == ["page.md:1: status 1 of: false\n"]
    assert page.read_text() == text
    _page(tmp_path, monkeypatch, "```console status=1\n$ false\n```\n")
    assert doc_blocks.check() == []


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("oomsight explain --evidnce x", "No such option"),
        ("dmesg | sudo oomsight explain --format yaml - > y", "'yaml' is not one of"),
        ("ssh host python3 /tmp/oomsight.pyz explain --last 0", "0 is not in the range"),
        ("oomsight explian", "there is no command"),
    ],
)
def test_runner_checks_the_syntax_of_commands_it_does_not_run(line, word, tmp_path, monkeypatch) -> None:
    page = _page(tmp_path, monkeypatch, f"```console syntax\n$ {line}\n```\n")
    (error,) = doc_blocks.syntax_errors(next(doc_blocks.blocks(page)))
    assert word in error


def test_runner_cuts_an_output_after_its_head(tmp_path, monkeypatch) -> None:
    page = _page(tmp_path, monkeypatch, "```console head=2\n$ seq 5\nx\n```\n")
    (tmp_path / "bench").mkdir()
    block = next(doc_blocks.blocks(page))
    assert doc_blocks.run_block(block, doc_blocks.Bench(tmp_path / "bench")) == (["$ seq 5", "1", "2", "…"], [])


# -- links, completeness ----------------------------------------------------------------------------------------------


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _prose(page: Path) -> str:
    """The page without its fenced blocks and code spans."""
    lines = page.read_text(encoding="utf-8").splitlines()
    for block in reversed(list(doc_blocks.blocks(page))):
        del lines[block.first - 1 : block.last]
    return re.sub(r"(`+).+?\1", "", "\n".join(lines))


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        if target.startswith("https://"):
            continue
        assert not target.startswith(("http:", "/")), target
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), f"{target}: not there"
        assert other.is_relative_to(ROOT), f"{target}: outside of the project"
        if anchor:
            headings = re.findall(r"(?m)^#+ (.+)$", other.read_text(encoding="utf-8"))
            assert anchor in {_slug(heading) for heading in headings}, target


def test_every_page_is_reached_from_the_readme() -> None:
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached or not page.is_file():
            continue
        reached.add(page)
        targets = re.findall(r"\]\(([^)#\s]+\.md)", page.read_text(encoding="utf-8"))
        todo += [(page.parent / target).resolve() for target in targets if not target.startswith("https:")]
    assert set(PAGES) <= reached


def test_reference_is_what_the_code_says() -> None:
    folder = ROOT / "docs" / "reference"
    written = {p.relative_to(folder).as_posix(): p.read_text(encoding="utf-8") for p in folder.rglob("*") if p.is_file()}
    stale = [name for name, text in gen_reference.pages().items() if written.get(name) != text]
    assert stale == [], "run: make docs"
    assert set(written) == set(gen_reference.PAGES)


def test_reference_shows_every_option_of_every_command() -> None:
    text = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    top = click.Context(cli, info_name=PROGRAM)
    for row in COMMANDS:
        section = text.split(f"## {PROGRAM} {row.name}\n")[1].split("\n## ")[0]
        command = cli.get_command(top, row.name)
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                for name in parameter.opts:
                    assert name in section, f"{row.name}: {name}"


def test_reference_does_not_depend_on_terminal_or_environment(monkeypatch) -> None:
    before = gen_reference.pages()
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("OOMSIGHT_REDACT_KEY", "secret")
    assert gen_reference.pages() == before
    assert os.environ["OOMSIGHT_REDACT_KEY"] == "secret"


def test_every_exit_status_is_documented() -> None:
    text = (ROOT / "docs" / "reference" / "exit-status.md").read_text(encoding="utf-8")
    for status, words in EXIT_HELP:
        assert f"| {int(status)} | `{status.name}` | {words}" in text
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for status in ("`0`", "`2`", "`3`", "`4`", "`5`"):
        assert status in readme


def test_every_environment_variable_is_documented() -> None:
    text = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
    for name in {name for source in sources for name in re.findall(r"\"(OOMSIGHT_[A-Z_]+)\"", source)}:
        assert f"`{name}`" in text, name
