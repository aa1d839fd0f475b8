"""oomsight.kernel.badness against the same arithmetic in C, with longs of 32 and of 64 bits."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from oomsight.kernel.badness import BADNESS_RULES, TaskFacts, badness, oom_score, printed_score

SOURCE = Path(__file__).with_name("badness_yardstick.c")
SHIFT_HZ = {100: 7, 250: 8, 1000: 10}
COUNT = 400  # for each rule, width and page size
MACHINES = [(32, 4096), (64, 4096), (64, 16384), (64, 65536)]  # bits of a long, bytes of a page: i686, x86-64, arm64


@pytest.fixture(scope="module")
def yardsticks(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("there is no C compiler (Debian: gcc, libc6-dev)")
    programs = {bits: tmp_path_factory.mktemp("yardstick") / f"badness{bits}" for bits in (32, 64)}
    for bits, program in programs.items():
        options = ["-std=c11", "-O1", "-Wall", "-fwrapv", f"-DLONG={bits}"]
        subprocess.run([compiler, *options, "-o", str(program), str(SOURCE)], check=True)
    return programs


def drawn(rule, bits, page_size, chance):
    """Facts of a task and T, as a machine of this width can have them, the ends more often than not."""
    most_ram = (64 << 30 if bits == 32 else 4 << 40) // page_size
    most_rss = (3 << 30 if bits == 32 else 2 << 40) // page_size
    total = chance.choice([chance.randint(1000, most_ram), chance.randint(1, 5000), most_ram])
    rss = chance.choice([chance.randint(0, most_rss), chance.randint(0, 5000)])
    legacy = rule.unit == "points"
    hz = chance.choice([100, 250, 1000])
    tables = chance.randint(0, rss // 400 + 8)
    child = chance.choice([0, chance.randint(1, most_rss)])
    facts = TaskFacts(
        rss_pages=rss, swap_pages=chance.choice([0, chance.randint(0, most_rss - rss if bits == 32 else most_rss)]),
        pgtables_bytes=tables * 4096, nr_ptes=tables, nr_pmds=chance.randint(0, 9),
        oom_score_adj=chance.choice([0, 1000, -999, chance.randint(-999, 1000)]), cap_sys_admin=chance.random() < 0.3,
        total_vm_pages=rss, oom_adj=chance.randint(-16, 15), child_total_vm_pages=(child,) if child else (),
        cpu_time_jiffies=chance.randint(0, 1 << 30), run_time_seconds=chance.randint(0, 1 << 26), hz=hz,
        nice=chance.randint(-20, 19), cap_sys_resource=False, cap_sys_rawio=chance.random() < 0.2,
    )  # fmt: skip
    adj = facts.oom_adj if legacy else facts.oom_score_adj
    table_number = facts.pgtables_bytes if "pgtables_bytes" in rule.memory else facts.nr_ptes
    numbers = (rss, facts.swap_pages, table_number, facts.nr_pmds, adj, int(facts.cap_sys_admin), total, page_size, child,
               facts.cpu_time_jiffies, facts.run_time_seconds, facts.nice, int(facts.cap_sys_rawio), SHIFT_HZ[hz])  # fmt: skip
    return facts, total, " ".join(map(str, (rule.name, *numbers)))


@pytest.mark.parametrize(("bits", "page_size"), MACHINES)
@pytest.mark.parametrize("rule", BADNESS_RULES, ids=lambda rule: rule.name)
def test_points_and_scores_are_those_of_c(yardsticks, rule, bits, page_size):
    chance = random.Random(f"{rule.name} {bits} {page_size}")
    tasks = [drawn(rule, bits, page_size, chance) for _ in range(COUNT)]
    told = subprocess.run([yardsticks[bits]], input="\n".join(line for *_, line in tasks), capture_output=True, text=True, check=True)
    answers = told.stdout.splitlines()
    assert len(answers) == COUNT
    for (facts, total, line), answer in zip(tasks, answers, strict=True):
        points = badness(rule, facts, total, page_size, bits).total
        printed = printed_score(rule, points, total, bits)
        shown = "-" if printed is None else str(printed)
        assert f"{points} {oom_score(rule, points, total, bits)} {shown}" == answer, line
