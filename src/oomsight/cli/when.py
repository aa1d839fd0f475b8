"""``--since`` and ``--until``: one way to write a moment, and one line when it is none, for every command."""

from __future__ import annotations

from datetime import datetime

from oomsight.cli.exits import UsageError

FORMS = "2026-11-23, '2026-11-23 14:30', 14:30, yesterday, '2 hours ago' or -30m"
"""What a moment may look like, for messages and help texts."""


def moment(option: str, text: str | None, now: datetime) -> datetime | None:
    """
    Return the moment *text* means to a person at *now* (with time zone); ``None`` = the option was not given.

    :raises UsageError: naming *option* and the forms that are read.
    """
    if text is None:
        return None
    from oomsight.pipeline.query import parse_when

    try:
        return parse_when(text, now)
    except ValueError:
        raise UsageError(f"{option}: '{text}' is no time I know; write {FORMS}") from None


def period(
    since: str | None, until: str | None, now: datetime | None = None
) -> tuple[datetime | None, datetime | None]:
    """
    Return both ends as moments; ``None`` = open.

    :raises UsageError: a text that is no moment, or an end that lies before its beginning.
    """
    now = now or datetime.now().astimezone()
    first, last = moment("--since", since, now), moment("--until", until, now)
    if first is not None and last is not None:
        in_order(first, last, now)
    return first, last


def in_order(first: datetime, last: datetime, now: datetime) -> None:
    """
    Nothing, if a period begins before it ends.

    :raises UsageError: it does not; says so of a beginning that is still to come, beside which ``--until`` need not
        have been given.
    """
    if first < last:
        return
    if first > now:
        raise UsageError(f"--since: {first:%Y-%m-%d %H:%M} is still to come")
    raise UsageError("--since must be before --until")
