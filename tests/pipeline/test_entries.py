"""Ledger and spool: order, copies of one event, what is kept of each."""

from __future__ import annotations

import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.diagnose.explain import explain_report
from oomsight.naming.marked import unmark
from oomsight.pipeline import entries
from oomsight.pipeline.entries import Entry, Ledger, Spool, entry_of, recurrences, runs
from oomsight.report import Clock, parse_text

from .events import NOW, ago, dmesg, event, export, iso


def entry(text: str, epoch: float | None = None, source: int = 0) -> Entry:
    """The entry of the only event in *text*."""
    (report,) = parse_text(text, f"source {source}", clock=Clock(reference=NOW.replace(tzinfo=None)))
    return entry_of(explain_report(report), epoch, source)


def ledger(*found: Entry) -> list[Entry]:
    """The entries that remain of *found*."""
    book = Ledger()
    for item in found:
        book.add(item)
    return book.newest_first()


HEAD = "{} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0"
KILL = "Out of memory in UB 7: OOM killed process {} (a) score 0 vm:9kB, rss:4kB, swap:0kB"
FAILED = "{}: page allocation failure: order:4, mode:0xcc0(GFP_KERNEL)"


@pytest.mark.parametrize(
    ("events", "sizes"),
    [
        ([[HEAD.format("a")], [HEAD.format("b")], [HEAD.format("a")]], [3]),  # who asked stands in the list
        ([[KILL.format(5)], [KILL.format(6)], [HEAD.format("a")]], [2, 1]),
        # a number that only one of them tells is not lost
        ([[KILL.format(5)], ["OOM killer in rage, 16 tasks killed in ub 7", KILL.format(6)]], [1, 1]),
        ([[FAILED.format("a")], [FAILED.format("a")]], [1, 1]),  # each asked for something of its own
        ([event(5), event(5)], [1, 1]),
        ([["container oom " + "a" * 64 + " (image=web)"], ["container oom " + "a" * 64 + " (image=web)"]], [2]),
        ([["container oom " + "a" * 64 + " (image=web)"], ["container oom " + "b" * 64 + " (image=web)"]], [1, 1]),
    ],
)
def test_events_of_which_only_one_line_is_there_are_told_once(events: list[list[str]], sizes: list[int]) -> None:
    found = [entry(dmesg(lines, 100.0 * i)) for i, lines in enumerate(events)]
    assert [len(run) for run in runs(found, bare=True)] == sizes


def test_entry_of_says_what_and_where():
    made = entry(dmesg(event(77), 12.5), source=3)
    assert (unmark(made.names), unmark(made.where), made.kind, made.kills) == ("java", "app.service", "memcg", 1)
    assert (made.cause, made.source, made.first_line, made.last_line) == ("memcg_limit", "source 3", 1, 12)
    assert (made.uptime_s, made.time, made.boot_id) == (12.5, "[   12.500000]", None)
    assert made.fingerprint == ("memcg", "java", "/system.slice/app.service", "memcg_limit")


def test_ledger_dated_newest_first_then_undated_by_clock():
    old, new = entry(iso(event(1), ago(days=2)), ago(days=2).timestamp()), entry(iso(event(2), NOW), NOW.timestamp())
    early, late = entry(dmesg(event(3), 10.0)), entry(dmesg(event(4), 900.0))
    assert ledger(early, new, late, old) == [new, old, late, early]


def test_ledger_copy_merged_and_the_fuller_kept():
    full = entry(dmesg(event(1), 50.0))
    kill_only = entry(dmesg(event(1)[-1:], 50.011), source=1)
    assert full.id == kill_only.id
    assert kill_only.uptime_s == 50.011
    short = entry(dmesg(event(1)[-1:], 50.0), source=1)
    assert ledger(full, short) == [full]
    assert full.copies == 1
    again = entry(dmesg(event(1), 50.0), source=2)
    assert ledger(short, again) == [again]
    assert again.copies == 1


def test_ledger_date_of_a_copy_survives():
    at = ago(hours=1)
    full, dated = entry(dmesg(event(1), 50.0)), entry(iso(event(1)[-1:], at, 50.0), at.timestamp(), source=1)
    assert full.id == dated.id
    (kept,) = ledger(full, dated)
    assert kept is full
    assert (kept.order[:2], kept.time) == ((True, at.timestamp()), at.isoformat(timespec="seconds"))


@pytest.mark.parametrize(
    ("first", "second", "events"),
    [
        (dmesg(event(1), 50.0), dmesg(event(1), 50.0), 1),
        (dmesg(event(1), 50.0), dmesg(event(1), 50.02), 2),  # another boot in which all is the same but the clock
        (dmesg(event(1), 50.0), dmesg(event(2), 50.0), 2),
        (dmesg(event(1), 50.0), dmesg(event(1, anon_kib=50_004), 50.0), 2),
        (export(event(1), NOW, 50.0), dmesg(event(1), 50.0), 1),
        (export(event(1), NOW, 50.0), iso(event(1), NOW), 1),  # nothing contradicts
    ],
)
def test_ledger_same_event_only_if_no_clock_contradicts(first, second, events):
    assert len(ledger(entry(first), entry(second))) == events


@pytest.mark.parametrize(("boots", "events"), [("aa", 1), ("ab", 2), ("a-", 1), ("--", 1)])
def test_ledger_boot_ids_tell_boots_apart(boots, events):
    made = [entry(dmesg(event(1), 50.0)) for _ in boots]
    for item, boot in zip(made, boots, strict=True):
        item.boot_id = None if boot == "-" else boot * 32
    assert len(ledger(*made)) == events


def test_ledger_same_kill_days_apart_twice():
    # Without a printk clock only the date tells; more than any two time zones apart is another event.
    near = [entry(iso(event(1), at), at.timestamp()) for at in (NOW, ago(hours=14))]
    far = [entry(iso(event(1), at), at.timestamp()) for at in (NOW, ago(hours=40))]
    assert (len(ledger(*near)), len(ledger(*far))) == (1, 2)


@given(order=st.permutations(range(6)))
def test_ledger_order_of_arrival_does_not_matter(order):
    made = [entry(dmesg(event(pid), 10.0 * pid)) for pid in (1, 2, 3)]
    copies = [entry(dmesg(event(pid)[-1:], 10.0 * pid), source=1) for pid in (1, 2, 3)]
    found = ledger(*((made + copies)[i] for i in order))
    assert found == made[::-1]
    assert [item.copies for item in found] == [1, 1, 1]


def test_recurrences_numbered_from_the_oldest():
    java = [entry(dmesg(event(pid), 10.0 * pid)) for pid in (1, 2, 3)]
    other = entry(dmesg(event(9, comm="node"), 15.0))
    found = recurrences([java[2], java[1], other, java[0]])
    assert [found[id(item)] for item in (*java, other)] == [(1, 3), (2, 3), (3, 3), (1, 1)]


@pytest.mark.parametrize("keep", [0, 10, 1 << 20])
def test_spool_gives_back_what_was_put(monkeypatch, keep):
    monkeypatch.setattr(entries, "_KEEP_BYTES", keep)
    spool = Spool()
    texts = [b"one", b"", b"\0\n" * 20, "zwölf".encode()]
    places = [spool.put(text, line) for line, text in enumerate(texts, 5)]
    assert [spool.get(place) for place in reversed(places)] == texts[::-1]
    assert [place.first_line for place in places] == [5, 6, 7, 8]
    places.append(spool.put(b"after a read"))
    assert spool.get(places[-1]) == b"after a read"
    assert spool.get(places[0]) == b"one"
    spool.close()


def test_spool_no_room_for_a_file_stays_in_memory(monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(entries, "_KEEP_BYTES", 4)
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    spool = Spool()
    places = [spool.put(text) for text in (b"abc", b"defgh", b"ij")]
    assert [spool.get(place) for place in places] == [b"abc", b"defgh", b"ij"]


def test_spool_file_that_gets_full_goes_on_in_memory(monkeypatch):
    monkeypatch.setattr(entries, "_KEEP_BYTES", 4)
    spool = Spool()
    first = spool.put(b"abcdef")

    class Full:
        def __init__(self, file):
            self.file = file

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, _data):
            raise OSError(28, "No space left on device")

    spool._file = Full(spool._file)
    second = spool.put(b"later")
    assert (spool.get(first), spool.get(second)) == (b"abcdef", b"later")
    spool.close()
