"""sabio.run and sabio.Runner beside asyncio.Runner (asyncio docs, "Runners")."""

import asyncio
import contextvars
import importlib
import os
import signal
import threading

import pytest

from tests.support.process import output_of
from tests.support.versions import SINCE_3_14
from tests.support.waiting import turns

variable = contextvars.ContextVar("variable", default="unset")


@pytest.fixture
def runner_class(loop_name):
    return importlib.import_module(loop_name).Runner


@pytest.fixture
def make_runner(runner_class, loop_factory):
    """Runners of the kind under test, on loops of the kind under test."""

    def make(**kwargs):
        return runner_class(loop_factory=loop_factory, **kwargs)

    return make


async def answer():
    await asyncio.sleep(0)
    return 42


# ---------------------------------------------------------------- running


def test_runner_runs_coroutines_on_one_loop(make_runner):
    async def running():
        return asyncio.get_running_loop()

    with make_runner() as runner:
        assert runner.run(answer()) == 42
        loop = runner.get_loop()
        assert runner.run(running()) is loop
        assert not loop.is_running()
    assert loop.is_closed()


def test_runner_makes_its_loop_when_it_is_first_needed(runner_class, loop_factory):
    made = []

    def factory():
        made.append(loop_factory())
        return made[-1]

    runner = runner_class(loop_factory=factory)
    assert made == []
    runner.run(answer())
    runner.run(answer())
    assert len(made) == 1
    runner.close()
    assert made[0].is_closed()


def test_runner_keeps_one_context(make_runner):
    async def count():
        variable.set(0 if variable.get() == "unset" else variable.get() + 1)
        return variable.get()

    with make_runner() as runner:
        assert [runner.run(count()) for _ in range(3)] == [0, 1, 2]
        context = contextvars.copy_context()
        context.run(variable.set, 100)
        assert runner.run(count(), context=context) == 101
        assert runner.run(count()) == 3
    assert variable.get() == "unset"


def test_runner_passes_exceptions_on(make_runner):
    async def fail():
        raise ValueError("from main")

    with make_runner() as runner:
        with pytest.raises(ValueError, match=r"from main"):
            runner.run(fail())
        assert runner.run(answer()) == 42


def test_runner_sets_debug_mode(make_runner):
    async def get_debug():
        return asyncio.get_running_loop().get_debug()

    for debug in (True, False):
        with make_runner(debug=debug) as runner:
            assert runner.run(get_debug()) is debug


def test_runner_cancels_what_is_left_and_shuts_everything_down(make_runner):
    order = []

    async def generate():
        try:
            yield
        finally:
            order.append("generator closed")

    async def background():
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            order.append("task ended")

    generator = generate()

    async def main():
        await anext(generator)
        order.append(asyncio.create_task(background()))
        await turns(1)
        await asyncio.to_thread(int)

    with make_runner() as runner:
        runner.run(main())
    assert order[1:] == ["task ended", "generator closed"]
    assert order[0].cancelled()


def test_error_of_a_task_while_it_is_cancelled_is_reported(make_runner, reports):
    async def stubborn():
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            raise ValueError("while ending")

    async def main():
        task = asyncio.create_task(stubborn(), name="stubborn")
        await turns(1)
        return task

    with make_runner() as runner:
        task = runner.run(main())
    [record] = reports.logged
    assert record.getMessage().startswith("unhandled exception during ")
    assert "run() shutdown" in record.getMessage()
    assert record.exc_info[0] is ValueError
    assert isinstance(task.exception(), ValueError)
    reports.take_logged()


# ---------------------------------------------------------------- refusals


def test_runner_refuses_what_it_cannot_run(make_runner):
    # Since 3.14 awaitables of every kind will do; before, only coroutines.
    expected = TypeError if SINCE_3_14 else ValueError
    with make_runner() as runner:
        for wrong in (None, 1, answer, []):
            with pytest.raises(expected):
                runner.run(wrong)


def test_awaitables_run_since_3_14(make_runner):
    class Awaitable:
        def __await__(self):
            return answer().__await__()

    with make_runner() as runner:
        if SINCE_3_14:
            assert runner.run(Awaitable()) == 42
        else:
            with pytest.raises(ValueError, match=r"a coroutine was expected"):
                runner.run(Awaitable())


def test_runner_refuses_to_run_inside_a_running_loop(make_runner):
    async def main():
        coroutine = answer()
        with pytest.raises(RuntimeError, match=r"Runner\.run\(\) cannot be called from a running event loop"):
            runner.run(coroutine)
        coroutine.close()

    with make_runner() as runner:
        runner.run(main())


def test_closed_runner_refuses_everything(make_runner):
    runner = make_runner()
    runner.run(answer())
    runner.close()
    runner.close()
    coroutine = answer()
    with pytest.raises(RuntimeError, match=r"Runner is closed"):
        runner.run(coroutine)
    with pytest.raises(RuntimeError, match=r"Runner is closed"):
        runner.get_loop()
    coroutine.close()


def test_runner_that_was_never_used_closes(make_runner):
    make_runner().close()
    with make_runner():
        pass


def test_runner_works_in_another_thread(make_runner):
    results = []

    def work():
        with make_runner() as runner:
            results.append(runner.run(answer()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results == [42]


# ---------------------------------------------------------------- Ctrl-C


def interrupt_soon(seconds=0.03):
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return timer


def test_ctrl_c_cancels_the_main_task_and_becomes_keyboard_interrupt(make_runner):
    order = []

    async def main():
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            order.append("cancelled")
            await asyncio.sleep(0.001)
            order.append("cleaned up")
            raise

    timer = interrupt_soon()
    with make_runner() as runner, pytest.raises(KeyboardInterrupt):
        runner.run(main())
    timer.join()
    assert order == ["cancelled", "cleaned up"]


def test_task_may_survive_ctrl_c(make_runner):
    async def main():
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            return "survived"

    timer = interrupt_soon()
    with make_runner() as runner:
        assert runner.run(main()) == "survived"
    timer.join()


def test_second_ctrl_c_ends_a_task_that_does_not_stop(make_runner):
    async def main():
        while True:
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                count.append(True)
                if len(count) > 1:
                    return

    count = []
    timers = [interrupt_soon(0.03), interrupt_soon(0.08)]
    with make_runner() as runner, pytest.raises(KeyboardInterrupt):
        runner.run(main())
    for timer in timers:
        timer.join()


def test_handler_of_sigint_is_restored(make_runner):
    inside = []

    async def main():
        inside.append(signal.getsignal(signal.SIGINT))

    with make_runner() as runner:
        runner.run(main())
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert inside[0] is not signal.default_int_handler


def test_handler_of_ones_own_is_left_alone(make_runner):
    calls = []
    before = signal.signal(signal.SIGINT, lambda *_: calls.append(True))
    try:

        async def main():
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(0.001)

        with make_runner() as runner:
            runner.run(main())
    finally:
        signal.signal(signal.SIGINT, before)
    assert calls == [True]


# ---------------------------------------------------------------- sabio.run


def test_run_of_sabio_runs_on_sabio(sabio):
    async def main():
        return type(asyncio.get_running_loop())

    assert sabio.run(main()) is sabio.Loop


def test_run_of_sabio_takes_debug_and_a_loop_factory(sabio):
    async def main():
        loop = asyncio.get_running_loop()
        return loop.get_debug(), type(loop)

    assert sabio.run(main(), debug=True) == (True, sabio.Loop)
    assert sabio.run(main(), loop_factory=asyncio.SelectorEventLoop) == (False, asyncio.SelectorEventLoop)


async def test_run_of_sabio_refuses_to_nest(sabio):
    coroutine = answer()
    with pytest.raises(RuntimeError, match=r"cannot be called from a running event loop"):
        sabio.run(coroutine)
    coroutine.close()


def test_run_of_asyncio_takes_the_factory_of_sabio(sabio):
    async def main():
        return type(asyncio.get_running_loop())

    with asyncio.Runner(loop_factory=sabio.new_event_loop) as runner:
        assert runner.run(main()) is sabio.Loop
    with asyncio.Runner(loop_factory=sabio.Loop) as runner:
        assert runner.run(main()) is sabio.Loop


def test_current_loop_of_the_thread_is_that_of_the_runner_until_it_closes(sabio):
    # As with asyncio.Runner without a factory: old code that asks for the current loop finds it.
    with sabio.Runner() as runner:
        loop = runner.get_loop()
        assert asyncio.get_event_loop() is loop
    with pytest.raises(RuntimeError, match=r"There is no current event loop"):
        asyncio.get_event_loop()


def test_unittest_runs_its_async_cases_on_sabio(sabio):
    code = """
        import unittest

        class Case(unittest.IsolatedAsyncioTestCase):
            if hasattr(unittest.IsolatedAsyncioTestCase, "loop_factory"):
                loop_factory = sabio.Loop

            async def asyncSetUp(self):
                self.loop = asyncio.get_running_loop()

            async def test_something(self):
                await asyncio.sleep(0.001)
                self.assertIs(asyncio.get_running_loop(), self.loop)

        sabio.install()
        result = unittest.main(argv=["program"], exit=False).result
        print(result.testsRun, result.wasSuccessful())
    """
    assert output_of("sabio", code) == ["1 True"]
