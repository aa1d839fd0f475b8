"""A rule about the host, as its row in a table gives it."""

from __future__ import annotations

from oomsight.audit.model import Find, Fix, Rule, Severity


def sysctl_fix(name: str, value: int | str) -> Fix:
    """Return the command that sets a sysctl now and for good; several of them add up in one file."""
    return Fix(f"echo '{name} = {value}' >> /etc/sysctl.d/90-oom.conf && sysctl --system", "sh")


def host_rule(  # noqa: PLR0917 - one column of the table each
    number: int, title: str, severity: Severity, find: Find, why: str, leads: str, how: str, source: str,
    failing: str, passing: str,
) -> Rule:  # fmt: skip
    """Return rule ``OS`` *number*: what it finds is its title, its samples are parts of a host."""
    return Rule(
        f"OS{number}", title, severity, "host", find, f"{title}.", why, leads, how, source, "host", failing, passing
    )
