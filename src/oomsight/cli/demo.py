"""``oomsight demo``: a real OOM kill that comes with the program, explained."""

from __future__ import annotations

from oomsight.cli import declare
from oomsight.cli.options import answer, color_option, format_option, renderer, width_option
from oomsight.data import CAPTURES, read_capture

EXAMPLES = (
    ("oomsight demo", "a full tmpfs takes a whole host down"),
    ("oomsight demo pod", "a container reaches its limit"),
    ("oomsight demo service --log | oomsight explain --format json -", "the log itself, through the usual command"),
)


@declare.command("demo", examples=EXAMPLES)
@declare.argument("name", type=declare.Choice([c.name for c in CAPTURES]), default=CAPTURES[0].name)
@declare.option("--log", is_flag=True, help="Print the kernel's log instead of the explanation.")
@format_option("text", "markdown")
@width_option
@color_option
def command(name: str, log: bool, output_format: str, width: int | None, color: str) -> None:
    """Explain a bundled real OOM kill, for a host that has had none."""
    text = read_capture(name)
    if log:
        answer(text)
        return
    from oomsight.diagnose.explain import explain_report
    from oomsight.report import parse_text
    from oomsight.sinks.story import stories

    blocks = stories([explain_report(report) for report in parse_text(text, f"demo {name}")])
    answer(renderer(output_format, width, color)(blocks))
