"""The section [alerts]: what is accepted, what is refused with which words, and that no secret is shown."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from oomsight.alerts.facts import NOTE_SEVERITY, Severity
from oomsight.alerts.rules import DEFAULT_RULES, PATTERN_FIELDS
from oomsight.alerts.settings import CHANNEL_TYPES, AlertsError, parse_settings, public_address, sentences
from oomsight.daemons.config import ConfigError, parse_config

GOOD = """
[[alerts.rule]]
name = "pay"
pod = ["payments/*", "!payments/test-*"]
severity = "info"
channels = ["pager"]
repeat_seconds = 60
stop = true

[[alerts.channel]]
name = "pager"
type = "alertmanager"
url = "http://user:secret@alerts.example.org:9093/secret?token=secret"

[[alerts.channel]]
name = "chat"
type = "apprise"
url_file = "/etc/oomsight/chat.url"
per_minute = 0

[[alerts.channel]]
name = "hook"
type = "webhook"
url = "${HOOK_URL}"
token = "secret"
send_resolved = false

[[alerts.channel]]
name = "script"
type = "exec"
command = ["/usr/local/bin/oom", "--password", "secret"]
timeout_seconds = 3
"""


def parse(text: str):
    return parse_settings(tomllib.loads(text).get("alerts", {}))


def test_parse_settings_reads_rules_and_channels_with_their_defaults() -> None:
    settings = parse(GOOD)
    (rule,) = settings.rules
    assert (rule.name, rule.severity, rule.channels, rule.stop) == ("pay", Severity.INFO, ("pager",), True)
    assert (rule.repeat_seconds, rule.resolve_seconds) == (60.0, 900.0)
    found = {c.name: (c.type, c.resolved, c.per_minute) for c in settings.channels}
    assert found == {
        "pager": ("alertmanager", True, None), "chat": ("apprise", False, None), "hook": ("webhook", False, 60),
        "script": ("exec", True, 60),
    }  # fmt: skip
    assert settings.channel("script").options["timeout_seconds"] == 3.0
    assert settings.channel("none") is None


def test_parse_settings_without_rules_has_the_default_one() -> None:
    assert parse("").rules == DEFAULT_RULES


def test_sentences_say_each_channel_and_rule_and_no_secret() -> None:
    said = list(sentences(parse(GOOD)))
    assert said[0] == "Channel pager: post to Alertmanager at http://alerts.example.org:9093, also when it is over."
    assert said[1] == "Channel chat: send through Apprise."
    assert said[2] == "Channel hook: post to an address from the environment, at most 60 messages a minute."
    assert said[3].startswith("Channel script: run /usr/local/bin/oom with the message as JSON")
    assert said[4].startswith("Rule pay: Every event whose pod is payments/*")
    assert "secret" not in " ".join(said)


def test_sentences_without_channels_say_that_nobody_is_told() -> None:
    assert list(sentences(parse(""))) == ["Nobody is told: there is no [[alerts.channel]]."]


HOOK = '[[alerts.channel]]\nname = "a"\ntype = "webhook"\nurl = "http://x/"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[alerts]\nrules = 3\n", "[alerts]: there is no setting 'rules'; did you mean 'rule'?"),
        ("[alerts.channel]\nname = 'x'\n", "write [[alerts.channel]], in double brackets, once for each"),
        ("[[alerts.channel]]\ntype = 'exec'\n", "every [[alerts.channel]] needs a name of letters, digits, '-', '_' and '.'"),
        ("[[alerts.channel]]\nname = '../x'\ntype = 'exec'\n", "every [[alerts.channel]] needs a name of letters, digits, '-', '_' and '.'"),
        ("[[alerts.channel]]\nname = 'x'\ntype = 'webhok'\n", "channel x: there is no type 'webhok'; did you mean 'webhook'?"),
        (HOOK.replace("http:", "ftp:"), "channel a: url must begin with http:// or https://"),
        (HOOK + "url_file = '/x'\n", "channel a: give url or url_file, not both"),
        (HOOK + "per_minute = 1.5\n", "channel a: per_minute must be a whole number (0 = no limit)"),
        (HOOK + "timeout_seconds = 0\n", "channel a: timeout_seconds must be above 0 and at most 300"),
        (HOOK + "uri = 'x'\n", "channel a: there is no setting 'uri'; did you mean 'url'?"),
        (HOOK + HOOK, "two channels are called a"),
        ("[[alerts.channel]]\nname = 'a'\ntype = 'webhook'\n", "channel a: url or url_file is missing"),
        ("[[alerts.channel]]\nname = 'a'\ntype = 'exec'\ncommand = []\n", "channel a: command must be a list of texts, the program first"),
        ("[[alerts.channel]]\nname = 'a'\ntype = 'exec'\ncommand = ['x']\n", "channel a: the program must be given by its whole path, not as x"),
        ("[[alerts.channel]]\nname = 'a'\ntype = 'apprise'\nurl = 'x'\n", "channel a: url must be an Apprise address (mailto://…, slack://…)"),
        ("[[alerts.rule]]\nchannels = ['a']\n", "rule 1: there is no channel 'a'; there is none at all"),
        (HOOK + "[[alerts.rule]]\nchannels = ['b']\n", "rule 1: there is no channel 'b'; there are: a"),
        ("[[alerts.rule]]\nseverity = 'bad'\n", "rule 1: severity must be one of info, warning, critical"),
        ("[[alerts.rule]]\nkind = 'cgroup'\n", "rule 1: there is no kind 'cgroup'; there are: global,"),
        ("[[alerts.rule]]\npods = 'x'\n", "rule 1: there is no setting 'pods'; did you mean 'pod'?"),
        ("[[alerts.rule]]\nname = 'n'\npod = 3\n", "rule n: pod must be text or a list of texts"),
        ("[[alerts.rule]]\nstop = 1\n", "rule 1: stop must be true or false"),
        ("[[alerts.rule]]\nresolve_seconds = 0\n", "rule 1: resolve_seconds must be between 1 and a week"),
    ],
)
def test_parse_settings_mistake_is_one_line_with_the_cure(text, words) -> None:
    with pytest.raises(AlertsError) as caught:
        parse(text)
    assert str(caught.value).startswith(words)


def test_parse_config_refuses_a_cause_that_nothing_has() -> None:
    def rule(cause: str) -> str:
        return f"[[alerts.rule]]\ncause = '{cause}'\n"

    for known in ("memcg_limit", "!no_swap", "userspace_killer", "cgroup_growth", "kills_not_in_log", "memcg_*", "unknown"):
        parse_config(rule(known))
    with pytest.raises(ConfigError, match=r"rule 1: there is no cause 'memcg_limt'; did you mean 'memcg_limit'\?$"):
        parse_config(rule("memcg_limt"))
    with pytest.raises(ConfigError, match=r"there is no kind 'memgc'; did you mean 'memcg'\?$"):
        parse_config("[[alerts.rule]]\nkind = '!memgc'\n")


def test_every_remark_of_the_agent_has_a_severity() -> None:
    import re

    import oomsight

    root = Path(oomsight.__file__).parent
    sources = [*root.glob("live/*.py"), root / "daemons" / "detector.py"]
    codes = {code for path in sources for code in re.findall(r'Finding\("(\w+)"', path.read_text())}
    assert codes == set(NOTE_SEVERITY)


def test_parse_config_names_file_and_section_of_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"^f: \[alerts\] rule 1: stop must be true or false$"):
        parse_config("[[alerts.rule]]\nstop = 1\n", "f")
    assert "Channel a: post to http://x, at most 60 messages a minute, also when it is over." in parse_config(HOOK).sentences()


def test_configuration_in_the_documentation_is_correct() -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/alerts.md").read_text(encoding="utf-8")
    block = page.split("```text\n")[1].split("```")[0]
    settings = parse(block)
    assert [channel.name for channel in settings.channels] == ["pager", "chat"]
    assert [rule.name for rule in settings.rules] == ["tests", "whole machine", "payments"]
    for name in (*CHANNEL_TYPES, *PATTERN_FIELDS, "severity", "channels", "stop", "repeat_seconds", "resolve_seconds"):
        assert f"`{name}`" in page


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.org/T0/B0/XYZ", "https://hooks.example.org"),
        ("http://u:p@[::1]:80/x", "http://::1:80"),
        ("${X}", "an address from the environment"),
        ("mailto://me:pw@mail.example.org", "mailto://…"),
        ("http://[", "an address"),
    ],
)
def test_public_address_shows_scheme_and_host_only(url, shown) -> None:
    assert public_address(url) == shown
