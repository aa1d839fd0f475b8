"""The timeline of a simulation as text: a sparkline for each thing that fills up, one column for each moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight._sizes import size_words
from oomsight.simulate.units import duration_words
from oomsight.sinks.safe import ascii_text, display_width, pad, plain, shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oomsight.simulate.outcome import Run, Sample

MAX_CGROUPS: Final = 8  #: rows; the busiest are shown
_LEVELS: Final = " ▁▂▃▄▅▆▇█"
_ASCII_LEVELS: Final = " .:-=+*#@"
_MARKS: Final = (("kernel", "K"), ("guard", "G"))


class Series(NamedTuple):
    """One row: its name, its whole (100 %), and a value for each sample."""

    name: str
    whole_bytes: int
    values: list[int]
    whole_words: str


def chart_lines(run: Run, width: int, *, unicode: bool = True) -> list[str]:
    """The chart in at most *width* columns (at least 50): one line for each series, then kills and the time axis."""
    rows = series(run)
    ellipsis = "…" if unicode else "..."
    names = [shorten(plain(row.name, ascii_only=not unicode), 16, ellipsis=ellipsis) for row in rows]
    label = max([*map(display_width, names), 5])
    tail = max(len(row.whole_words) for row in rows)
    columns = max(width - label - tail - 13, 20)
    times = [sample.time_seconds for sample in run.samples]
    levels = _LEVELS if unicode else _ASCII_LEVELS
    left, right = ("▕", "▏") if unicode else ("[", "]")
    lines = []
    for name, row in zip(names, rows, strict=True):
        peak = max(row.values, default=0)
        share = f"{100 * peak / row.whole_bytes:.0f} %" if row.whole_bytes else ""
        spark = sparkline(resample(times, row.values, columns, run.end_seconds), row.whole_bytes, levels)
        lines.append(f"{pad(name, label)} {left}{spark}{right}{share:>6} of {row.whole_words}")
    lines += _marks(run, label, columns)
    lines.append(" " * (label + 2) + _axis(run.end_seconds, columns))
    return [line.rstrip() if unicode else ascii_text(line.rstrip()) for line in lines]


def series(run: Run) -> list[Series]:
    """What a run shows: RAM with and without page cache, swap, and its busiest cgroups against their limits."""
    samples, machine = run.samples, run.scenario.machine
    ram, swap = machine["ram"], machine["swap"]

    def values(get: Callable[[Sample], int]) -> list[int]:
        return [get(sample) for sample in samples]

    rows = [Series("needed RAM", ram, values(lambda s: s.need_bytes[0]), f"{size_words(ram)} RAM")]
    if any(sample.cache_bytes[0] for sample in samples):
        rows.append(Series("page cache", ram, values(lambda s: s.cache_bytes[0]), f"{size_words(ram)} RAM"))
    if swap:
        rows.append(Series("swap", swap, values(lambda s: s.swap_bytes[0]), f"{size_words(swap)} swap"))
    busiest = sorted(
        range(1, len(run.cgroups)), key=lambda i: -max((s.need_bytes[i] for s in samples), default=0)
    )[:MAX_CGROUPS]  # fmt: skip
    for index in sorted(busiest):
        info = run.cgroups[index]
        whole = ram if info.limit_bytes is None else info.limit_bytes
        words = f"{size_words(whole)} {'RAM' if info.limit_bytes is None else 'max'}"
        rows.append(Series(info.path, whole, values(lambda s, i=index: s.need_bytes[i]), words))  # type: ignore[misc]
    return rows


def resample(times: Sequence[float], values: Sequence[int], columns: int, end_seconds: float) -> list[int]:
    """The most of *values* in each of *columns* equal spans; a span without a sample goes on as the one before."""
    out = [-1] * columns
    last_of = [0] * columns
    for at, value in zip(times, values, strict=True):
        column = min(int(at / end_seconds * columns), columns - 1) if end_seconds else 0
        out[column] = max(out[column], value)
        last_of[column] = value
    before = 0
    for column, value in enumerate(out):
        if value < 0:
            out[column] = before
        else:
            before = last_of[column]
    return out


def sparkline(values: Sequence[int], whole: int, levels: str = _LEVELS) -> str:
    """One character for each value: the share of *whole*; anything above nothing is visible."""
    top = len(levels) - 1
    return "".join(levels[min(max(-(-value * top // whole), 0), top) if whole else 0] for value in values)


def _marks(run: Run, label: int, columns: int) -> list[str]:
    """A row for kills: K by the kernel, G by the guard, ! an alert (where no kill is)."""
    row = [" "] * columns

    def put(seconds: float, letter: str) -> None:
        column = min(int(seconds / run.end_seconds * columns), columns - 1) if run.end_seconds else 0
        row[column] = letter

    for event in run.events:
        if event.kind == "alert":
            put(event.time_seconds, "!")
    for by, letter in _MARKS:
        for kill in run.kills:
            if kill.by == by:
                put(kill.time_seconds, letter)
    if not "".join(row).strip():
        return []
    return [f"{pad('kills', label)}  {''.join(row)}"]


def _axis(end_seconds: float, columns: int) -> str:
    """Begin, middle and end of the time."""
    middle, end = duration_words(end_seconds / 2), duration_words(end_seconds)
    room = columns - 2 - len(end)
    text = "0 s".ljust(columns // 2 - len(middle) // 2) + middle
    return text.ljust(room + 2) + end if len(text) < room else "0 s".ljust(room + 2) + end
