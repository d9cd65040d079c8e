"""What all commands share: the options that may stand anywhere, and help that tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click

from perdure.cli.invocation import Invocation

_EVERYWHERE = "Also everywhere: --url --tenant --json --jsonl --no-color --no-pager -q -v"


def _note(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Keep what was given, wherever it stands: the last one wins."""
    invocation = context.ensure_object(Invocation)
    if value in (None, False):
        return
    if parameter.name in {"json", "jsonl"}:
        invocation.form = str(parameter.name)
    else:
        setattr(invocation, str(parameter.name), value)


def _everywhere(*, hidden: bool) -> list[click.Parameter]:
    def option(*names: str, help: str, **more: Any) -> click.Option:
        return click.Option(
            names, help=help, callback=_note, expose_value=False, hidden=hidden, **more
        )

    return [
        option(
            "--url", metavar="URL", help="The store (default: PERDURE_URL, or your data folder)."
        ),
        option(
            "--tenant", metavar="NAME", help="The tenant in it (default: PERDURE_TENANT, or none)."
        ),
        option("--json", is_flag=True, help="One JSON document."),
        option("--jsonl", is_flag=True, help="One JSON document a line."),
        option("--no-color", is_flag=True, help="No colour; NO_COLOR says the same."),
        option("--no-pager", is_flag=True, help="Never through PAGER."),
        option("-q", "--quiet", is_flag=True, help="Data and errors only."),
        option("-v", "--verbose", is_flag=True, help="Say more."),
    ]


class PipeClosedError(Exception):
    """Whoever read standard output has seen enough."""


class Command(click.Command):
    """A command that takes the options of every command."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _everywhere(hidden=True)
        self.epilog = _EVERYWHERE


class Lazy(NamedTuple):
    """A command that is not loaded before it is needed: where it is, and what help says of it."""

    place: str
    help: str


class Group(click.Group):
    """A noun, and its verbs."""

    command_class = Command

    def __init__(
        self, *args: Any, lazy: Mapping[str, Lazy] | None = None, root: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.params += _everywhere(hidden=not root)
        self.lazy = lazy or {}
        if not root:
            self.epilog = _EVERYWHERE

    def list_commands(self, context: click.Context) -> list[str]:
        """The names, in the order they were given."""
        del context
        return [*self.lazy, *self.commands]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command, imported if it is its turn."""
        if name not in self.lazy:
            return super().get_command(context, name)
        module, _, attribute = self.lazy[name].place.partition(":")
        command: click.Command = getattr(import_module(f"perdure.cli.{module}"), attribute)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help, for which nothing lazy is loaded."""
        if not self.lazy:
            super().format_commands(context, formatter)
            return
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in self.lazy.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; a closed pipe gets a name of its own, for click would end the process."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise PipeClosedError from error
