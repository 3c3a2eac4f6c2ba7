"""Errors of the library in Prefect's logs: code, cause and remedy instead of a traceback, on the dashboard and in the
terminal.
"""

from __future__ import annotations

import logging

from cogumi.errors import CogumiError

_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")


class ErrorsWithRemedy(logging.Filter):
    """Rewrites the record of an error of the catalogue; others keep their traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if isinstance(error, CogumiError):
            record.msg, record.args, record.exc_info, record.exc_text = str(error), (), None, None
        return True


def show_errors_with_remedy() -> None:
    """Use the filter in this process. Idempotent."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, ErrorsWithRemedy) for each in logger.filters):
            logger.addFilter(ErrorsWithRemedy())
