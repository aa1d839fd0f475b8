"""What is built and shipped: the wheel, the one-file program, the man pages, and the scripts that make them."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from oomsight._version import __version__
from oomsight.data import CAPTURES, read_capture

pytestmark = pytest.mark.xdist_group("packaging")  # what is built is built once

ROOT = Path(__file__).parents[2]
BARE = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


def _run(*args: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(arg) for arg in args], capture_output=True, text=True, check=False, timeout=300, cwd=cwd, env=BARE | env,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of what a clone holds, for tools that write beside the sources."""
    copy = tmp_path_factory.mktemp("project") / "oomsight"
    copy.mkdir()
    for name in ("src", "tools", "scripts"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "Makefile"):
        shutil.copy(ROOT / name, copy / name)
    return copy


# -- the wheel --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(project, tmp_path_factory) -> Path:
    """The wheel, built the way ``pip install .`` does."""
    target = tmp_path_factory.mktemp("wheel")
    # pip gets the build backend from the index unless it is here already; its own settings decide which index.
    isolation = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name.endswith("_proxy")}
    done = _run(
        sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-input", *isolation, "-w", target, project, **pip,
        HOME=os.environ.get("HOME", "/"),
    )  # fmt: skip
    if done.returncode and re.search(r"connection|resolution|No matching distribution", done.stdout + done.stderr, re.I):
        pytest.skip("the build backend is not installed, and the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    (built,) = target.iterdir()
    return built


def test_wheel_holds_the_package_its_data_and_its_licence(wheel) -> None:
    assert wheel.name == f"oomsight-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sources = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "oomsight").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if name.startswith("oomsight/")} == sources
    assert {"oomsight/py.typed", "oomsight/data/captures/pod.log"} <= names
    assert any(name.endswith("LICENSE") for name in names)


def test_wheel_needs_click_and_nothing_else(wheel) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"oomsight-{__version__}.dist-info/METADATA").decode()
    needed = [line.split(":", 1)[1].strip() for line in metadata.splitlines() if line.startswith("Requires-Dist:")]
    assert [need for need in needed if "extra ==" not in need] == ["click>=8.1.7"]
    assert "Requires-Python: >=3.11" in metadata
    assert "# oomsight" in metadata  # the README is the long description


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The ``bin`` of a fresh environment that holds the wheel and click, and no extra."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    done = _run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--no-compile", wheel
    )
    assert done.returncode == 0, done.stderr
    # click as it is installed here: no network for a test of our own package.
    target = Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    for file in distribution("click").files or ():
        if "__pycache__" not in file.parts and ".." not in file.parts:
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), target / file)
    return folder / "bin"


def test_installed_program_works_without_extras(installed, tmp_path) -> None:
    assert _run(installed / "oomsight", "--version").stdout == f"oomsight {__version__}\n"
    (tmp_path / "pod.log").write_text(read_capture("pod"))
    done = _run(installed / "oomsight", "explain", "--format", "json", "pod.log", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    (incident,) = json.loads(done.stdout)["incidents"]
    assert incident["victims"][0]["comm"] == "node"


def test_installed_library_and_captures_work(installed) -> None:
    code = "import oomsight; from oomsight.data import read_capture; print(oomsight.explain(read_capture())[0].report.kind)"
    assert _run(installed / "python", "-I", "-c", code).stdout == "global\n"
    assert _run(installed / "python", "-m", "oomsight.data", "pod").stdout == read_capture("pod")


# -- one file ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pyz(project) -> Path:
    """The one-file program."""
    target = project / "dist" / "oomsight.pyz"
    done = _run(sys.executable, project / "tools" / "make_pyz.py", target)
    assert done.returncode == 0, done.stderr
    return target


def test_pyz_runs_alone(pyz, tmp_path) -> None:
    shutil.copy(pyz, tmp_path / "x.pyz")
    for capture in CAPTURES:
        (tmp_path / capture.name).write_text(read_capture(capture.name))
    # -I and -S: nothing but the standard library and the file itself.
    done = _run(sys.executable, "-I", "-S", "x.pyz", "explain", "--format", "ndjson", ".", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    names = [json.loads(line)["victims"][0]["comm"] for line in done.stdout.splitlines()]
    assert sorted(names) == ["app-worker", "node", "postgres"]
    assert set(os.listdir(tmp_path)) == {"x.pyz", "tmpfs", "service", "pod"}  # it writes nothing


def test_pyz_is_executable_and_says_its_version(pyz) -> None:
    done = _run(pyz, "--version", PATH=f"{Path(sys.executable).parent}{os.pathsep}{BARE['PATH']}")
    assert done.stdout == f"oomsight {__version__}\n"


def test_pyz_help_of_every_command_works(pyz) -> None:
    from oomsight.cli.main import COMMANDS

    for row in COMMANDS:
        done = _run(sys.executable, "-I", "-S", pyz, row.name, "--help")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("Usage: oomsight.pyz " + row.name) or f" {row.name} " in done.stdout


def test_pyz_is_the_same_again_and_holds_no_path_of_this_machine(pyz, project) -> None:
    first = pyz.read_bytes()
    assert _run(sys.executable, project / "tools" / "make_pyz.py", pyz).returncode == 0
    assert pyz.read_bytes() == first
    with zipfile.ZipFile(pyz) as archive:
        for name in archive.namelist():
            assert str(project).encode() not in archive.read(name), name
            assert not name.endswith((".so", ".pyd"))
        assert any("licenses/" in name or "LICENSE" in name for name in archive.namelist())


def test_pyz_on_an_old_python_says_so(pyz, tmp_path) -> None:
    with zipfile.ZipFile(pyz) as archive:
        main = archive.read("__main__.py").decode()
    stub = "import sys\nsys.version_info = (3, 9, 2, 'final', 0)\n"
    (tmp_path / "main.py").write_text(stub + main)
    done = _run(sys.executable, tmp_path / "main.py")
    assert (done.returncode, done.stderr) == (1, "oomsight needs Python 3.11 or newer; this is 3.9\n")


# -- man pages --------------------------------------------------------------------------------------------------------


def test_man_pages_format_without_warnings(project) -> None:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("not installed: groff")
    folder = project / "dist" / "man"
    assert _run(sys.executable, project / "tools" / "make_man.py", folder).returncode == 0
    pages = sorted(folder.iterdir())
    assert "oomsight-explain.1" in {page.name for page in pages}
    for page in pages:
        done = _run(groff, "-man", "-Tutf8", "-ww", "-rLL=100n", page)
        assert (done.returncode, done.stderr) == (0, ""), page.name
        assert "EXIT STATUS" in re.sub(r"\x1b\[[\d;]*m|.\x08", "", done.stdout)


# -- scripts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["scripts/bootstrap.sh", "scripts/run.sh", "scripts/test.sh", ".ci/run"])
def test_script_is_executable_posix_sh_that_stops_at_errors(script) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    lines = path.read_text().splitlines()
    assert lines[0] == "#!/bin/sh"
    assert "set -eu" in lines
    assert _run("sh", "-n", path).stderr == ""


def test_make_help_lists_every_target() -> None:
    if shutil.which("make") is None:
        pytest.skip("not installed: make")
    done = _run("make", "-C", ROOT, "--no-print-directory")
    listed = {line.split()[1] for line in done.stdout.splitlines()}
    text = (ROOT / "Makefile").read_text() + (ROOT / "vmtest" / "vmtest.mk").read_text()
    assert listed >= {"run", "test", "lint", "bench", "pyz", "man", "docs", "golden", "clean", "help"}
    assert listed == set(re.findall(r"(?m)^([a-z]+):.*## ", text))
    phony = " ".join(re.findall(r"(?m)^\.PHONY: (.+)$", text))
    assert set(phony.split()) == listed | {"venv", "dev"}


def _stub_python(folder: Path, body: str) -> Path:
    path = folder / "python-stub"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('[ "$1" = --version ] && echo "Python 3.9.2"; exit 1', "Python 3.9.2 is too old: oomsight needs Python 3.11"),
        (
            'case "$2" in *ensurepip*) exit 1;; *version_info*) echo python3.11-venv;; esac',
            "sudo apt-get install python3.11-venv); with nothing installed this works: PYTHONPATH=src",
        ),
    ],
)
def test_bootstrap_refuses_in_one_clear_line(body, words, project, tmp_path) -> None:
    # A path without apt-get: nothing is installed on the machine that runs the tests.
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "id", "cat", "rm", "mktemp"):
        (tools / name).symlink_to(shutil.which(name))
    stub = _stub_python(tmp_path, body)
    done = _run("/bin/sh", project / "scripts" / "bootstrap.sh", "run", PATH=str(tools), PYTHON=str(stub), VENV="none")
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (project / "none").exists()


def test_a_checkout_explains_with_nothing_installed(tmp_path) -> None:
    # -S: no site-packages, so no click.
    (tmp_path / "pod.log").write_text(read_capture("pod"))
    python = (sys.executable, "-S", "-m", "oomsight")
    done = _run(*python, "explain", "--brief", tmp_path / "pod.log", PYTHONPATH=str(ROOT / "src"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("node (pid 165, 48.3 MiB) was killed")
    done = _run(*python, "--help", PYTHONPATH=str(ROOT / "src"))
    assert (done.returncode, done.stdout) == (5, "")
    assert re.search(r"needs click: .* install (python3-)?click, or install oomsight$", done.stderr)
    assert done.stderr.count("\n") == 1


def test_bootstrap_keeps_its_hands_off_a_directory_that_is_no_environment(project) -> None:
    mine = project / "mine"
    mine.mkdir()
    (mine / "data").write_text("precious")
    done = _run("sh", project / "scripts" / "bootstrap.sh", "run", VENV="mine", PYTHON=sys.executable)
    assert done.returncode == 1
    assert "mine is in the way" in done.stderr
    assert (mine / "data").read_text() == "precious"


def test_run_script_falls_back_to_a_bundled_kill_where_there_was_none(project) -> None:
    binaries = project / "stub" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT / "src"}" exec "{sys.executable}" "$@"\n')
    # A host with a readable log and no kill: an empty file stands for it.
    code = "from oomsight.cli.main import main; main()"
    (binaries / "oomsight").write_text(
        '#!/bin/sh\nif [ "$1" = explain ]; then set -- explain --exit-code /dev/null; fi\n'
        f'PYTHONPATH="{ROOT / "src"}" exec "{sys.executable}" -c "{code}" "$@"\n'
    )
    for path in binaries.iterdir():
        path.chmod(0o755)
    done = _run("sh", project / "scripts" / "run.sh", VENV="stub")
    assert done.returncode == 0, done.stderr
    nothing, _, story = done.stdout.partition("So here is a real one")
    assert nothing.startswith("No kernel OOM kill in /dev/null")
    assert "postgres (pid 141, 40.3 MiB) was killed" in story


def test_every_test_package_has_a_reason() -> None:
    rows = [line for line in (ROOT / "scripts" / "test-packages.txt").read_text().splitlines() if line[:1] not in "#"]
    for row in rows:
        assert re.fullmatch(r"[a-z0-9.+-]+ +# (?:\[ci\] )?\S.+", row), row
    assert {"zstd", "groff-base", "jq"} <= {row.split()[0] for row in rows}


def test_project_file_says_what_the_documents_say() -> None:
    project_file = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project_file["requires-python"] == ">=3.11"
    assert project_file["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
    table = (ROOT / "docs" / "explanation" / "dependencies.md").read_text()
    for requirement in project_file["dependencies"] + project_file["optional-dependencies"]["fast"]:
        assert f"[{re.split('[>=<; ]', requirement)[0]}]" in table
