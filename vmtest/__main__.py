"""
Boot real Debian kernels under QEMU, provoke OOM kills in them, and hold the product against what happened.

The product runs inside the guest: `oomsight score` while everybody is still idle, `oomsight explain` on the live
kernel log and on dmesg afterwards. Everything large is below $OOMSIGHT_VMTEST_WORK (default /var/tmp/oomsight-vmtest).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from vmtest import build, machine, verdict
from vmtest.conf import ConfError, Kernel, Scenario, parse_kernels, parse_scenario, select
from vmtest.paths import PRODUCT, RESULTS, RIG, WORK

_TOOLS = {
    machine.QEMU: "qemu-system-x86",
    "busybox": "busybox-static",
    "gcc": "gcc",
    "mke2fs": "e2fsprogs",
    "dpkg-deb": "dpkg",
    "apt-get": "apt",
}
"""Programs the rig needs, and the Debian packages they come from."""


def kernels(wanted: Sequence[str]) -> list[Kernel]:
    """Rows of ``kernels.conf``."""
    rows = {row.label: row for row in parse_kernels((RIG / "kernels.conf").read_text())}
    return [rows[label] for label in select(rows, wanted)]


def scenarios(wanted: Sequence[str]) -> list[Scenario]:
    """Headers of the files in ``scenarios/``; no prediction is asked of a product that has no ``score``."""
    files = {path.stem: path for path in sorted((RIG / "scenarios").glob("*.sh"))}
    found = [parse_scenario(name, files[name].read_text()) for name in select(files, wanted)]
    can_predict = (PRODUCT / "cli" / "score.py").exists()
    return [replace(scenario, predict=scenario.predict and can_predict) for scenario in found]


def product_version() -> str:
    """The version the tree says it is, without importing it into this process."""
    scope: dict[str, str] = {}
    exec((PRODUCT / "_version.py").read_text(), scope)
    return scope["__version__"]


def explain_console(console: Path) -> verdict.Explained | None:
    """``oomsight explain`` on this host over a console log: after a panic it is the only witness."""
    command = [sys.executable, "-m", "oomsight.cli.main", "explain", "--format", "json", str(console)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(PRODUCT.parent)}, capture_output=True, check=False
    )
    document = verdict.read_document(done.stdout)
    return verdict.explained(document, done.returncode, None) if document is not None else None


def store(into: Path, run: machine.Run) -> None:
    """The files of a run, each under its own name, in a fresh directory."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    for name, data in {**run.files, "console.txt": run.console}.items():
        path = into / Path(name).name  # the guest has no say in where its files go
        path.write_bytes(data)


def run_all(args: argparse.Namespace) -> int:
    """``run``: every wanted scenario on every wanted kernel, one guest at a time; 1 when any comparison failed."""
    wanted, rows = scenarios(args.scenarios), kernels(args.kernels)
    guest = build.guest()
    product = None if args.no_product else build.product()
    userland = None if args.no_product else build.userland()
    bad = []
    for row in rows:
        home = build.kernel(row)
        parts = [part for part in (guest, (home / "modules.cpio").read_bytes(), product) if part is not None]
        for scenario in wanted:
            run = machine.boot(scenario, home / "vmlinuz", parts, userland, attempts=machine.BOOT_ATTEMPTS)
            into = args.output / row.label / scenario.name
            store(into, run)
            console = explain_console(into / "console.txt") if product and "kmsg.txt" not in run.files else None
            if run.ended == "unsupported":
                print(f"skip {row.label:5} {scenario.name:18} {run.reason}", flush=True)
                continue
            told = verdict.judge(scenario, run, console)
            result = verdict.document(scenario, row.label, run, told, None if args.no_product else product_version())
            (into / "result.json").write_text(json.dumps(result, indent=1) + "\n")
            print(line(row, scenario, run, told), flush=True)
            if not told.ok:
                bad.append(f"{row.label}/{scenario.name}")
    if bad:
        print(f"{len(bad)} of {len(rows) * len(wanted)} not as they should: {' '.join(bad)}; files: {args.output}")
    return 1 if bad else 0


def line(kernel: Kernel, scenario: Scenario, run: machine.Run, told: verdict.Verdict) -> str:
    """One run in one line; what failed follows on lines of its own."""
    killed = ", ".join(f"{kill.comm!r}" for kill in told.truth.kills[:3]) or "nobody"
    predicted = next((check.ok for check in told.checks if check.name == "predicted"), None)
    word = {True: "as predicted", False: "NOT as predicted", None: "no prediction asked"}[predicted]
    head = "ok  " if told.ok else "BAD "
    text = f"{head} {kernel.label:5} {scenario.name:18} {run.wall_seconds:5.1f} s  killed {killed}; {word}"
    failed = [item for item in told.checks if item.ok is False]
    return "\n".join([text, *(f"     {item.name}: expected {item.expected}, found {item.found}" for item in failed)])


def show_list(_args: argparse.Namespace) -> int:
    """``list``: what there is to boot and to run."""
    print("kernels:", " ".join(row.label for row in kernels(())))
    for scenario in scenarios(()):
        print(f"{scenario.name:20} {scenario.desc}")
    return 0


def fetch(args: argparse.Namespace) -> int:
    """``fetch``: kernels and userland, so that ``run`` needs no network."""
    build.userland()
    build.product()
    for row in kernels(args.kernels):
        print(row.label, build.kernel(row))
    return 0


def names(text: str) -> list[str]:
    """A list given as ``A,B`` or ``A B``."""
    return text.replace(",", " ").split()


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python3 -m vmtest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = top.add_subparsers(required=True, metavar="COMMAND")

    def verb(name: str, action: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=text, description=text)
        sub.set_defaults(action=action)
        return sub

    verb("list", show_list, "Name the kernels and the scenarios.")
    runs = verb("run", run_all, "Run scenarios on kernels; exit status 1 when anything is not as it should.")
    for sub in (
        verb("fetch", fetch, "Fetch kernels and build the userland; run does it too when something is missing."),
        runs,
    ):
        sub.add_argument("-k", "--kernels", type=names, default=[], metavar="LIST", help="like 6.1,7.3 (default: all)")
    runs.add_argument("-s", "--scenarios", type=names, default=[], metavar="LIST", help="names (default: all)")
    runs.add_argument("-o", "--output", type=Path, default=RESULTS, metavar="DIR", help="default: %(default)s")
    runs.add_argument("--no-product", action="store_true", help="only the kernel: for new captures, in less memory")
    return top


def main() -> int:
    """Entry point."""
    args = parser().parse_args()
    missing = [package for tool, package in _TOOLS.items() if shutil.which(tool) is None]
    if missing and args.action is not show_list:
        print(f"vmtest: needs {' '.join(missing)} (apt-get install)", file=sys.stderr)
        return 5
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a stopped rig takes its guest with it
    try:
        WORK.mkdir(parents=True, exist_ok=True)
        return int(args.action(args))
    except ConfError as error:
        print(f"vmtest: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
