"""``oomsight agent --check-config``."""

from __future__ import annotations

from oomsight.cli.exits import Exit
from oomsight.cli.main import run


def test_check_config_says_each_setting_as_a_sentence(tmp_path, capsys) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[store]\nkeep_days = 30\n")
    assert run(["agent", "-c", str(file), "--check-config"]) == Exit.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{file}: correct."
    assert "- Incidents are removed after 30 days." in lines


def test_check_config_mistake_is_one_line_and_usage(tmp_path, capsys) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[store]\nkeep_day = 30\n")
    assert run(["agent", "-c", str(file), "--check-config"]) == Exit.USAGE
    error = capsys.readouterr().err
    assert error == f"oomsight: {file}: line 2: there is no setting 'keep_day' in [store]; did you mean 'keep_days'?\n"
