"""run_in_executor, the default executor, its shutdown (asyncio docs, "Executing code in thread or process pools")."""

import asyncio
import concurrent.futures
import contextvars
import threading
import time

import pytest

from tests.support.process import output_of


async def test_function_runs_in_another_thread():
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(None, threading.get_ident) != threading.get_ident()


async def test_arguments_and_result_go_through():
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(None, lambda *args: args, 1, "two", None) == (1, "two", None)


async def test_run_in_executor_gives_a_future_at_once():
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(None, int)
    assert asyncio.isfuture(future)
    assert await future == 0


async def test_exception_comes_out_of_the_await():
    def fail():
        raise ValueError("in a thread")

    with pytest.raises(ValueError, match=r"in a thread"):
        await asyncio.get_running_loop().run_in_executor(None, fail)


async def test_exit_exceptions_come_out_of_the_await():
    def leave():
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        await asyncio.get_running_loop().run_in_executor(None, leave)


async def test_loop_goes_on_while_a_thread_works():
    loop = asyncio.get_running_loop()
    release = threading.Event()
    future = loop.run_in_executor(None, release.wait, 10)
    for _ in range(5):
        await asyncio.sleep(0.001)
    assert not future.done()
    release.set()
    assert await future is True


async def test_executor_of_ones_own():
    loop = asyncio.get_running_loop()
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
        name = await loop.run_in_executor(executor, lambda: threading.current_thread().name)
    assert name.startswith("mine")


async def test_many_calls_all_come_back():
    loop = asyncio.get_running_loop()
    results = await asyncio.gather(*(loop.run_in_executor(None, pow, number, 2) for number in range(300)))
    assert results == [number**2 for number in range(300)]


async def test_cancelled_call_that_waits_in_the_queue_is_never_made():
    loop = asyncio.get_running_loop()
    ran, release = [], threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        first = loop.run_in_executor(executor, release.wait, 10)
        second = loop.run_in_executor(executor, ran.append, True)
        await asyncio.sleep(0.001)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        await asyncio.sleep(0.001)
        release.set()
        await first
    assert ran == []


async def test_result_of_a_cancelled_call_is_dropped():
    loop = asyncio.get_running_loop()
    release = threading.Event()
    future = loop.run_in_executor(None, release.wait, 10)
    await asyncio.sleep(0.001)
    future.cancel()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await future


async def test_to_thread_carries_the_context():
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("carried")
    assert await asyncio.to_thread(variable.get) == "carried"


def test_default_executor_can_be_set(loop):
    executor = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="default")
    loop.set_default_executor(executor)
    assert loop._default_executor is executor
    name = loop.run_until_complete(loop.run_in_executor(None, lambda: threading.current_thread().name))
    assert name.startswith("default")
    loop.run_until_complete(loop.shutdown_default_executor())


def test_default_executor_is_made_at_first_use(loop):
    assert loop._default_executor is None
    loop.run_until_complete(loop.run_in_executor(None, int))
    assert isinstance(loop._default_executor, concurrent.futures.ThreadPoolExecutor)
    loop.run_until_complete(loop.shutdown_default_executor())


@pytest.mark.parametrize("wrong", [None, "text", 1, concurrent.futures.Executor()])
def test_default_executor_must_be_a_thread_pool(loop, wrong):
    with pytest.raises(TypeError, match=r"executor must be ThreadPoolExecutor instance"):
        loop.set_default_executor(wrong)


def test_shutdown_waits_for_the_threads(loop):
    order = []
    future = loop.run_in_executor(None, lambda: (time.sleep(0.05), order.append("thread")))
    loop.run_until_complete(loop.shutdown_default_executor())
    assert order == ["thread"]
    assert loop.run_until_complete(future)[1] is None


def test_shutdown_lets_the_loop_run_meanwhile(loop):
    order = []
    release = threading.Event()
    future = loop.run_in_executor(None, release.wait, 10)

    def tick():
        order.append("tick")
        release.set()

    loop.call_later(0.01, tick)
    loop.run_until_complete(loop.shutdown_default_executor())
    assert order == ["tick"]
    assert loop.run_until_complete(future)


def test_nothing_runs_in_the_default_executor_after_its_shutdown(loop):
    loop.run_until_complete(loop.shutdown_default_executor())
    with pytest.raises(RuntimeError, match=r"^Executor shutdown has been called$"):
        loop.run_in_executor(None, int)


def test_other_executors_work_after_the_shutdown_of_the_default_one(loop):
    loop.run_until_complete(loop.shutdown_default_executor())
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        assert loop.run_until_complete(loop.run_in_executor(executor, int)) == 0


def test_shutdown_twice_is_allowed(loop):
    loop.run_until_complete(loop.run_in_executor(None, int))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.run_until_complete(loop.shutdown_default_executor())


@pytest.mark.asyncio_lacks("the timeout is new in 3.12 and waits for the threads there", "<3.13", run=False)
def test_shutdown_gives_up_after_its_timeout(loop):
    release = threading.Event()
    future = loop.run_in_executor(None, release.wait, 10)
    before = loop.time()
    with pytest.warns(
        RuntimeWarning, match=r"The executor did not finishing joining its threads within 0\.05 seconds\."
    ):
        loop.run_until_complete(loop.shutdown_default_executor(0.05))
    assert loop.time() - before < 5
    release.set()
    assert loop.run_until_complete(future)


@pytest.mark.asyncio_lacks("the timeout is new in 3.12", "<3.12", run=False)
def test_shutdown_with_a_timeout_that_suffices_is_quiet(loop):
    loop.run_until_complete(loop.run_in_executor(None, int))
    loop.run_until_complete(loop.shutdown_default_executor(timeout=10))


def test_close_does_not_wait_for_the_threads(loop):
    release = threading.Event()
    loop.run_in_executor(None, release.wait, 10)
    before = time.monotonic()
    loop.close()
    assert time.monotonic() - before < 5
    release.set()


def test_process_pool_works_as_an_executor(loop_name):
    # In a process of its own: multiprocessing keeps its resource tracker to the end.
    code = """
        import concurrent.futures, multiprocessing

        async def main():
            loop = asyncio.get_running_loop()
            spawn = multiprocessing.get_context("spawn")
            with concurrent.futures.ProcessPoolExecutor(1, spawn) as executor:
                print(await loop.run_in_executor(executor, pow, 2, 10))

        loop = new_event_loop()
        loop.run_until_complete(main())
        loop.close()
    """
    assert output_of(loop_name, code) == ["1024"]


async def test_callback_of_the_future_runs_on_the_thread_of_the_loop():
    loop = asyncio.get_running_loop()
    seen = loop.create_future()
    future = loop.run_in_executor(None, int)
    future.add_done_callback(lambda _: seen.set_result(threading.get_ident()))
    assert await seen == threading.get_ident()


@pytest.mark.debug_mode
async def test_debug_mode_refuses_what_is_not_callable():
    async def coroutine_function():
        pass

    loop = asyncio.get_running_loop()
    with pytest.raises(TypeError, match=r"a callable object was expected by run_in_executor\(\), got 'text'"):
        loop.run_in_executor(None, "text")
    with pytest.raises(TypeError, match=r"coroutines cannot be used with run_in_executor\(\)"):
        loop.run_in_executor(None, coroutine_function)


def test_result_after_the_loop_is_closed_is_dropped(loop_factory):
    loop = loop_factory()
    release = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        loop.run_in_executor(executor, release.wait, 10)
        loop.stop()
        loop.run_forever()
        loop.close()
        release.set()


@pytest.mark.asyncio_lacks("waits for ever", "<3.12.2", run=False)
async def test_stop_iteration_of_a_thread_becomes_a_runtime_error():
    with pytest.raises(RuntimeError, match="StopIteration interacts badly") as caught:
        await asyncio.to_thread(next, iter([]))
    assert isinstance(caught.value.__cause__, StopIteration)
