"""How the pod logs: key=value on a terminal, one JSON object per line otherwise; libraries go the same way."""

import logging
import re
import sys
from enum import StrEnum
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*")
"""A JSON Web Token, wherever it stands: it begins with `{"` in base64."""


class Level(StrEnum):
    """The least severe level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def configure(level: Level, out: TextIO | None = None) -> None:
    """Sends structlog and stdlib logging (uvicorn, nats) to out, which is standard error unless given."""
    out = out or sys.stderr
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_shared(),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(out.isatty()),
                _hide_tokens,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would tell of each fetch of keys
    logging.getLogger("asyncio").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """asyncio complains of each TLS connection that ends how nats-py had it read; nothing can be done about it here."""
    return "eof_received() has no effect when using ssl" not in record.msg


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _rendering(terminal: bool) -> list[Processor]:
    if terminal:
        # Publishers choose subjects: as Python literals they cannot carry escape sequences to a terminal. Plain
        # tracebacks, because rich ones show local variables, and with them credentials.
        return [
            structlog.dev.ConsoleRenderer(
                exception_formatter=structlog.dev.plain_traceback, repr_native_str=True, pad_event_to=0
            )
        ]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]


def _hide_tokens(_: object, __: str, line: Any) -> Any:
    """Works on the whole line, so that no token is logged, wherever in it and whoever says it."""
    return _TOKEN.sub("(token)", line)
