"""Options of containers: the same mistake is told in the same words, wherever it is written."""

from __future__ import annotations

from typing import Any

import pytest

from oomsight.audit.settings import Config
from oomsight.naming.marked import unmark
from oomsight.pipeline.audit import Plan, audit_paths

#: option of `docker run` -> key of a compose file
KEYS = {"memory": "mem_limit", "memory-reservation": "mem_reservation", "memory-swap": "memswap_limit",
        "shm-size": "shm_size", "oom-score-adj": "oom_score_adj"}  # fmt: skip


@pytest.fixture
def told(tmp_path):
    """Audit a file of a name and return what is said, with its severity."""

    def audit(name: str, text: str) -> set[tuple[str, str]]:
        (tmp_path / name).write_text(text)
        report = audit_paths(Plan((str(tmp_path / name),), Config()))
        return {(unmark(found.message), found.severity.name) for found in report.open()}

    return audit


def unit(**options: Any) -> str:
    words = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in options.items())
    return f"[Service]\nMemoryMax=1G\nRestart=on-failure\nRestartSec=5\nExecStart=/usr/bin/docker run {words} example.org/web:3\n"


def compose(**options: Any) -> str:
    lines = "".join(f"    {KEYS[name.replace('_', '-')]}: {value}\n" for name, value in options.items())
    return f"services:\n  web:\n    image: example.org/web:3\n{lines}"


@pytest.mark.parametrize(
    ("options", "words", "severity"),
    [
        ({"memory": "512"}, "--memory 512 is 512 bytes: Docker refuses less than 6 MiB, and nothing runs in that", "HIGH"),
        ({"memory": "512x"}, "--memory 512x is no size: a number and b, k, m or g: docker refuses to start it", "HIGH"),
        ({"memory": "1g", "memory_reservation": "2g"},
         "--memory-reservation (2 GiB) is above --memory (1 GiB): docker refuses to start it", "HIGH"),
        ({"memory": "1g", "memory_swap": "512m"},
         "--memory-swap (512 MiB) is memory and swap together, and below --memory (1 GiB): docker refuses to start it", "HIGH"),
        ({"memory": "1g", "shm_size": "1g"}, "/dev/shm may hold 1 GiB and the memory limit is 1 GiB: files there count, it is"
         " killed before /dev/shm is full", "HIGH"),
        ({"memory": "1g", "oom_score_adj": "-950"},
         "--oom-score-adj -950: whatever it takes, something else is killed for it", "MEDIUM"),
        ({"memory": "1g", "oom_score_adj": "-1001"},
         "--oom-score-adj -1001 is no number from -1000 to 1000: the container does not start", "HIGH"),
    ],
)  # fmt: skip
def test_a_unit_and_a_compose_file_are_told_the_same(options, words, severity, told) -> None:
    assert (words, severity) in told("web.service", unit(**options))
    for name, key in sorted(KEYS.items(), reverse=True):  # the longer first: --memory begins others
        words = words.replace(f"--{name}", key)
    assert (words.replace("docker", "Docker"), severity) in told("compose.yaml", compose(**options))


def test_a_quadlet_is_told_by_its_own_keys(told) -> None:
    text = "[Container]\nImage=example.org/web:3\nMemory=512\nPodmanArgs=--memory-swap=1x\n"
    words = {message for message, _ in told("web.container", text)}
    assert "Memory 512 is 512 bytes: Docker refuses less than 6 MiB, and nothing runs in that" in words
    assert "--memory-swap 1x is no size: a number and b, k, m or g: podman refuses to start it" in words


def test_what_systemd_fills_in_is_not_judged(told) -> None:
    assert told("web@.service", unit(memory="${SIZE}", oom_score_adj="%i")) == told("web@.service", unit(memory="${SIZE}"))
