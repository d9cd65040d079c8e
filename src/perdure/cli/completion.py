"""``perdure completion``: the shell completes commands, options and session ids."""

from __future__ import annotations

import click

from perdure.cli.commands import Command


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    r"""Print the completion script of a shell.

    \b
    bash, zsh:  eval "$(perdure completion bash)" in ~/.bashrc or ~/.zshrc
    fish:       perdure completion fish > ~/.config/fish/completions/perdure.fish
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415 - only here

    if made := get_completion_class(shell):
        root = context.find_root().command
        print(made(root, {}, "perdure", "_PERDURE_COMPLETE").source())
