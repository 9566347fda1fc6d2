"""What the user did wrong, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

from arena.errors import ArenaError

USAGE_ERROR = 2


class Refusal(click.ClickException):
    """What the user did wrong, in one line."""

    exit_code = USAGE_ERROR

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"arena: {' '.join(self.message.split())}", file=file, err=True)


@contextmanager
def one_line() -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "arena"
        raise Refusal(f"{error.format_message()} See '{path} --help'.") from error
    except ArenaError as error:
        raise Refusal(str(error)) from error
