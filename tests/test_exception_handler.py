"""Exception handlers: what they get, log, and do when they fail (asyncio docs, "Error handling API")."""

import asyncio
import contextvars
import logging
import socket

import pytest

from tests.support.versions import SINCE_3_12, SINCE_3_13
from tests.support.waiting import until


def run_once(loop):
    loop.stop()
    loop.run_forever()


def fail():
    raise ValueError("of a callback")


def test_no_handler_is_set_at_first(loop):
    assert loop.get_exception_handler() is None


def test_handler_can_be_set_and_taken_away(loop):
    def handler(loop, context):
        pass

    loop.set_exception_handler(handler)
    assert loop.get_exception_handler() is handler
    loop.set_exception_handler(None)
    assert loop.get_exception_handler() is None


@pytest.mark.parametrize("wrong", ["text", 1, ()])
def test_handler_must_be_callable(loop, wrong):
    with pytest.raises(TypeError, match=r"A callable object or None is expected, got"):
        loop.set_exception_handler(wrong)


def test_handler_gets_the_loop_and_the_context(loop):
    seen = []
    loop.set_exception_handler(lambda *args: seen.append(args))
    context = {"message": "hello", "extra": 1}
    loop.call_exception_handler(context)
    [(given_loop, given)] = seen
    assert given_loop is loop
    assert given is context


def test_error_of_a_callback_comes_with_its_handle(loop):
    seen = []
    loop.set_exception_handler(lambda _, context: seen.append(context))
    handle = loop.call_soon(fail)
    run_once(loop)
    [context] = seen
    assert context["message"].startswith("Exception in callback fail() at ")
    assert "test_exception_handler.py" in context["message"]
    assert str(context["exception"]) == "of a callback"
    assert context["handle"] is handle


def test_callback_with_something_else_for_a_context_is_reported_to_the_handler(loop):
    seen = []
    loop.set_exception_handler(lambda _, context: seen.append(context))
    handle = loop.call_soon(print, context=3)
    run_once(loop)
    [context] = seen
    assert isinstance(context["exception"], (AttributeError, TypeError))
    assert context["handle"] is handle


def test_error_of_a_timer_comes_with_its_handle(loop):
    seen = []
    loop.set_exception_handler(lambda _, context: seen.append(context))
    handle = loop.call_later(0, fail)
    loop.call_later(0.005, loop.stop)
    loop.run_forever()
    [context] = seen
    assert context["handle"] is handle
    assert context["message"].startswith("Exception in callback fail()")


def test_debug_mode_adds_where_the_callback_was_scheduled(loop):
    seen = []
    loop.set_debug(True)
    loop.set_exception_handler(lambda _, context: seen.append(context))
    loop.call_soon(fail)
    run_once(loop)
    names = [frame.name for frame in seen[0]["source_traceback"]]
    assert names[-1] == "test_debug_mode_adds_where_the_callback_was_scheduled"


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("way", ["call_soon", "add_done_callback", "connection_made"])
def test_arguments_of_a_failing_callback_are_told_in_debug_mode_only(loop, debug, way):
    seen = []
    loop.set_debug(debug)
    loop.set_exception_handler(lambda _, context: seen.append(context["message"]))

    def fail_with(argument):
        raise ValueError

    async def connect():
        near, far = socket.socketpair()
        kind = type("Failing", (asyncio.Protocol,), {"connection_made": staticmethod(fail_with)})
        transport, _ = await loop.create_connection(kind, sock=near)
        transport.abort()
        far.close()
        await asyncio.sleep(0)

    if way == "connection_made":
        loop.run_until_complete(connect())
    elif way == "call_soon":
        loop.call_soon(fail_with, 5)
        run_once(loop)
    else:
        future = loop.create_future()
        future.add_done_callback(fail_with)
        future.set_result(5)
        run_once(loop)
    [message] = seen
    # Before 3.13 they are always told.
    told = debug or not SINCE_3_13
    assert "fail_with(" in message
    assert ("fail_with()" not in message) is told


def test_debug_mode_tells_where_the_task_that_reports_was_made(loop, reports):
    async def report():
        loop.call_exception_handler({"message": "it happened"})

    async def main():
        await asyncio.create_task(report())

    loop.set_debug(True)
    loop.run_until_complete(main())
    loop.set_debug(False)
    loop.run_until_complete(main())
    in_debug_mode, otherwise = reports.take_logged()
    assert in_debug_mode.startswith(
        "it happened\nhandle_traceback: Handle created at (most recent call last):\n"
    )
    assert "await asyncio.create_task(report())" in in_debug_mode
    assert otherwise == "it happened"


@pytest.mark.debug_mode
async def test_debug_mode_names_lines_of_the_loop_for_a_protocol_in_asyncio_only(loop_name, reports):
    def fail_with(argument):
        raise ValueError

    near, far = socket.socketpair()
    kind = type("Failing", (asyncio.Protocol,), {"data_received": staticmethod(fail_with)})
    transport, _ = await asyncio.get_running_loop().create_connection(kind, sock=near)
    far.send(b"data")
    await until(lambda: transport.is_closing())
    far.close()
    [message] = reports.take_logged()
    assert message.startswith("Fatal error: protocol.data_received() call failed.")
    assert ("handle_traceback" in message) is (loop_name == "asyncio")


def test_default_handler_logs_message_exception_and_the_rest(loop, reports):
    try:
        fail()
    except ValueError as error:
        loop.call_exception_handler({"message": "it happened", "exception": error, "zeta": 1, "alpha": "two"})
    [record] = reports.logged
    assert record.levelno == logging.ERROR
    assert record.name == "asyncio"
    assert record.getMessage() == "it happened\nalpha: 'two'\nzeta: 1"
    assert record.exc_info[0] is ValueError
    assert record.exc_info[2] is not None
    reports.take_logged()


def test_default_handler_has_words_for_a_context_without_message(loop, reports):
    loop.call_exception_handler({})
    assert reports.take_logged() == ["Unhandled exception in event loop"]


def test_default_handler_logs_source_tracebacks_readably(loop, reports):
    loop.set_debug(True)
    loop.call_soon(fail)
    run_once(loop)
    [message] = reports.take_logged()
    assert (
        "Object created at (most recent call last):" in message
        or "source_traceback: Object created at" in message
    )
    assert "test_default_handler_logs_source_tracebacks_readably" in message


def test_default_handler_can_be_called_from_ones_own(loop, reports):
    def handler(loop, context):
        loop.default_exception_handler({**context, "message": "mine: " + context["message"]})

    loop.set_exception_handler(handler)
    loop.call_exception_handler({"message": "original"})
    assert reports.take_logged() == ["mine: original"]


def test_default_handler_replaced_in_a_subclass_is_used(loop_factory):
    prototype = loop_factory()
    kind = type(prototype)
    prototype.close()
    seen = []

    class Loop(kind):
        def default_exception_handler(self, context):
            seen.append(context["message"])

    loop = Loop()
    loop.call_soon(fail)
    run_once(loop)
    loop.close()
    assert seen[0].startswith("Exception in callback fail()")


def test_call_exception_handler_replaced_on_the_instance_is_used(loop):
    seen = []
    loop.call_exception_handler = seen.append
    loop.call_soon(fail)
    run_once(loop)
    assert str(seen[0]["exception"]) == "of a callback"


def test_error_in_the_handler_is_logged_with_both(loop, reports):
    def handler(loop, context):
        raise KeyError("of the handler")

    loop.set_exception_handler(handler)
    loop.call_exception_handler({"message": "original"})
    [record] = reports.logged
    assert record.getMessage().startswith("Unhandled error in exception handler")
    assert "original" in record.getMessage()
    assert record.exc_info[0] is KeyError
    reports.take_logged()


def test_error_in_the_default_handler_is_logged(loop_factory, reports):
    prototype = loop_factory()
    kind = type(prototype)
    prototype.close()

    class Loop(kind):
        def default_exception_handler(self, context):
            raise KeyError("of the default handler")

    loop = Loop()
    loop.call_exception_handler({"message": "original"})
    assert reports.take_logged() == ["Exception in default exception handler"]

    def handler(loop, context):
        raise KeyError("of the handler")

    loop.set_exception_handler(handler)
    loop.call_exception_handler({"message": "original"})
    [message] = reports.take_logged()
    assert message.startswith("Exception in default exception handler while handling an unexpected error")
    loop.close()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_exit_exceptions_of_the_handler_come_out_of_the_run(loop, kind):
    def handler(loop, context):
        raise kind("from the handler")

    loop.set_exception_handler(handler)
    loop.call_soon(fail)
    with pytest.raises(kind, match=r"from the handler"):
        loop.run_forever()


def test_loop_goes_on_after_errors_in_callbacks_and_handlers(loop, reports):
    order = []

    def handler(loop, context):
        raise KeyError

    loop.set_exception_handler(handler)
    for number in range(10):
        loop.call_soon(fail)
        loop.call_soon(order.append, number)
    run_once(loop)
    assert order == list(range(10))
    assert len(reports.take_logged()) == 10


@pytest.mark.asyncio_lacks("the handler runs in the context of what failed since 3.12", "<3.12")
def test_handler_runs_in_the_context_of_the_callback(loop):
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []
    loop.set_exception_handler(lambda *_: seen.append(variable.get()))
    context = contextvars.copy_context()
    context.run(variable.set, "of the callback")
    loop.call_soon(fail, context=context)
    run_once(loop)
    assert seen == ["of the callback"]


@pytest.mark.skipif(not SINCE_3_12, reason="the handler runs in the context of what failed since 3.12")
async def test_handler_runs_in_the_context_of_the_task():
    variable = contextvars.ContextVar("variable", default="unset")
    loop = asyncio.get_running_loop()
    seen = []
    loop.set_exception_handler(lambda *_: seen.append(variable.get()))

    async def work():
        variable.set("of the task")
        raise ValueError("unseen")

    task = asyncio.create_task(work())
    await asyncio.wait([task])
    loop.call_exception_handler({"message": "about a task", "task": task})
    task.exception()
    assert seen == ["of the task"]


def test_handler_may_call_back_into_the_loop(loop):
    order = []

    def handler(loop, context):
        loop.call_soon(order.append, "scheduled by the handler")
        loop.call_soon(loop.stop)

    loop.set_exception_handler(handler)
    loop.call_soon(fail)
    loop.run_forever()
    assert order == ["scheduled by the handler"]


@pytest.mark.asyncio_lacks("the error of the repr comes out of the run")
def test_repr_that_fails_does_not_hide_the_error(loop, reports):
    class Awkward:
        def __call__(self):
            raise ValueError("the real error")

        def __repr__(self):
            raise KeyError("in repr")

    loop.call_soon(Awkward())
    run_once(loop)
    # Whatever the words are, something was reported and the loop lives.
    assert reports.take_logged() or reports.take_unraisable()
    assert loop.run_until_complete(asyncio.sleep(0, "alive")) == "alive"
