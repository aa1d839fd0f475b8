"""Readers of compose files, Dockerfiles, units and configurations: what they make of the forms that are in use."""

from __future__ import annotations

from pathlib import Path

import pytest

from oomsight.audit.compose.variables import filled
from oomsight.audit.configs.kinds import config_kind
from oomsight.audit.configs.read import read_config_file
from oomsight.audit.dockerfile.read import instructions, read_dockerfile
from oomsight.audit.env_file import read_env_file
from oomsight.audit.images import image_release
from oomsight.audit.program import command_words
from oomsight.audit.runtimes import program_words, recognise
from oomsight.pipeline.audit import Plan, audit_paths
from oomsight.sources.audit_files import find


@pytest.mark.parametrize(
    ("text", "value", "known"),
    [
        ("512m", "512m", True), ("$MEM", "1g", True), ("${MEM}", "1g", True), ("${NO}", "${NO}", False), ("$NO", "$NO", False),
        ("${NO:-256m}", "256m", True), ("${EMPTY:-256m}", "256m", True), ("${EMPTY-256m}", "", True),
        ("${NO-256m}", "256m", True), ("${NO:?needed}", "${NO:?needed}", False), ("${NO:-${MEM}}", "1g", True),
        ("${NO:-${ALSO:-2g}}", "2g", True), ("${MEM:+4g}", "4g", True), ("${NO:+4g}", "${NO:+4g}", False),
        ("$$HOME", "$HOME", True), ("${broken", "${broken", True), ("a$", "a$", True),
    ],
)  # fmt: skip
def test_variables_of_compose_files(text: str, value: str, known: bool) -> None:
    assert filled(text, {"MEM": "1g", "EMPTY": ""}) == (value, known)


def test_env_file() -> None:
    text = "# no\nexport A=1\nB = 'two words'\nC=\"x\"\nD=y # note\nE=\n nonsense\n"
    assert read_env_file(text) == {"A": "1", "B": "two words", "C": "x", "D": "y", "E": ""}


def argv_of(text: str) -> tuple[str, ...]:
    image = read_dockerfile("Dockerfile", text)
    assert image is not None
    return image.program().argv


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ('FROM x\nENTRYPOINT ["a"]\nCMD ["b", "c"]\n', ("a", "b", "c")),
        ('FROM x\nCMD ["b"]\nENTRYPOINT ["a"]\n', ("a", "b")),
        ('FROM x AS y\nCMD ["b"]\nFROM y\nENTRYPOINT ["a"]\n', ("a",)),  # takes back the CMD of the image below
        ('FROM x\nENTRYPOINT a $B\nCMD ["c"]\n', ("/bin/sh", "-c", "a", "$B")),  # a shell form takes no arguments
        ("FROM x\nENV B=1\nENTRYPOINT exec a $B && d\n", ("/bin/sh", "-c", "exec", "a", "1", "&&", "d")),
        ('FROM x\nENV B=1\nCMD ["a", "$B"]\n', ("a", "$B")),  # no shell fills it in
        ("FROM x AS one\nENV A 1 2\nCMD [\"q\"]\nFROM one\nCMD a $A\n", ("/bin/sh", "-c", "a", "1", "2")),
        ("# escape=`\nFROM x\nCMD a `\n  b\n", ("/bin/sh", "-c", "a", "b")),
        ("FROM x\nCMD a \\\n# comment\n\n  b\n", ("/bin/sh", "-c", "a", "b")),
        ("FROM x\nRUN <<E\nCMD no\nE\nCMD [\"yes\"]\n", ("yes",)),
        ("FROM x\nCMD [not json\n", ("/bin/sh", "-c", "[not", "json")),
    ],
)
def test_what_a_dockerfile_runs(text: str, argv: tuple[str, ...]) -> None:
    assert argv_of(text) == argv


def test_dockerfile_base_follows_arguments_and_stages() -> None:
    image = read_dockerfile("D", "ARG V=17\nARG I=eclipse-temurin:${V}-jre\nFROM --platform=linux/amd64 ${I} AS a\nFROM a\nCMD [\"java\"]\n")
    assert image is not None
    assert image.stage.base == "eclipse-temurin:17-jre"
    assert read_dockerfile("D", "# nothing\n") is None
    assert [row.word for row in instructions("from x\nrun a\n")] == ["FROM", "RUN"]


@pytest.mark.parametrize(
    ("image", "runtime", "release"),
    [
        ("openjdk:8u131-jre-alpine", "jvm", "8u131"), ("openjdk:8-jre", "jvm", "8u342"), ("eclipse-temurin:8", "jvm", "8u999"),
        ("eclipse-temurin:17.0.8_7-jre", "jvm", "17.0.8_7"), ("tomcat:10-jre17", "jvm", "17"), ("tomcat:9", "jvm", None),
        ("maven:3.9-eclipse-temurin-21", "jvm", "21"), ("registry.example.org:5000/x/node:18.12-alpine", "node", "18.12"),
        ("registry.example.org/api:8", "node", None), ("node:lts", "node", None), ("postgres:16.3", "postgres", "16.3"),
        ("postgres@sha256:abc", "postgres", None), (None, "jvm", None), ("app:17", "jvm", None),
    ],
)  # fmt: skip
def test_release_of_an_image(image: str | None, runtime: str, release: str | None) -> None:
    assert image_release(image, runtime) == release


@pytest.mark.parametrize(
    ("command", "fills", "words"),
    [
        (["a", "$(B)", "$B"], "kubernetes", ("a", "1 2", "$B")),
        (["a", "$B", "${B}"], "systemd", ("a", "1", "2", "1 2")),
        (["a", "$B"], "nothing", ("a", "$B")),
        (["bash", "-ec", "x; exec y $B\nz \\\n w"], "nothing", ("bash", "-ec", "x", ";", "exec", "y", "1", "2", ";", "z", "w")),
        (["sh", "-c", "it's"], "nothing", ("sh", "-c", "it's")),
    ],
)
def test_words_of_a_command(command: list[str], fills, words: tuple[str, ...]) -> None:
    assert command_words(command, {"B": "1 2"}, fills) == words


@pytest.mark.parametrize(
    ("argv", "image", "runtime", "first"),
    [
        (("sh", "-c", "cd", "/x", "&&", "exec", "gunicorn", "-w", "3"), None, "python", "gunicorn"),
        (("python", "-m", "celery", "worker"), None, "python", "python"),
        (("nice", "-n", "5", "redis-server", "x.conf"), None, "redis", "redis-server"),
        (("pg_dump", "x"), "postgres:16", None, "pg_dump"),
        (("docker-entrypoint.sh", "postgres"), "postgres:16", "postgres", "postgres"),
        (("-c", "work_mem=1GB"), "postgres:16", "postgres", "-c"),
        (("/start.sh",), "tomcat:10", "jvm", "/start.sh"),
        ((), "php:8.3-fpm", "php-fpm", None), ((), "php:8.3-apache", None, None),
    ],
)  # fmt: skip
def test_the_program_behind_wrappers(argv, image: str | None, runtime: str | None, first: str | None) -> None:
    assert recognise(argv, {}, image) == runtime
    assert (program_words(argv) or (None,))[0] == first


@pytest.mark.parametrize(
    ("name", "text", "settings"),
    [
        ("postgresql.conf", "a = '1GB' # x\nB 2\n#c = 3\n'", {"a": "1GB", "b": "2"}),
        ("my.cnf", "[client]\nx=1\n[mysqld]\ninnodb-log=4M # n\n[mysqld-8.0]\ny = 'z'\n", {"innodb_log": "4M", "y": "z"}),
        ("redis.conf", "port 1\nsave 900 1\nsave 60 5\nmaxmemory \"2gb\"\n",
         {"port": "1", "save": "900 1 60 5", "maxmemory": "2gb"}),
        ("www.conf", "; no\n[www]\npm = static\nphp_admin_value[memory_limit] = 64M ; x\n",
         {"pm": "static", "php_admin_value[memory_limit]": "64M"}),
        ("jvm.options", "-Xmx1g\n8-13:-XX:+UseConcMarkSweepGC\n14-:-XX:+UseG1GC\n17:-Xss1m\n8:-Xint\n# -Xms1g\n",
         {"jvm.options": "-Xmx1g -XX:+UseG1GC -Xss1m"}),
        ("nginx.conf", "events { worker_connections 7; } # x;\nhttp { limit_req_zone $a zone=z:5m rate=1r/s; }\n",
         {"worker_connections": "7", "limit_req_zone": "$a zone=z:5m rate=1r/s", "zones": "5m"}),
        ("x.runtimeconfig.json", '{"runtimeOptions": {"configProperties": {"System.GC.Server": true}}}',
         {"System.GC.Server": "True"}),
        ("y.runtimeconfig.json", "[1]", {}),
    ],
)  # fmt: skip
def test_settings_of_configuration_files(name: str, text: str, settings: dict[str, str]) -> None:
    kind = config_kind(name, text.encode())
    assert kind is not None
    assert read_config_file(kind, name, text).settings == settings


def test_line_of_a_setting() -> None:
    text = "events {\n  worker_connections 7;\n}\nworker_processes 4;\n"
    kind = config_kind("nginx.conf", text.encode())
    assert kind is not None
    assert read_config_file(kind, "n", text).where("worker_processes").line == 4


@pytest.mark.parametrize("name", ["nginx.conf", "x.conf", "redis.conf", "a.cnf"])
def test_other_files_of_that_name_are_left_alone(name: str) -> None:
    assert config_kind(name, b"something = else\n") is None


def _unit(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_dropins_find_their_units_in_the_order_of_systemd(tmp_path: Path) -> None:
    lib, etc = tmp_path / "usr/lib/systemd/system", tmp_path / "etc/systemd/system"
    _unit(lib / "web-a.service", "[Service]\nExecStart=/bin/a\n")
    for folder, name, text in (
        (lib, "web-a.service.d/20.conf", "MemoryMax=1"), (etc, "web-a.service.d/20.conf", "MemoryMax=2G"),
        (etc, "web-.service.d/10.conf", "MemoryHigh=1G"), (etc, "service.d/05.conf", "TasksMax=9"),
        (etc, "other.service.d/x.conf", "OOMScoreAdjust=-1000"),
    ):  # fmt: skip
        _unit(folder / name, f"[Service]\n{text}\n")
    found = find([str(tmp_path)], lambda _path: False)
    (unit,) = [task for task in found.tasks if task.kind == "unit"]
    assert [str(Path(path).relative_to(tmp_path)) for path in unit.paths] == [
        "usr/lib/systemd/system/web-a.service", "etc/systemd/system/service.d/05.conf",
        "etc/systemd/system/web-.service.d/10.conf", "etc/systemd/system/web-a.service.d/20.conf",
    ]  # fmt: skip
    report = audit_paths(Plan((str(tmp_path),)))
    assert [(f.rule, Path(f.where.path or "").name) for f in report.open()] == [("OS204", "x.conf")]


def test_a_file_given_twice_is_audited_once(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text("services:\n  a:\n    image: x\n")
    report = audit_paths(Plan((str(tmp_path), str(path))))
    assert [finding.rule for finding in report.open()] == ["OS301"]


def test_a_pipe_that_a_compose_file_names_does_not_stop_the_audit(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.env")
    (tmp_path / "compose.yaml").write_text(
        "services:\n  a:\n    image: x\n    env_file: [pipe.env, /dev/zero]\n    extends: {file: pipe.env, service: b}\n"
        "    volumes: ['./pipe.conf:/x']\n"
    )
    assert audit_paths(Plan((str(tmp_path / "compose.yaml"),))).open() == []


def test_java_started_directly_does_not_read_java_opts(tmp_path: Path) -> None:
    """High where nothing can come between; medium where the image may have a start script of its own."""
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {{name: {0}}}\nspec:\n  containers:\n  - name: a\n    image: eclipse-temurin:21\n" \
        "    {0}: {1}\n    env: [{{name: JAVA_OPTS, value: -Xmx9m}}]\n    resources: {{requests: {{memory: 4Gi}}, limits: " \
        "{{memory: 4Gi}}}}\n---\n"
    (tmp_path / "a.yaml").write_text(
        pod.format("command", "[java, -jar, x]") + pod.format("args", "[java, -jar, x]")
        + pod.format("command", "[sh, -c, 'java $JAVA_OPTS -jar x']")
        + pod.format("command", "['java', '@/etc/app.args', '-XX:+UseG1GC', '-Xmx1g', '-jar', 'x']")
    )
    found = [(f.rule, f.severity.word, f.where.line) for f in audit_paths(Plan((str(tmp_path),))).open()]
    assert found == [("OS503", "high", 9), ("OS503", "high", 42), ("OS503", "medium", 20)]
