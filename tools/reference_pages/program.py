"""What people and programs meet: commands, exit statuses, JSON, the library."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import click

import oomsight
from oomsight.cli.exits import EXIT_HELP
from oomsight.cli.main import PROGRAM, cli
from oomsight.sinks.document import json_schema
from reference_pages.markdown import code, prose, table

WIDTH: Final = 96


def _context(command: click.Command, name: str, parent: click.Context | None = None) -> click.Context:
    # The width must not depend on the terminal this is written on.
    settings: dict[str, Any] = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    return click.Context(command, info_name=name, parent=parent, **settings)


def _help(ctx: click.Context) -> Iterator[str]:
    yield "```text"
    yield from (line.rstrip() for line in ctx.get_help().rstrip().splitlines())
    yield "```"
    yield ""


def cli_page() -> Iterator[str]:
    """The help of the program and of every command, as it prints it."""
    yield "What `--help` prints; the man pages (`make man`) say the same. See also [exit statuses](exit-status.md)."
    yield ""
    top = _context(cli, PROGRAM)
    yield f"## {PROGRAM}"
    yield ""
    yield from _help(top)
    for name in cli.list_commands(top):
        command = cli.get_command(top, name)
        assert command is not None
        yield f"## {PROGRAM} {name}"
        yield ""
        here = _context(command, name, top)
        yield from _help(here)
        for inner in command.list_commands(here) if isinstance(command, click.Group) else ():
            yield f"### {PROGRAM} {name} {inner}"
            yield ""
            yield from _help(_context(command.get_command(here, inner), inner, here))
    yield "## Environment"
    yield ""
    yield from table(
        ("variable", "meaning"),
        [
            ("`NO_COLOR`", "not empty: no colour, unless `--color always` asks for it"),
            ("`OOMSIGHT_REDACT_KEY`", "key of the pseudonyms, as `--redact-key`, but not seen in `ps`"),
            ("`OOMSIGHT_STORE`", "the incident store, as `--store`"),
            ("`OOMSIGHT_HISTORY`", "the recorder's directory, as `record --store` and `history --store`"),
            ("`OOMSIGHT_DEBUG`", "not empty: an error shows its traceback instead of one line"),
        ],
    )


def exit_page() -> Iterator[str]:
    """Exit statuses."""
    yield "The same for every command. What was found does not change the status, unless `--exit-code` asks for that."
    yield ""
    yield from table(
        ("status", "name", "meaning"), [(str(int(s)), code(s.name), prose(words)) for s, words in EXIT_HELP]
    )
    yield "What is wrong with a command line, a right or a file is one line on standard error; answers go to standard"
    yield "output."
    yield ""


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name})"
    if "const" in schema:
        return code(f'"{schema["const"]}"')
    if "enum" in schema:
        return ", ".join(code(f'"{value}"') for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_type(part) for part in schema["anyOf"])
    kind = schema["type"]
    names = kind if isinstance(kind, list) else [kind]
    if "items" in schema:
        return " or ".join(["array of " + _type(schema["items"]), *(n for n in names if n != "array")])
    if isinstance(schema.get("additionalProperties"), dict):
        return " or ".join(["object of " + _type(schema["additionalProperties"]), *(n for n in names if n != "object")])
    return " or ".join(names)


def json_page() -> Iterator[str]:
    """Every field of ``--format json``."""
    schema = json_schema()
    yield "`oomsight explain --format json` writes one document, `--format ndjson` one [incident](#incident) per line."
    yield f"Version of the contract: `{schema['$id']}`. `oomsight schema` prints the JSON Schema behind this page."
    yield ""
    yield "- Sizes end in their unit: `_kib`, `_bytes`, `_pages`."
    yield '- `null` is *not known*, `0` is zero, `"unlimited"` is a limit that does not limit.'
    yield "- Every key is always there."
    yield "- Names are the raw names; a byte that is not UTF-8 is a lone surrogate, `\\udcXX` (`surrogateescape`)."
    yield "- The text is pure ASCII: other characters are `\\uXXXX`."
    yield ""
    for name, record in (("document", schema), *schema["$defs"].items()):
        yield f"## {name}"
        yield ""
        yield record.get("description") or "What `explain --format json` writes."
        yield ""
        yield from table(
            ("field", "type", "meaning"),
            [(code(k), _type(v), prose(v.get("description", ""))) for k, v in record["properties"].items()],
        )


def _doc(value: object) -> Iterator[str]:
    """A docstring as Markdown: prose paragraphs, then the ``:param …:`` fields as a list."""
    text = inspect.getdoc(value) or ""
    body, *fields = re.split(r"(?m)^:(param \w+|return|raises \w+): ?", text)
    for paragraph in body.strip().split("\n\n"):
        yield prose(paragraph)
        yield ""
    for name, words in zip(fields[::2], fields[1::2], strict=True):
        what = {"param": "", "return": "returns", "raises": "raises "}[name.split()[0]]
        yield f"- **{what}{code(name.split()[1]) if ' ' in name else ''}**: {prose(words)}"
    if fields:
        yield ""


def library_page() -> Iterator[str]:
    """The public names of ``import oomsight``."""
    yield from _doc(oomsight)
    yield "How to use it: [from Python](../how-to/python.md)."
    yield ""
    functions = {n: v for n in oomsight.__all__ if inspect.isfunction(v := getattr(oomsight, n))}
    classes = {n: v for n in oomsight.__all__ if inspect.isclass(v := getattr(oomsight, n))}
    yield "## Functions"
    yield ""
    for name, function in functions.items():
        yield f"### {name}"
        yield ""
        yield "```python"
        yield f"{name}{_signature(function)}"
        yield "```"
        yield ""
        yield from _doc(function)
    yield "## Types"
    yield ""
    yield from table(
        ("name", "defined in", "what it is"),
        [
            (code(name), code(kind.__module__), prose((inspect.getdoc(kind) or "").split("\n\n")[0]))
            for name, kind in classes.items()
        ],
    )
    yield "The fields of each are described where it is defined, and as JSON in [json.md](json.md)."
    yield ""


def _signature(function: Callable[..., Any]) -> str:
    text = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(function)))
    if len(text) <= 100:
        return text
    inside, _, result = text[1:].rpartition(") ->")
    depth, parts, part = 0, [], ""
    for char in inside + ",":
        depth += (char in "[(") - (char in ")]")
        if char == "," and not depth:
            parts.append(part.strip())
            part = ""
        else:
            part += char
    return "(\n" + "".join(f"    {part},\n" for part in parts) + f") ->{result}"
