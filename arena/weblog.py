"""gunicorn's log through our own lines, without what it repeats of requests and addresses."""

from __future__ import annotations

import logging
import os
from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from arena import logs
from arena.settings import Settings

_REQUEST = "Invalid request from"


class WebLog(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """`--logger-class` of gunicorn. Requests are told of by `arena.views.access` alone."""

    def setup(self, cfg: Any) -> None:
        settings = Settings.from_environment(os.environ)
        logs.configure(settings.log_level, settings.log_format, "web")
        self.cfg = cfg
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        self.error_log.setLevel(logging.NOTSET)

    def access(self, *_: Any) -> None:
        """Nothing: our own line is written already."""

    def warning(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """As it is, unless it repeats a request that nobody could read, and its address."""
        if msg.startswith(_REQUEST):
            msg, args = "a request that cannot be read is refused", ()
        super().warning(msg, *args, **kwargs)

    def exception(self, msg: str, *_: Any, **kwargs: Any) -> None:
        """The message without the request's line, which goes by its query too."""
        super().exception(str(msg).partition(" %")[0], **kwargs)

    def debug(self, *_: Any, **__: Any) -> None:
        """Nothing: at this level gunicorn repeats bytes of requests."""
