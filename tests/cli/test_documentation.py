"""docs/cli.md tells of every command and option, and of none that there is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from perdure.cli.root import root
from perdure.errors import PerdureError

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
ALIASES = {"perdure ls", "perdure show"}


def commands(
    group: click.Group = root, path: str = "perdure"
) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by what is typed."""
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group):
                yield from commands(command, f"{path} {name}")
            else:
                yield f"{path} {name}", command


COMMANDS = dict(commands())


def sections() -> dict[str, str]:
    """The text below each heading that is a command."""
    parts = re.split(r"^#+ (.+)$", PAGE, flags=re.MULTILINE)
    return {
        heading.strip("`"): text
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
        if heading.startswith("`perdure ")
    }


def options(command: click.Command, *, hidden: bool = False) -> set[str]:
    """The names of its options, the short ones too."""
    return {
        name
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.hidden is hidden
        for name in (*parameter.opts, *parameter.secondary_opts)
    }


def test_every_command_has_its_section_and_every_section_is_of_a_command() -> None:
    assert set(sections()) == set(COMMANDS) - ALIASES


@pytest.mark.parametrize("path", sorted(set(COMMANDS) - ALIASES))
def test_every_option_of_a_command_is_told_of_and_no_other(path: str) -> None:
    text = sections()[path]
    rows = "\n".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    told = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", rows))

    assert told == options(COMMANDS[path])


@pytest.mark.parametrize("path", sorted(set(COMMANDS) - ALIASES))
def test_every_argument_of_a_command_is_told_of(path: str) -> None:
    for parameter in COMMANDS[path].params:
        if isinstance(parameter, click.Argument):
            name = (parameter.metavar or str(parameter.name).upper()).strip("[].")
            assert re.search(rf"`{name}(\.\.\.)?`", sections()[path]) or name == "FILE"


def test_the_options_of_every_command_are_told_of_once() -> None:
    everywhere = PAGE.split("## Everywhere")[1].split("\n## ")[0]
    rows = "\n".join(re.findall(r"^\| `(-.*?)\|", everywhere, re.MULTILINE))
    told = set(re.findall(r"--?[a-z][\w-]*", rows))

    assert told == options(root) - {"--version"} | {"-h", "--help"}
    for command in COMMANDS.values():
        assert options(command, hidden=True) == options(root) - {"--version", "-h", "--help"}


@pytest.mark.parametrize("path", sorted(COMMANDS))
def test_every_command_and_option_has_help(path: str) -> None:
    command = COMMANDS[path]

    assert command.help
    for parameter in command.params:
        assert not isinstance(parameter, click.Option) or parameter.help


@pytest.mark.parametrize("path", sorted(COMMANDS))
def test_no_help_is_wider_than_a_terminal(path: str) -> None:
    with click.Context(COMMANDS[path], info_name=path, terminal_width=80) as context:
        text = COMMANDS[path].get_help(context)

    assert max(map(len, text.splitlines())) <= 80


def test_every_exit_code_is_told_of() -> None:
    def codes(error: type[PerdureError]) -> set[int]:
        return {error.exit_code}.union(*map(codes, error.__subclasses__()))

    told = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}

    assert told == codes(PerdureError) | {0, 2, 8, 130, 141}
