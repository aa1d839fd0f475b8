"""Settings that hurt: each row can apply, none applies to a sane host."""

from __future__ import annotations

import pytest

from oomsight.proc.machine import parse_meminfo
from oomsight.status.hurts import HURTS, SYSCTLS, Facts, hurts

SANE = {"panic_on_oom": 0, "overcommit_memory": 0, "oom_kill_allocating_task": 0, "swappiness": 60,
        "min_free_kbytes": 67584, "oom_dump_tasks": 1}  # fmt: skip
MEMORY = "MemTotal: 4000000 kB\nSwapTotal: 1000000 kB\nSwapFree: 1000000 kB\nCommitted_AS: 900 kB\nCommitLimit: 1000 kB\n"


def _codes(memory: str = MEMORY, *, psi: bool | None = True, cgroups: bool | None = True, **sysctl: int) -> list[str]:
    return [hurt.code for hurt in hurts(Facts(parse_meminfo(memory), SANE | sysctl, psi, cgroups))]


def test_sane_host_has_none() -> None:
    assert _codes() == []
    assert set(SANE) == set(SYSCTLS)


def test_what_is_not_known_is_not_said() -> None:
    assert list(hurts(Facts(parse_meminfo("MemTotal: 5 kB\n")))) == []


@pytest.mark.parametrize(
    ("code", "given"),
    [
        ("panic_on_oom", {"panic_on_oom": 2}), ("overcommit_never", {"overcommit_memory": 2}),
        ("overcommit_always", {"overcommit_memory": 1}), ("kill_allocating", {"oom_kill_allocating_task": 1}),
        ("no_swap", {"memory": "MemTotal: 4000000 kB\nSwapTotal: 0 kB\n"}), ("swappiness_0", {"swappiness": 0}),
        ("min_free", {"min_free_kbytes": 400000}),
        ("idle_hugepages", {"memory": MEMORY + "HugePages_Free: 200\nHugePages_Rsvd: 50\nHugepagesize: 2048 kB\n"}),
        ("no_psi", {"psi": False}), ("no_memory_cgroups", {"cgroups": False}), ("no_dump", {"oom_dump_tasks": 0}),
    ],
)  # fmt: skip
def test_each_row_applies(code, given) -> None:
    assert _codes(**given) == [code]


def test_every_row_is_tested_and_has_words_and_a_source() -> None:
    facts = Facts(parse_meminfo(MEMORY), SANE)
    for row in HURTS:
        assert row.words(facts)
        assert row.cure
        assert row.source
    assert "90 % of it" in next(iter(hurts(Facts(parse_meminfo(MEMORY), SANE | {"overcommit_memory": 2})))).text
