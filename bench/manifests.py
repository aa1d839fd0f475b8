"""Makes the repository that the audit benchmark reads: 10,000 manifests from a seed, of the kinds that are in use."""

from __future__ import annotations

import random
from pathlib import Path

KINDS = ("Deployment", "StatefulSet", "DaemonSet", "CronJob")
IMAGES = (
    "nginx:1.27", "redis:7", "eclipse-temurin:21-jre", "node:20-alpine", "python:3.12", "registry.example.org/app:{n}"
)  # fmt: skip
SERVICE = """\
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: {space}
  labels: {{app.kubernetes.io/name: {name}, app.kubernetes.io/part-of: shop}}
spec:
  selector:
    app.kubernetes.io/name: {name}
  ports:
  - name: http
    port: 80
    targetPort: http
"""


def container(rng: random.Random, name: str, n: int) -> str:
    """Return a container of some 35 lines, sized one way or another."""
    request = rng.choice((64, 128, 256, 512, 1024))
    limit = request * rng.choice((1, 1, 2, 4))
    resources = rng.choice((
        f"requests:\n            cpu: 100m\n            memory: {request}Mi\n"
        f"          limits:\n            memory: {limit}Mi",
        f"requests: {{memory: {request}Mi}}", f"limits: {{memory: {limit}M}}", "requests: {cpu: 50m}",
    ))  # fmt: skip
    image = rng.choice(IMAGES).format(n=n)
    command = {"eclipse-temurin:21-jre": f"[java, -Xmx{limit}m, -jar, /app.jar]", "node:20-alpine": "[node, server.js]",
               "python:3.12": "[gunicorn, app, --workers, '4']"}.get(image)  # fmt: skip
    start = f"        command: {command}\n" if command else ""
    env = "".join(
        f'        - name: SETTING_{index}\n          value: "{rng.randrange(1 << 30)}"\n'
        for index in range(rng.randrange(2, 9))
    )
    return f"""\
      - name: {name}
        image: {image}
{start}        ports:
        - name: http
          containerPort: {rng.randrange(1024, 9000)}
        env:
{env}        readinessProbe:
          httpGet:
            path: /healthz
            port: http
        resources:
          {resources}
        volumeMounts:
        - name: config
          mountPath: /etc/app
"""


def manifest(rng: random.Random, n: int) -> str:
    """Return one file: a workload and its Service, about 2.5 kB."""
    kind, name, space = rng.choice(KINDS), f"app-{n}", f"team-{n % 40}"
    containers = "".join(container(rng, f"c{index}", n) for index in range(rng.choice((1, 1, 2, 3))))
    spec = f"""\
    metadata:
      labels:
        app.kubernetes.io/name: {name}
    spec:
      containers:
{containers}      volumes:
      - name: config
        configMap: {{name: {name}}}
"""
    head = f"kind: {kind}\nmetadata:\n  name: {name}\n  namespace: {space}\n"
    if kind == "CronJob":
        inner = "".join(f"    {line}\n" for line in spec.splitlines())
        body = f"apiVersion: batch/v1\n{head}spec:\n  schedule: '5 * * * *'\n  jobTemplate:\n    spec:\n"
        body += f"      template:\n{inner}"
    else:
        body = f"apiVersion: apps/v1\n{head}spec:\n  selector:\n    matchLabels:\n"
        body += f"      app.kubernetes.io/name: {name}\n  template:\n{spec}"
    return body + "---\n" + SERVICE.format(name=name, space=space)


def make(folder: Path, count: int, seed: int = 7) -> int:
    """Write *count* manifests into directories of 100 below *folder*; return their bytes."""
    rng = random.Random(seed)
    total = 0
    for n in range(count):
        place = folder / f"team-{n // 100:03}"
        place.mkdir(parents=True, exist_ok=True)
        data = manifest(rng, n).encode()
        (place / f"app-{n}.yaml").write_bytes(data)
        total += len(data)
    return total
