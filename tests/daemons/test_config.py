"""The agent's configuration: every mistake named with its line and the nearest right word."""

from __future__ import annotations

import pytest

from oomsight.daemons.config import SETTINGS, ConfigError, parse_config, read_config


def test_parse_config_empty_has_every_default() -> None:
    config = parse_config("")
    assert dict(config.values) == {s.key: s.default for s in SETTINGS}
    told = list(config.sentences())
    assert told[: len(SETTINGS)] == [setting.says(setting.default) for setting in SETTINGS]
    assert any(sentence.startswith("Alarm memory_high: raised at 80 % or more for 1 min, critical from 95 % on; over after 1 min at 75 % or less") for sentence in told), "on without a section"


def test_parse_config_values_change_the_sentences() -> None:
    config = parse_config("[store]\nkeep_days = 0\nmax_mib = 10\npath = '/x/y.db'\n[sources]\njournal = false\n")
    said = list(config.sentences())
    assert "Incidents are never removed for their age." in said
    assert "The store is /x/y.db." in said
    assert "Do not read the journal: kills by systemd-oomd, earlyoom and others are not seen." in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[store]\n\nkeep_day = 3\n", "f: line 3: there is no setting 'keep_day' in [store]; did you mean 'keep_days'?"),
        ("# x\n[stor]\nx = 1\n", "f: line 2: there is no section [stor]; did you mean 'store'?"),
        ("[zzz]\n", "f: line 1: there is no section [zzz]; there are: agent, record, sources, store"),
        ("store.max_mb = 3\n", "f: line 1: there is no setting 'max_mb' in [store]; did you mean 'max_mib'?"),
        ("[store]\nkeep_days = true\n", "f: line 2: store.keep_days must be a whole number, not True"),
        ("[store]\nmax_mib = 0\n", "f: line 2: store.max_mib must be at least 1, not 0"),
        ("[store]\nkeep_days = 99999\n", "f: line 2: store.keep_days must be at most 36500, not 99999"),
        ("[store]\npath = 3\n", "f: line 2: store.path must be text in quotes, not 3"),
    ],
)
def test_parse_config_mistake_names_line_and_cure(text, message, monkeypatch) -> None:
    monkeypatch.setattr("oomsight.daemons.config.EXTENSIONS", {})
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "f")
    assert str(caught.value) == message


def test_parse_config_broken_toml_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"^f: .*line 1"):
        parse_config("[store\n", "f")


def test_read_config_missing_file_matters_only_when_asked_for(tmp_path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_config(str(tmp_path / "none.toml"))


def test_parse_config_section_of_an_extension_is_checked_by_it(monkeypatch) -> None:
    from oomsight.daemons import config as module

    monkeypatch.setitem(module.EXTENSIONS, "tell", "unused:unused")

    def check(table):
        if "to" not in table:
            raise ConfigError("needs 'to'")
        yield f"Tell {table['to']}."

    real = module._function
    monkeypatch.setattr(module, "_function", lambda where: check if where == "unused:unused" else real(where))
    assert "Tell you." in list(parse_config("[tell]\nto = 'you'\n").sentences())
    with pytest.raises(ConfigError, match=r"f: \[tell\] needs 'to'"):
        parse_config("[tell]\n", "f")
