"""docs/cli.md names every command, every option and every exit status."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from flyball import errors
from flyball.agent.cli import app
from flyball.tuners.study.setup import DEFAULT_BUDGET_SECONDS

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by the words that call it."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, child in command.commands.items():
        yield from commands(child, f"{path} {name}")


ALL = dict(commands(typer.main.get_command(app), "flyball"))


def test_the_commands_of_this_page_are_those_that_exist() -> None:
    assert sorted(ALL) == [
        "flyball agent",
        "flyball alerts list",
        "flyball alerts mute",
        "flyball alerts mutes",
        "flyball alerts replay",
        "flyball alerts show",
        "flyball alerts test",
        "flyball alerts unmute",
        "flyball autotune",
        "flyball doctor",
        "flyball history experiments",
        "flyball history p2p",
        "flyball history run",
        "flyball history runs",
        "flyball history show",
        "flyball history trials",
        "flyball lint",
        "flyball p2p",
        "flyball policies check",
        "flyball policies export",
        "flyball policies test",
        "flyball probe install",
        "flyball run",
        "flyball top",
    ]


@pytest.mark.parametrize("path", sorted(ALL))
def test_every_command_is_documented_with_an_example(path: str) -> None:
    examples = re.findall(r"^```\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    shown = "autotune --" if path == "flyball autotune" else path
    assert any(shown in example for example in examples)


@pytest.mark.parametrize("path", sorted(ALL))
def test_every_option_is_documented_and_has_a_help_text(path: str) -> None:
    for parameter in ALL[path].params:
        if parameter.param_type_name == "option":
            assert parameter.help, parameter.opts
            for name in parameter.opts:
                assert re.search(rf"`{re.escape(name)}[ `\[]", PAGE), f"{path} {name} is not in docs/cli.md"


def test_no_option_is_documented_that_does_not_exist() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `--")]
    documented = {re.match(r"\| `(--[a-z-]+)", row).group(1) for row in rows}  # type: ignore[union-attr]
    existing = {name for command in ALL.values() for parameter in command.params for name in parameter.opts}
    assert documented <= existing
    assert documented


def test_the_budget_of_a_study_without_limits_is_told() -> None:
    told = f"{DEFAULT_BUDGET_SECONDS / 60:.0f}m"
    assert f"`{told}` where `--trials` is not given either" in PAGE
    (budget,) = (each for each in ALL["flyball autotune"].params if "--budget" in each.opts)
    assert f"{told} where --trials is not given either" in budget.help


def test_every_exit_status_is_documented() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    statuses = {kind.exit_status for kind in classes if issubclass(kind, errors.FlyballError)} | {0, 3, 4}
    for status in statuses:
        assert f"\n| {status} | " in PAGE
