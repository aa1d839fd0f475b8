"""Go, Python, PHP, databases, nginx, .NET: sums that can be checked by hand, units, recognition."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomsight._sizes import GIB, KIB, MIB
from oomsight.audit.runtimes import RUNTIMES, Inputs, estimate, recognise
from oomsight.audit.runtimes.units import go_size, jvm_size, mysql_size, postgres_size, redis_size

KEYS = [row.key for row in RUNTIMES]


def test_postgres_adds_up() -> None:
    config = {"shared_buffers": "1GB", "work_mem": "64MB", "max_connections": "200", "autovacuum_max_workers": "4",
              "maintenance_work_mem": "256MB"}  # fmt: skip
    found = estimate("postgres", Inputs(config=config, config_name="postgresql.conf", version="15.4", limit_bytes=4 * GIB))
    assert found.term("work_mem").bytes_high == 64 * MIB * 200 * 2  # hash_mem_multiplier is 2 from 15 on
    assert found.term("autovacuum").bytes_high == 4 * 256 * MIB
    assert GIB < found.term("shared_buffers").bytes_high < 1.1 * GIB
    assert "work_mem = 64MB (postgresql.conf)" in found.term("work_mem").source
    assert found.verdict in {"exceeds", "tight"}
    older = estimate("postgres", Inputs(config=config, version="14"))
    assert older.term("work_mem").bytes_high == 64 * MIB * 200
    plain = estimate("postgres", Inputs())
    assert "(default)" in plain.term("shared_buffers").source
    assert plain.term("work_mem").bytes_high == 4 * MIB * 100 * 2


def test_units_of_postgres_without_a_suffix() -> None:
    found = estimate("postgres", Inputs(config={"shared_buffers": "16384", "work_mem": "4096"}))
    assert 128 * MIB <= found.term("shared_buffers").bytes_likely < 140 * MIB  # of 8 kB
    assert found.term("work_mem").bytes_high == 4 * MIB * 100 * 2  # of 1 kB


def test_mysql_pool_and_sessions() -> None:
    argv = ("mysqld", "--innodb-buffer-pool-size=4G", "--max-connections=500")
    found = estimate("mysql", Inputs(argv=argv, limit_bytes=4 * GIB))
    assert found.term("InnoDB buffer pool").bytes_high == int(4 * GIB * 1.1)
    assert found.verdict == "exceeds"
    assert "max_connections = 500" in found.term("connections").source


def test_redis_without_maxmemory_has_no_bound() -> None:
    found = estimate("redis", Inputs(argv=("redis-server",), limit_bytes=GIB))
    assert found.verdict == "unbounded"
    assert "data" in [term.name for term in found.terms if term.bytes_high is None]


def test_redis_saving_may_double_it() -> None:
    config = {"maxmemory": "800mb", "save": "900 1"}
    with_save = estimate("redis", Inputs(config=config, limit_bytes=GIB))
    assert with_save.term("copies while saving").bytes_high == 800 * MIB
    without = estimate("redis", Inputs(config=config | {"save": ""}))
    assert without.term("copies while saving").bytes_high == 0
    assert with_save.verdict == "exceeds"


def test_gomemlimit_is_soft_and_checked() -> None:
    assert estimate("go", Inputs(env={"GOMEMLIMIT": "400MiB"}, limit_bytes=512 * MIB)).verdict == "fits"
    assert estimate("go", Inputs(limit_bytes=512 * MIB)).verdict == "unbounded"
    wrong = estimate("go", Inputs(env={"GOMEMLIMIT": "512M"}, limit_bytes=GIB))
    assert any("512MiB" in note for note in wrong.notes)
    live = estimate("go", Inputs(env={"GOGC": "200"}, counts={"live_bytes": 100 * MIB}))
    assert live.term("heap and stacks").likely == 300 * MIB


def test_gunicorn_multiplies() -> None:
    found = estimate(
        "python", Inputs(argv=("gunicorn", "-w", "9", "app:app"), counts={"worker_bytes": 100 * MIB}, limit_bytes=512 * MIB)
    )
    assert found.term("workers").likely == 1000 * MIB
    assert found.verdict == "exceeds"
    by_env = estimate("python", Inputs(argv=("gunicorn", "app:app"), env={"WEB_CONCURRENCY": "4"}))
    assert "WEB_CONCURRENCY = 4" in by_env.term("workers").source


def test_celery_follows_the_hosts_cpus() -> None:
    found = estimate("python", Inputs(argv=("celery", "-A", "app", "worker"), cpus=2, host_cpus=64))
    assert "64" in found.term("workers").source
    assert found.notes
    bounded = estimate("python", Inputs(argv=("celery", "worker", "-c", "2", "--max-memory-per-child=200000")))
    assert bounded.term("workers").bytes_high == 3 * 200_000 * KIB


def test_php_children_times_memory_limit() -> None:
    config = {"pm.max_children": "50", "php_admin_value[memory_limit]": "256M", "pm": "static"}
    found = estimate("php-fpm", Inputs(config=config, limit_bytes=GIB))
    assert found.term("children").bytes_high == 50 * (256 + 8) * MIB
    assert found.verdict == "exceeds"


def test_elasticsearch_takes_half_and_half_of_that() -> None:
    found = estimate("elasticsearch", Inputs(argv=("java",), limit_bytes=4 * GIB, ram_bytes=64 * GIB, cpus=4))
    assert found.term("heap").bytes_high == 2 * GIB
    assert found.term("heap").bytes_low == 2 * GIB  # touched at start
    assert found.term("direct buffers").bytes_high == GIB


def test_dotnet_numbers_are_hexadecimal() -> None:
    found = estimate("dotnet", Inputs(env={"DOTNET_GCHeapHardLimit": "C800000"}, limit_bytes=GIB))
    assert found.term("GC heap").bytes_high == 200 * MIB
    assert estimate("dotnet", Inputs(limit_bytes=GIB)).term("GC heap").bytes_high == 768 * MIB


def test_nginx_auto_follows_the_host() -> None:
    found = estimate("nginx", Inputs(config={"worker_processes": "auto", "zones": "10m 64m"}, cpus=1, host_cpus=96))
    assert found.term("shared zones").bytes_high == 74 * MIB
    assert "96" in found.term("workers").source


@pytest.mark.parametrize(
    ("argv", "env", "image", "key"),
    [
        (("/usr/bin/java", "-jar", "a.jar"), {}, None, "jvm"),
        (("sh", "-c", "exec java -jar a.jar"), {}, None, None),
        (("tini", "--", "node", "a.js"), {}, None, "node"),
        (("/usr/bin/python3", "/usr/bin/gunicorn", "app"), {}, None, "python"),
        (("postgres: checkpointer ",), {}, None, "postgres"),
        (("nginx: worker process",), {}, None, "nginx"),
        (("php-fpm: pool www",), {}, None, "php-fpm"),
        (("/usr/sbin/php-fpm8.2", "-F"), {}, None, "php-fpm"),
        (("./server",), {"GOMEMLIMIT": "1GiB"}, None, "go"),
        ((), {"JAVA_OPTS": "-Xmx1g"}, None, "jvm"),
        ((), {}, "docker.io/library/redis:7-alpine", "redis"),
        ((), {}, "registry.local:5000/team/node@sha256:0123", "node"),
        (("bash",), {}, "example/unknown", None),
        ((), {}, None, None),
    ],
)
def test_recognise(argv: tuple[str, ...], env: dict[str, str], image: str | None, key: str | None) -> None:
    assert recognise(argv, env, image) == key


@pytest.mark.parametrize(
    ("reader", "text", "size"),
    [
        (jvm_size, "512m", 512 * MIB), (jvm_size, "2G", 2 * GIB), (jvm_size, "1.5g", None), (jvm_size, "12MB", None),
        (go_size, "512MiB", 512 * MIB), (go_size, "512MB", None), (go_size, "100", 100),
        (redis_size, "1gb", GIB), (redis_size, "1g", 10**9), (redis_size, "100mb", 100 * MIB),
        (mysql_size, "128M", 128 * MIB), (mysql_size, "1GB", None),
    ],
)  # fmt: skip
def test_sizes_as_each_program_reads_them(reader, text: str, size: int | None) -> None:
    assert reader(text) == size


def test_postgres_sizes() -> None:
    assert postgres_size("128MB", 8 * KIB) == 128 * MIB
    assert postgres_size("128mb", 8 * KIB) is None
    assert postgres_size("'1.5GB'", 8 * KIB) == 1536 * MIB
    assert postgres_size("-1", KIB) is None


_VALUES = st.one_of(st.sampled_from(["", "x", "-1", "12.5", "é", "0x1F", "8 8k", "a b", "'4MB'"]), st.integers(-5, 10**9).map(str), st.sampled_from(["1GB", "10m", "auto", "off", "on"]))
_NAMES = ["shared_buffers", "work_mem", "max_connections", "maxmemory", "save", "pm.max_children", "memory_limit", "zones",
          "worker_processes", "proxy_buffers", "innodb_buffer_pool_size", "workers", "jvm.options", "hash_mem_multiplier"]  # fmt: skip
_ENV = ["GOMEMLIMIT", "GOGC", "WEB_CONCURRENCY", "NODE_OPTIONS", "JAVA_OPTS", "DOTNET_GCHeapHardLimit", "MALLOC_ARENA_MAX",
        "GUNICORN_CMD_ARGS"]  # fmt: skip


@settings(max_examples=60)
@given(
    st.sampled_from(KEYS), st.lists(_VALUES, max_size=5), st.dictionaries(st.sampled_from(_NAMES), _VALUES),
    st.dictionaries(st.sampled_from(_ENV), _VALUES), st.sampled_from([None, MIB, GIB]),
)  # fmt: skip
def test_nothing_raises_and_numbers_are_ordered(key, argv, config, env, limit) -> None:
    found = estimate(key, Inputs(argv=tuple(argv), env=env, config=config, limit_bytes=limit, ram_bytes=4 * GIB, cpus=2))
    for term in found.terms:
        assert term.bytes_low >= 0, term
        assert term.bytes_high is None or term.bytes_low <= term.bytes_high, term
        assert term.name
        assert term.source
    assert found.verdict in {"fits", "tight", "exceeds", "unbounded", "unknown"}
    assert (found.verdict == "unknown") is (limit is None)
