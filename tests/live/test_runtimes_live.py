"""Some real JVM and Node processes in a small memory cgroup: killed exactly when the estimate says so."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live

BENCH = Path(__file__).parents[2] / "bench" / "runtimes"
WORDS = {"java": ["-Xss512k", "-Xmx64m direct=all"], "node": ["node buffers=150"]}


@pytest.mark.parametrize("program", WORDS)
def test_killed_when_predicted(program: str) -> None:
    needed = ["java", "javac"] if program == "java" else ["node"]
    if missing := [name for name in (*needed, "java", "node") if shutil.which(name) is None]:
        pytest.skip(f"not installed: {missing[0]}")
    done = subprocess.run(
        [sys.executable, str(BENCH / "run.py"), *WORDS[program]], capture_output=True, text=True, check=False, timeout=300
    )
    last = done.stdout.strip().splitlines()[-1]
    if "predicted rightly" not in last:
        pytest.skip(last)
    assert "WRONG" not in done.stdout, done.stdout
    assert "oom-killed" in done.stdout
    assert ": ready" in done.stdout
