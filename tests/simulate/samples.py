"""Scenario files for the tests: short ways to write one."""

from __future__ import annotations

from oomsight.simulate.scenario import Scenario, read_scenario


def toml(*tables: str, ram: str = "1GiB", duration: str = "1h", machine: str = "", top: str = "") -> str:
    """A scenario file with these tables; ``p NAME KIND KEY=VALUE …`` and ``c PATH KEY=VALUE …`` are short for rows."""
    lines = ['title = "test"', top, "[run]", f'duration = "{duration}"', "[machine]", f'ram = "{ram}"', machine]
    for table in tables:
        word, *rest = table.split()
        if word == "p":
            lines += ["[[process]]", f'name = "{rest[0]}"', f'kind = "{rest[1]}"']
            rest = rest[2:]
        elif word == "c":
            lines += ["[[cgroup]]", f'path = "{rest[0]}"']
            rest = rest[1:]
        else:
            lines.append(table)
            continue
        for item in rest:
            key, _, value = item.partition("=")
            bare = value in {"true", "false"} or value.lstrip("-").isdecimal()
            lines.append(f"{key} = {value}" if bare else f'{key} = "{value}"')
    return "\n".join(lines) + "\n"


def scenario(*tables: str, **more: str) -> Scenario:
    """The scenario of :func:`toml`."""
    found, problems = read_scenario(toml(*tables, **more))
    assert not problems, problems
    assert found is not None
    return found
