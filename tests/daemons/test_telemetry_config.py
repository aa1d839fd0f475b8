"""The sections [metrics], [otlp] and [zabbix]: sentences for what is right, one line for what is wrong."""

from __future__ import annotations

import pytest

from oomsight.daemons.config import ConfigError, parse_config
from oomsight.daemons.telemetry_config import metrics_settings, otlp_settings, telemetry_settings

OTLP = 'endpoint = "http://127.0.0.1:4318"\n'


def sentences(text: str) -> list[str]:
    return list(parse_config(text).sentences())


def test_sections_that_are_missing_are_off() -> None:
    assert not telemetry_settings(parse_config(""))


def test_metrics_defaults_are_for_this_machine_only() -> None:
    said = sentences("[metrics]\n")
    assert "Serve /metrics, /healthz and /incidents.json at http://127.0.0.1:9873 to this machine only." in said
    assert "Keep at most 500 series of a kill counter; show the 100 fullest cgroups." in said
    assert "Predict who would be killed, at most every 60 s." in said


def test_metrics_with_token_may_listen_anywhere() -> None:
    said = sentences('[metrics]\nlisten = "[::]:9873"\ntoken_file = "/etc/t"\npredict_seconds = 0\n')
    expected = "Serve /metrics, /healthz and /incidents.json at http://[::]:9873 to who brings the token in /etc/t."
    assert expected in said
    assert "Predict no victims." in said


def test_otlp_and_zabbix_sentences() -> None:
    said = sentences(f'[otlp]\n{OTLP}logs = false\n[zabbix]\nserver = "zbx.example"\nhost = "web-1"\n')
    assert "Send metrics every 60 s to http://127.0.0.1:4318 (OTLP/HTTP)." in said
    assert "Send all items of host web-1 to Zabbix at zbx.example:10051 every 60 s." in said


def test_otlp_key_over_plain_http_is_said() -> None:
    said = sentences('[otlp]\nendpoint = "http://otel.example:4318"\n[otlp.headers]\nkey = "x"\n')
    assert "Its headers travel unencrypted: use https if one of them is a key." in said
    local = sentences(f'[otlp]\n{OTLP}[otlp.headers]\nkey = "x"\n')
    assert not [line for line in local if "unencrypted" in line]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[metrics]\nlisten = "0.0.0.0:9873"', "can be reached from other machines: set token_file, or listen on 127.0.0.1:9873"),
        ('[metrics]\nlisten = "localhost:9873"', "'localhost:9873' is no IP address with a port"),
        ("[metrics]\nlistn = 3", "there is no setting 'listn'; did you mean 'listen'?"),
        ("[metrics]\nseries = 3", "series must be between 10 and 100,000, not 3"),
        ("[metrics]\nseries = true", "series must be a whole number, not True"),
        ("[otlp]\n", "endpoint: '' is no URL"),
        ('[otlp]\nendpoint = "ftp://x"', "is no URL"),
        ('[otlp]\nendpoint = "http://u:p@x"', "keys belong into headers_file"),
        (f'[otlp]\n{OTLP}[otlp.headers]\n"a b" = "x"', "'a b' is no name of a header"),
        (f'[otlp]\n{OTLP}[otlp.headers]\na = "x\\r\\ny"', "must be printable ASCII text"),
        (f"[otlp]\n{OTLP}interval_seconds = 1", "interval_seconds must be between 5 and 86,400"),
        ("[zabbix]\n", "server: '' is no host or host:port"),
        ('[zabbix]\nserver = "x:99999"', "is no host or host:port"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(text, words) -> None:
    with pytest.raises(ConfigError) as error:
        parse_config(text)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_token_is_one_long_word_from_its_file(tmp_path) -> None:
    file = tmp_path / "token"
    settings = metrics_settings({"token_file": str(file)})
    with pytest.raises(ConfigError, match="no such file"):
        settings.token()
    for content in ("", "short", "x" * 20 + " y" * 20, "é" * 30):
        file.write_text(content)
        with pytest.raises(ConfigError, match="one word of at least 16 ASCII characters"):
            settings.token()
    file.write_text("0123456789abcdef\n")
    assert settings.token() == "0123456789abcdef"
    assert metrics_settings({}).token() is None


def test_token_from_systemd_credentials(tmp_path, monkeypatch) -> None:
    (tmp_path / "metrics.token").write_text("0123456789abcdef")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert metrics_settings({"token_file": "metrics.token"}).token() == "0123456789abcdef"


def test_headers_of_file_and_section_together(tmp_path) -> None:
    file = tmp_path / "headers"
    file.write_text("# key of the back end\napi-key: abc:def\n\n")
    settings = otlp_settings({"endpoint": "https://x", "headers_file": str(file), "headers": {"a": "1"}})
    assert settings.all_headers() == {"a": "1", "api-key": "abc:def"}
    file.write_text("no colon here\n")
    with pytest.raises(ConfigError, match="every line must be 'Name: value'"):
        settings.all_headers()
