"""Manifests for the samples of rules: the usual shape around the few lines a rule is about."""

from __future__ import annotations


def deployment(resources: str, *, container: str = "", spec: str = "", image: str = "example.org/api:1.4") -> str:
    """Return a Deployment whose container has *resources* (inside of ``{}``) and further lines."""
    given = f"        resources: {{{resources}}}\n" if resources else ""
    return f"""\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: api
spec:
  replicas: 2
  selector: {{matchLabels: {{app: api}}}}
  template:
    metadata: {{labels: {{app: api}}}}
    spec:
      containers:
      - name: api
        image: {image}
{given}{_shifted(container, 8)}{_shifted(spec, 6)}"""


def pod(
    resources: str, *, container: str = "", containers: str = "", spec: str = "", extra: str = "",
    image: str = "example.org/app:2",
) -> str:  # fmt: skip
    """Return a Pod; *container* goes into its first container, *containers* and *spec* behind it, *extra* after it."""
    given = f"    resources: {{{resources}}}\n" if resources else ""
    return f"""\
apiVersion: v1
kind: Pod
metadata:
  name: app
spec:
  containers:
  - name: app
    image: {image}
{given}{_shifted(container, 4)}{containers}{_shifted(spec, 2)}{extra}"""


def _shifted(text: str, columns: int) -> str:
    return "".join(" " * columns + line + "\n" for line in text.rstrip("\n").split("\n") if line)
