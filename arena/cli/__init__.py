"""The `arena` command. Errors made on purpose end in one line on stderr and exit status 2.

A command's module is imported when the command is asked for: what runs for months, or must be back
soon after it was killed, loads nothing of the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from arena import __version__
from arena.cli.refusals import one_line

_MODULES = {
    "arena.cli.processes": ("up", "web", "runner", "worker"),
    "arena.cli.database": ("db", "backup", "restore", "models"),
    "arena.cli.boards": ("rate", "board", "method", "audit", "agreement"),
    "arena.cli.votes": ("export", "import", "verify", "seal"),
}
_MODULE_OF = {command: module for module, commands in _MODULES.items() for command in commands}


class _Group(click.Group):
    def list_commands(self, _context: click.Context) -> list[str]:
        return sorted(_MODULE_OF)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in _MODULE_OF:
            return None
        found = vars(import_module(_MODULE_OF[name])).values()
        return next(one for one in found if isinstance(one, click.Command) and one.name == name)

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        with one_line():
            return super().parse_args(context, args)

    def invoke(self, context: click.Context) -> Any:
        with one_line():
            return super().invoke(context)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="arena")
def main() -> None:
    """Blind battles between generative models, five-step votes, honest ratings."""
