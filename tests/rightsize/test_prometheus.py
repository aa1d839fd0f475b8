"""Prometheus as a source: its answers parsed, and a real server asked."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import suppress
from random import Random

import pytest

from oomsight.cli.exits import Exit
from oomsight.cli.main import run
from oomsight.rightsize.prometheus import QUERIES, AnswerError, expression, parse_matrix, workload_of
from oomsight.sources.errors import SourceError
from oomsight.sources.prometheus_api import MOST_POINTS, PrometheusServer, step_for

pytestmark = pytest.mark.xdist_group("prometheus")  # one server

MIB = 1 << 20


@pytest.mark.parametrize(
    ("pod", "workload"),
    [("shop-7d9f8b6c5d-x2k4p", "shop"), ("db-0", "db"), ("node-agent-x2k4p", "node-agent"), ("solo", "solo"),
     ("report-28812345-abcde", "report"), ("my-app", "my-app")],
)  # fmt: skip
def test_workload_of_a_pod(pod, workload) -> None:
    assert workload_of(pod) == workload


@pytest.mark.parametrize(
    "answer",
    [{}, [], None, {"status": "error", "error": "bad"}, {"status": "success", "data": {"resultType": "string", "result": []}},
     {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [["x", 1]]}]}}],
)  # fmt: skip
def test_a_wrong_answer_is_one_line(answer) -> None:
    with pytest.raises(AnswerError) as caught:
        parse_matrix(answer)
    assert "\n" not in str(caught.value)


def test_nan_and_infinity_are_no_samples() -> None:
    result = [{"metric": {"pod": "a"}, "values": [[1, "NaN"], [2, "3"], [3, "+Inf"]]}]
    (row,) = parse_matrix({"status": "success", "data": {"resultType": "matrix", "result": result}})
    assert (row.times, row.values) == ((2.0,), (3.0,))


def test_steps_keep_within_the_limit_of_points() -> None:
    for days in (0.1, 1, 14, 90, 365):
        assert days * 86400 / step_for(days * 86400) <= MOST_POINTS


def test_server_that_is_not_there_is_one_line(capsys) -> None:
    assert run(["rightsize", "--prometheus", "http://user:secret@127.0.0.1:1"]) == Exit.INPUT
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "127.0.0.1:1" in err
    assert "secret" not in err
    with pytest.raises(SourceError, match="no address"):
        PrometheusServer("prometheus:9090")


# -- a real server ----------------------------------------------------------------------------------------------------

DAYS = 8
STEP = 600


def samples(now: float):
    """OpenMetrics text: a steady service of two replicas with much page cache, and one that leaks."""
    random = Random(3)
    names = ("container_memory_usage_bytes", "container_memory_total_active_file_bytes",
             "container_memory_total_inactive_file_bytes", "container_memory_working_set_bytes")  # fmt: skip
    lines: dict[str, list[str]] = {name: [] for name in names}
    limits: list[str] = []
    for pod, container, leaks in (("shop-7d9f8b6c5d-x2k4p", "web", False), ("shop-7d9f8b6c5d-zz9zz", "web", False),
                                  ("cart-5c6d7e8f9a-aaaaa", "cart", True)):  # fmt: skip
        labels = f'namespace="prod",pod="{pod}",container="{container}"'
        for n in range(DAYS * 86400 // STEP):
            at = now - DAYS * 86400 + n * STEP
            need = (100 + n * 0.4 if leaks else 200) * MIB + random.random() * 8 * MIB
            active, inactive = 150 * MIB, 300 * MIB
            for name, value in zip(names, (need + active + inactive, active, inactive, need + active), strict=True):
                lines[name].append(f"{name}{{{labels}}} {value:.0f} {at:.3f}")
            if n % 6 == 0:
                limits.append(f'kube_pod_container_resource_limits{{{labels},resource="memory"}} {1024 * MIB} {at:.3f}')
        limits.append(f'kube_pod_container_resource_limits{{{labels},resource="memory"}} {1024 * MIB} {now - 60:.3f}')
    for name, rows in {**lines, "kube_pod_container_resource_limits": limits}.items():
        yield f"# TYPE {name} gauge"
        yield from rows
    yield "# EOF"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a real Prometheus with that history."""
    prometheus, promtool = shutil.which("prometheus"), shutil.which("promtool")
    if prometheus is None or promtool is None:
        pytest.skip("prometheus and promtool are not installed (Debian: prometheus)")
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "in.om").write_text("\n".join(samples(time.time())) + "\n")
    subprocess.run([promtool, "tsdb", "create-blocks-from", "openmetrics", "in.om", "data"], cwd=folder, check=True,
                   capture_output=True)  # fmt: skip
    (folder / "p.yml").write_text("scrape_configs: []\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [prometheus, "--config.file=p.yml", "--storage.tsdb.path=data", "--storage.tsdb.retention.time=90d",
             f"--web.listen-address=127.0.0.1:{port}"], cwd=folder, stdout=log, stderr=log,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 60
        while True:
            with suppress(OSError), urllib.request.urlopen(f"{url}/-/ready", timeout=2) as answer:
                if answer.status == 200:
                    break
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def test_every_query_is_understood_by_prometheus(server) -> None:
    for query in QUERIES:
        promql = expression(query, ['namespace="pr\\"od"'], 300, 86400)
        parse_matrix(PrometheusServer(server).ask("/api/v1/query", {"query": promql}))


def test_need_leaves_the_page_cache_out_and_joins_replicas(server, capsys) -> None:
    assert run(["rightsize", "--prometheus", server, "--format", "json", "prod/shop:web"]) == Exit.OK
    (found,) = json.loads(capsys.readouterr().out)["advices"]
    assert found["replicas"] == 2
    assert found["need_basis"] == "lru"
    assert 200 * MIB <= found["peak_bytes"] <= 208 * MIB  # 450 MiB of cache are no need
    assert found["limit_bytes"] == 1024 * MIB
    limit = next(one for one in found["settings"] if one["key"] == "limit")
    assert 208 * MIB < limit["bytes"] < 300 * MIB
    assert found["growth"]["growth"] == "steady"


def test_a_leak_is_told_from_need(server, capsys) -> None:
    assert run(["rightsize", "--prometheus", server, "--match", "namespace=prod", "cart"]) == Exit.OK
    out = capsys.readouterr().out
    assert "prod/cart:cart leaks" in out
    assert "more memory will not help" in out.replace("\n", " ")


def test_patch_of_a_manifest_from_a_real_server(server, tmp_path, capsys) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text("kind: Deployment\nmetadata:\n  name: shop\nspec:\n  template:\n    spec:\n      containers:\n"
                    "        - name: web\n          image: x\n")  # fmt: skip
    assert run(["rightsize", "--prometheus", server, "--patch", str(path)]) == Exit.OK
    out = capsys.readouterr().out
    assert "+            limits:" in out
    assert "Mi" in out


def test_unknown_name_and_wrong_label(server, capsys) -> None:
    assert run(["rightsize", "--prometheus", server, "prod/shop:wep"]) == Exit.INPUT
    assert "did you mean prod/shop:web?" in capsys.readouterr().err
    assert run(["rightsize", "--prometheus", server, "--match", "a-b=c"]) == Exit.USAGE
    assert run(["rightsize", "--match", "a=c"]) == Exit.USAGE
