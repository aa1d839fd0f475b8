"""What is made to break an audit: each a clear finding with file and line, the rest audited, memory bounded."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from oomsight.sources import yaml_documents

MIB = 1 << 20
GOOD = """\
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  containers:
  - name: app
    image: registry.example.org/app:1
    resources: {{requests: {{memory: 64Mi}}, limits: {{memory: 32Mi}}}}
"""
MAX_RSS_MIB = 160
"""An audit of one small file takes about 40 MiB, one document at its greatest 90 MiB more."""


def audit(*args: str | Path) -> tuple[dict, int, str]:
    """Run the command; return its document, its peak resident memory in MiB and what it said on stderr."""
    # VmHWM, told by itself: ru_maxrss of a child begins with what its parent held before exec.
    code = (
        "import sys\nfrom oomsight.cli.main import main\ntry:\n    main()\nfinally:\n"
        "    sys.stderr.write(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "audit", "--format", "json", "--jobs", "1", *map(str, args)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said, peak_kib = re.fullmatch(r"(.*?)(\d+)", done.stderr, re.DOTALL).groups()
    assert done.returncode == 0, said
    return json.loads(done.stdout), int(peak_kib) >> 10, said


def findings(document: dict, folder: Path) -> set[tuple[str, str, int | None]]:
    return {
        (found["rule"], str(Path(found["where"]["path"]).relative_to(folder)), found["where"]["line"])
        for found in document["findings"]
    }


def bomb() -> str:
    """Nine levels of nine aliases: 387 million values."""
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    return "apiVersion: v1\nkind: List\nitems: []\n" + "\n".join(levels) + "\n"


def test_depth_is_counted_where_libyaml_does_not(monkeypatch) -> None:
    # Up to 0.2.5 (Debian 12) what is nested deeply ended the process with SIGSEGV.
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (extra audit)")
    pytest.importorskip("yaml._yaml", reason="this PyYAML comes without libyaml")
    monkeypatch.setattr(yaml._yaml, "get_version", lambda: (0, 2, 5))
    monkeypatch.setattr(yaml_documents, "MAX_DEPTH", 50)
    yaml_documents.loader.cache_clear()
    try:
        for text, deep in (
            ("[" * 49 + "]" * 49, False), ("[" * 51 + "]" * 51, True), ("- " * 51, True), ("{a: " * 51 + "}" * 51, True),
            ("[[], " * 30 + "]" * 30, False), ("[" * 60, True),
        ):  # fmt: skip
            found = yaml_documents.document(7, text.encode())
            assert found.problem == ((7, None, "is nested too deeply", "broken") if deep else None), text[:9]
        with pytest.raises(yaml_documents.YamlError, match="nested too deeply"):
            yaml_documents.whole("[" * 51 + "]" * 51)
    finally:
        yaml_documents.loader.cache_clear()


def test_a_bomb_and_broken_neighbours_do_not_take_the_rest_along(tmp_path: Path) -> None:
    (tmp_path / "bomb.yaml").write_text("# one\n---\n" + bomb() + "---\n" + GOOD.format(name="behind"))
    (tmp_path / "endless.yaml").write_text("apiVersion: v1\nkind: Pod\nspec: &s {containers: [*s]}\n")
    (tmp_path / "deep.yaml").write_text("apiVersion: v1\nkind: Pod\nspec: " + "[" * 200_000 + "\n")
    (tmp_path / "deep-block.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nspec:\n" + "".join(f"{' ' * n}a:\n" for n in range(1, 1500))
    )
    (tmp_path / "latin1.yaml").write_bytes(
        b"apiVersion: v1\nkind: Pod\nmetadata:\n  name: caf\xe9\n---\n" + GOOD.format(name="b").encode()
    )
    (tmp_path / "control.yaml").write_bytes(b"apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\x07b\n")
    (tmp_path / "good.yaml").write_text(GOOD.format(name="good"))
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self.yaml").symlink_to(tmp_path / "self.yaml")
    (tmp_path / "nowhere.yaml").symlink_to(tmp_path / "missing.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    document, rss_mib, said = audit(tmp_path)
    assert findings(document, tmp_path) == {
        ("OS005", "bomb.yaml", 2), ("OS403", "bomb.yaml", 23), ("OS005", "endless.yaml", 1), ("OS001", "deep.yaml", 3),
        ("OS001", "deep-block.yaml", 1002), ("OS001", "latin1.yaml", 4), ("OS403", "latin1.yaml", 13),
        ("OS001", "control.yaml", 4), ("OS403", "good.yaml", 8),
    }  # fmt: skip
    assert "Traceback" not in said
    assert rss_mib < MAX_RSS_MIB


def _write(path: Path, head: str, part: str, size_bytes: int = 100 * MIB) -> None:
    block = (part * (MIB // len(part) + 1))[: MIB // len(part) * len(part)].encode()
    with open(path, "wb") as file:
        file.write(head.encode())
        for _ in range(size_bytes // len(block) + 1):
            file.write(block)


def test_files_of_100_megabytes(tmp_path: Path) -> None:
    _write(tmp_path / "one-document.yaml", "# big\napiVersion: v1\nkind: Pod\nspec:\n", "  - some: {text: here}\n")
    _write(tmp_path / "one-line.json", '{"apiVersion": "v1", "kind": "Pod", "spec": [', '"xxxxxxxxxxxxxxx",', 20 * MIB)
    _write(tmp_path / "data.yaml", "words:\n", "- some text that is no manifest\n", 20 * MIB)
    _write(tmp_path / "documents.yaml", "services\n", "---\ntext: of no interest\n", 3 * MIB)
    _write(tmp_path / "big.service", "[Service]\nExecStart=/bin/x\nMemoryMax=512MB\n", "# padding\n")
    _write(tmp_path / "Dockerfile", 'FROM node:10\nCMD ["node", "x.js"]\n', "RUN true\n", 20 * MIB)
    _write(tmp_path / "redis.conf", "port 1\n", "# padding\n", 20 * MIB)
    (tmp_path / "good.yaml").write_text(GOOD.format(name="good"))
    document, rss_mib, said = audit(tmp_path)
    for path in tmp_path.iterdir():
        path.unlink()
    found = findings(document, tmp_path)
    assert ("OS403", "good.yaml", 8) in found
    assert ("OS005", "one-document.yaml", 1) in found
    assert ("OS005", "one-line.json", 1) in found
    assert ("OS202", "big.service", 3) in found  # what is read of them is audited
    assert ("OS502", "Dockerfile", 2) in found
    assert {name for rule, name, _ in found if rule == "OS005"} == {
        "one-document.yaml", "one-line.json", "big.service", "Dockerfile", "redis.conf",
    }  # fmt: skip
    assert "Traceback" not in said
    assert rss_mib < MAX_RSS_MIB + 100  # pages of the mapped files that the kernel has not taken back count as well


def test_a_long_list_is_read_in_pieces_with_right_lines(tmp_path: Path) -> None:
    note = "n" * 60_000
    items, text, lines, at = 200, ["apiVersion: v1", "items:"], set(), 3
    for number in range(items):
        item = GOOD.format(name=f"p{number}").replace("metadata: {", f"metadata: {{annotations: {{note: {note}}}, ")
        text += [("- " if index == 0 else "  ") + line for index, line in enumerate(item.splitlines())]
        lines.add(at + 7)
        at += 8
    text += ["kind: List", "metadata:", "  resourceVersion: ''"]
    (tmp_path / "all.yaml").write_text("\n".join(text) + "\n")
    assert (tmp_path / "all.yaml").stat().st_size > 8 * MIB
    document, rss_mib, _ = audit(tmp_path)
    assert findings(document, tmp_path) == {("OS403", "all.yaml", line) for line in lines}
    assert rss_mib < MAX_RSS_MIB


def test_a_document_of_very_many_values_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wide.yaml").write_text("apiVersion: v1\nkind: Pod\nspec: [" + "1," * 500_000 + "]\n")
    document, rss_mib, _ = audit(tmp_path)
    assert findings(document, tmp_path) == {("OS005", "wide.yaml", 1)}
    assert rss_mib < MAX_RSS_MIB


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text(GOOD.format(name="x"))
    (tmp_path / "secret.yaml").chmod(0)
    document, _, _ = audit(tmp_path)
    assert findings(document, tmp_path) == {("OS001", "secret.yaml", None)}
