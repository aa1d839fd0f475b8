#!/usr/bin/env python3
"""
The commands shown in README.md and docs/: run them, compare or rewrite their output.

``doc_blocks.py --check`` compares (a test does that, too), ``doc_blocks.py --write`` rewrites what has changed.

A fenced block ``console`` holds lines ``$ command`` and below each its output. Words behind ``console``:

``head=N``    only the first N lines of an output are shown, then ``…``
``status=N``  the commands end with this status (0 without the word)
``syntax``    not run (needs root, a cluster, this very host …): the options are checked against the real commands

Commands run in a directory of their own that holds the bundled captures (``tmpfs.log``, ``service.log``,
``pod.log``), with UTC and a terminal of 80 columns. ``oomsight`` and ``python3`` are those of this environment.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from oomsight.cli.main import PROGRAM, cli
from oomsight.data import CAPTURES, read_capture

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<info>[^`]*)$")
CUT = "…"
SECONDS = 60


@dataclass(slots=True)
class Command:
    """One ``$`` line (with its continuation lines) and the output shown below it."""

    text: str  #: as typed, without the prompt
    line: int
    prompt: list[str] = field(default_factory=list)  #: lines as they stand in the block
    output: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Block:
    """One fenced block; ``commands`` only in console blocks."""

    path: Path
    first: int  #: line number of the opening fence, from 1
    last: int  #: of the closing one
    language: str
    words: frozenset[str]
    indent: str
    lines: list[str]

    @property
    def where(self) -> str:
        """For messages: file and line."""
        return f"{self.path.relative_to(ROOT)}:{self.first}"

    def word(self, name: str) -> int | None:
        """The number behind ``name=``, ``None`` without."""
        return next((int(w.partition("=")[2]) for w in self.words if w.startswith(f"{name}=")), None)

    def commands(self) -> list[Command]:
        """The commands of a console block, each with the output shown."""
        found: list[Command] = []
        more = False
        for number, line in enumerate(self.lines, self.first + 1):
            if line.startswith("$ "):
                found.append(Command(line[2:], number, [line]))
            elif more:
                found[-1].text += "\n" + line.removeprefix("> ")
                found[-1].prompt.append(line)
            elif not found:
                raise ValueError(f"{self.path.relative_to(ROOT)}:{number}: output before the first command")
            else:
                found[-1].output.append(line)
            more = line.endswith("\\") and (line.startswith("$ ") or more)
        return found


def documents() -> list[Path]:
    """README.md and every page below docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(path: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    start: tuple[int, re.Match[str]] | None = None
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        match = FENCE.match(line)
        if match is None:
            continue
        if start is None:
            start = (number, match)
        elif not match["info"].strip() and len(match["ticks"]) >= len(start[1]["ticks"]):
            first, opening = start
            language, *words = opening["info"].split() or [""]
            inside = [text.removeprefix(opening["indent"]) for text in lines[first : number - 1]]
            yield Block(path, first, number, language, frozenset(words), opening["indent"], inside)
            start = None
    if start is not None:
        raise ValueError(f"{path.relative_to(ROOT)}:{start[0]}: this block has no end")


STORE = "incidents.db"
STORED_US = 1_795_424_740_000_000


class Bench:
    """A directory with the captures, and the environment in which the commands run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for capture in CAPTURES:
            (folder / f"{capture.name}.log").write_text(read_capture(capture.name), encoding="utf-8")
        programs = folder / ".programs"
        programs.mkdir()
        for name, code in (("oomsight", "from oomsight.cli.main import main; main()"), ("python3", None)):
            call = f"exec {shlex.quote(sys.executable)}" + (f" -c {shlex.quote(code)}" if code else "")
            (programs / name).write_text(f'#!/bin/sh\n{call} "$@"\n')
            (programs / name).chmod(0o755)
        self.env = {
            "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(folder),
            "LC_ALL": "C.UTF-8", "TZ": "UTC", "COLUMNS": "80", "NO_COLOR": "1",
        }  # fmt: skip

    def make_store(self) -> None:
        """Put an incident store of made-up days beside the captures, as an agent with Docker would have filled it."""
        path = self.folder / STORE
        if not path.exists():
            fill_store(path)

    def run(self, text: str) -> tuple[int, list[str]]:
        """Run one command line; return its status and the lines of both its outputs."""
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {text}"], cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=SECONDS,
        )  # fmt: skip
        return done.returncode, done.stdout.decode("utf-8").rstrip("\n").splitlines()


def fill_store(path: Path) -> None:
    """Write a store of the captures, the first one twice more."""
    from oomsight.diagnose.explain import explain_report
    from oomsight.live.events import Kill, LiveEvent, Stage, kill_id, weigh
    from oomsight.report import parse_text
    from oomsight.sinks.live_event import event_dict
    from oomsight.sinks.store import Batch, Store

    store = Store(str(path), clock=lambda: STORED_US / 1e6)
    batch = Batch()
    captures = [capture.name for capture in CAPTURES]
    for number, name in enumerate([captures[0], *captures, captures[0]]):
        raw = read_capture(name).encode()
        victim = parse_text(raw)[0].victims[0]
        raw = re.sub(rb"\b%d\b" % victim.pid, b"%d" % (victim.pid + 1000 * number), raw)
        report = parse_text(raw, "/dev/kmsg")[0]
        incident, us = explain_report(report), 5_000_000 + number
        kills = tuple(Kill(kill_id(None, us, v.pid), v.pid, v.comm, us) for v in report.victims)
        event_id = kills[0].kill_id if kills else kill_id(None, us, None)
        event = LiveEvent(event_id, Stage.COMPLETE, incident, kills, None, us, "/dev/kmsg", raw, weigh(incident))
        named = {"attribution": {"name": "payments/api-7d9f:api", "level": "container"}} if "pod" in name else None
        document = event_dict(event, "2026-11-23T11:05:40+00:00", named)
        batch.events.append((event, document, STORED_US + number * 7_200_000_000))
    store.write(batch)
    store.close()


def missing_programs(block: Block) -> list[str]:
    """Programs besides ours that the commands of *block* start and this machine lacks."""
    ours = {PROGRAM, "python3", "cd", "export"}
    firsts = {part[0] for command in block.commands() for part in _parts(command.text) if part}
    return sorted(name for name in firsts - ours if shutil.which(name) is None)


def run_block(block: Block, bench: Bench) -> tuple[list[str], list[str]]:
    """Run the commands of *block*; return its lines as they should be, and what went wrong."""
    wrong: list[str] = []
    lines: list[str] = []
    if any(STORE in command.text for command in block.commands()):
        bench.make_store()
    for command in block.commands():
        status, output = bench.run(command.text)
        if status != (block.word("status") or 0):
            wrong.append(f"{block.where}: status {status} of: {command.text}\n" + "\n".join(output))
        head = block.word("head")
        if head is not None and len(output) > head:
            output = [*output[:head], CUT]
        lines += [*command.prompt, *([line.rstrip() for line in output] if command.output or head else [])]
    return lines, wrong


def _parts(text: str) -> list[list[str]]:
    """The simple commands of a line, as words."""
    lexer = shlex.shlex(text.replace("\\\n", " "), posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    redirected = False
    for word in lexer:
        if set(word) <= set("<>"):
            redirected = True
        elif set(word) <= set("|&;"):
            parts.append([])
        elif redirected:
            redirected = False
        elif parts[-1] or not re.match(r"\w+=", word):  # a variable set for one command
            parts[-1].append(word)
    return parts


_NAMED_BY = {"-t", "-v", "-n", "--name", "configmap", "exec"}
"""After these the word is the name of an image, a volume, a container, a name space, and not our program."""


def syntax_errors(block: Block) -> Iterator[str]:
    """Yield what our own commands in *block* would refuse, without running them."""
    for command in block.commands():
        for words in _parts(command.text):
            ours = [Path(word).name in {PROGRAM, f"{PROGRAM}.pyz"} for word in words]
            at = next((i for i, our in enumerate(ours) if our and (i == 0 or words[i - 1] not in _NAMED_BY)), None)
            if at is None or {"cp", "ln", "scp", "sha256sum", "install"} & set(words[:at]):  # the file, not the program
                continue
            try:
                _parse(words[at + 1 :])
            except click.exceptions.Exit:  # --help, --version
                pass
            except click.UsageError as error:
                yield f"{block.where}: {command.text}: {error.format_message()}"


def _parse(args: list[str]) -> None:
    if args and not args[0].startswith("-"):
        name, command, rest = cli.resolve_command(click.Context(cli, info_name=PROGRAM), args)
        assert command is not None
        with command.make_context(name, rest):
            return
    with cli.make_context(PROGRAM, args):
        return


def check(write: bool = False) -> list[str]:
    """Run every block of every page; return what is wrong. With *write*, outputs that differ are replaced."""
    wrong: list[str] = []
    for path in documents():
        text = path.read_text(encoding="utf-8").splitlines()
        with TemporaryDirectory() as folder:
            bench = Bench(Path(folder))
            fresh: list[tuple[Block, list[str]]] = []
            for block in blocks(path):
                if block.language != "console":
                    continue
                wrong += syntax_errors(block)
                if "syntax" in block.words:
                    continue
                if missing := missing_programs(block):
                    wrong.append(f"{block.where}: cannot run without {', '.join(missing)}")
                    continue
                lines, problems = run_block(block, bench)
                wrong += problems
                if lines != block.lines and not problems:
                    fresh.append((block, lines))
        if not write:
            wrong += [f"{block.where}: shows another output than the command gives (make docs)" for block, _ in fresh]
            continue
        for block, lines in reversed(fresh):
            text[block.first : block.last - 1] = [(block.indent + line).rstrip() for line in lines]
            print(f"{block.where}: output renewed")
        if fresh:
            path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return wrong


if __name__ == "__main__":
    if sys.argv[1:] not in (["--check"], ["--write"]):
        sys.exit("usage: doc_blocks.py --check|--write")
    found = check(write=sys.argv[1] == "--write")
    sys.exit("\n".join(found) or 0)
