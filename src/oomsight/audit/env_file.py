"""Files of variables: ``.env`` and ``env_file`` of compose, ``EnvironmentFile=`` of systemd, ``--env-file``."""

from __future__ import annotations

from oomsight._lazy import lazy

_LINE = lazy(r"(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*$")


def read_env_file(text: str) -> dict[str, str]:
    """Return the variables of a file, one a line; ``#`` and ``;`` begin a comment."""
    found = {}
    for line in text.split("\n"):
        match = None if line.lstrip().startswith(("#", ";")) else _LINE.match(line.strip())
        if match is not None:
            value = match[2]
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
            found[match[1]] = value[1:-1] if quoted else value.split(" #", 1)[0].rstrip()
    return found
