"""Errors that nobody raised: what reached the `asyncio` logger or `sys.unraisablehook`.

Each test runs with one `Reports`. What it collected and the test did not take is a failure: a test
that provokes such an error says so by taking it, with `take_logged` or `take_unraisable`.
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
from collections import Counter
from types import TracebackType
from typing import Any


class _Collector(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__(logging.ERROR)
        self.records = records

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Reports:
    """Collects errors from entering to leaving the `with` block."""

    def __init__(self) -> None:
        self.logged: list[logging.LogRecord] = []
        self.unraisable: list[str] = []
        self._handler = _Collector(self.logged)

    def __enter__(self) -> Reports:
        logging.getLogger("asyncio").addHandler(self._handler)
        self._saved = (sys.unraisablehook, threading.excepthook)
        sys.unraisablehook = self._on_unraisable
        threading.excepthook = self._on_thread_exception
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        sys.unraisablehook, threading.excepthook = self._saved
        logging.getLogger("asyncio").removeHandler(self._handler)

    def _on_unraisable(self, report: Any) -> None:
        # Text only: keeping the object or the traceback would bring the dead back to life.
        where = report.err_msg or f"Exception ignored in: {report.object!r}"
        self.unraisable.append(f"{where}: {report.exc_type.__name__}: {report.exc_value}")

    def _on_thread_exception(self, report: Any) -> None:
        self.unraisable.append(f"in a thread: {report.exc_type.__name__}: {report.exc_value}")

    def take_logged(self) -> list[str]:
        """The messages logged as errors so far (after a collection), each once."""
        gc.collect()
        messages = [record.getMessage() for record in self.logged]
        self.logged.clear()
        return messages

    def take_exceptions(self) -> list[BaseException]:
        """The exceptions that came with the errors logged so far (after a collection), each once."""
        gc.collect()
        found = [r.exc_info[1] for r in self.logged if r.exc_info and r.exc_info[1] is not None]
        self.logged.clear()
        return found

    def take_unraisable(self) -> list[str]:
        """What `sys.unraisablehook` was told so far (after a collection), each once."""
        gc.collect()
        messages = list(self.unraisable)
        self.unraisable.clear()
        return messages

    def left_over(self) -> list[str]:
        """What nobody took, in words."""
        found = [f"logged: {message}" for message in self.take_logged()]
        found += [f"unraisable: {message}" for message in self.take_unraisable()]
        return [f"{message} ({count} times)" for message, count in Counter(found).items()]
