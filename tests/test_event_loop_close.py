"""Closing a loop, and what a closed or a running loop refuses (asyncio docs, "Running and stopping the loop")."""

import asyncio
import gc
import threading
import warnings
import weakref

import pytest

refused_run_clears_the_state = pytest.mark.asyncio_lacks(
    "early releases of 3.13 clean up as after a run when run_forever() refuses to start",
    "==3.13.*",
    run=False,
)


def test_closed_loop_refuses_to_run_and_to_schedule(loop):
    loop.close()
    assert loop.is_closed()
    for call in (
        loop.run_forever,
        lambda: loop.call_soon(print),
        lambda: loop.call_soon_threadsafe(print),
        lambda: loop.call_later(1, print),
        lambda: loop.call_at(loop.time() + 1, print),
        lambda: loop.run_in_executor(None, print),
    ):
        with pytest.raises(RuntimeError, match=r"^Event loop is closed$"):
            call()


def test_closed_loop_refuses_to_run_a_coroutine(loop):
    async def main():
        pytest.fail("ran on a closed loop")

    loop.close()
    coroutine = main()
    with pytest.raises(RuntimeError, match=r"^Event loop is closed$"):
        loop.run_until_complete(coroutine)
    coroutine.close()


@pytest.mark.asyncio_lacks("sockets and pipes are left open", run=False)
def test_closed_loop_opens_nothing(loop_factory, tmp_path):
    closed = loop_factory()
    closed.close()
    path = str(tmp_path / "server")

    async def refused(opening):
        with pytest.raises(RuntimeError, match=r"^Event loop is closed$"):
            await opening

    async def main():
        await refused(closed.create_connection(asyncio.Protocol, "127.0.0.1", 1))
        await refused(closed.create_server(asyncio.Protocol, "127.0.0.1", 0))
        await refused(closed.create_unix_server(asyncio.Protocol, path))
        await refused(closed.create_unix_connection(asyncio.Protocol, path))
        await refused(closed.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0)))
        assert list(tmp_path.iterdir()) == []

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_closed_loop_refuses_a_task(loop):
    async def main():
        pytest.fail("ran on a closed loop")

    loop.close()
    coroutine = main()
    with pytest.raises(RuntimeError, match=r"^Event loop is closed$"):
        loop.create_task(coroutine)
    coroutine.close()


def test_close_twice_is_allowed(loop):
    loop.close()
    loop.close()
    assert loop.is_closed()


def test_close_drops_what_is_scheduled(loop):
    class Callback:
        def __call__(self):
            pytest.fail("ran after close")

    soon, later = Callback(), Callback()
    alive = [weakref.ref(soon), weakref.ref(later)]
    loop.call_soon(soon)
    loop.call_later(60, later)
    del soon, later
    loop.close()
    gc.collect()
    assert [ref() for ref in alive] == [None, None]


def test_running_loop_refuses_to_close(loop):
    errors = []

    def close():
        try:
            loop.close()
        except RuntimeError as error:
            errors.append(str(error))

    loop.call_soon(close)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert errors == ["Cannot close a running event loop"]
    assert not loop.is_closed()


@refused_run_clears_the_state
async def test_running_loop_refuses_to_run_again():
    loop = asyncio.get_running_loop()
    with pytest.raises(RuntimeError, match=r"^This event loop is already running$"):
        loop.run_forever()
    future = loop.create_future()
    with pytest.raises(RuntimeError, match=r"^This event loop is already running$"):
        loop.run_until_complete(future)
    assert loop.is_running()


@refused_run_clears_the_state
async def test_second_loop_refuses_to_run_inside_a_running_one(loop_factory):
    other = loop_factory()
    with pytest.raises(RuntimeError, match=r"^Cannot run the event loop while another loop is running$"):
        other.run_forever()
    assert asyncio.get_running_loop().is_running()
    other.close()


@refused_run_clears_the_state
def test_loop_running_in_another_thread_refuses_to_run_here(loop):
    started = threading.Event()
    loop.call_soon(started.set)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    started.wait()
    assert loop.is_running()
    with pytest.raises(RuntimeError, match=r"^This event loop is already running$"):
        loop.run_forever()
    with pytest.raises(RuntimeError, match=r"^Cannot close a running event loop$"):
        loop.close()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


async def use_a_task():
    await asyncio.create_task(asyncio.sleep(0))


async def use_a_future():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_later(0.001, future.set_result, None)
    await future


async def use_a_thread():
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, loop.call_soon_threadsafe, int)
    await loop.shutdown_default_executor()


async def use_many():
    await asyncio.gather(*(asyncio.wait_for(asyncio.sleep(0), 1) for _ in range(3)))


async def use_a_generator():
    async def numbers():
        yield 1
        yield 2

    async for _ in numbers():
        pass
    await asyncio.get_running_loop().shutdown_asyncgens()


@pytest.mark.parametrize("use", [use_a_task, use_a_future, use_a_thread, use_many, use_a_generator])
def test_closed_loop_is_gone_without_the_collector(loop_factory, use):
    gc.collect()
    gc.disable()
    try:
        loop = loop_factory()
        loop.run_until_complete(use())
        loop.close()
        gone = weakref.ref(loop)
        del loop
        assert gone() is None
    finally:
        gc.enable()


def test_future_that_is_made_on_a_closed_loop_keeps_it_no_longer_than_it_lives(loop_factory):
    gc.collect()
    gc.disable()
    try:
        loop = loop_factory()
        loop.close()
        future = loop.create_future()
        gone = weakref.ref(loop)
        del loop, future
        assert gone() is None
    finally:
        gc.enable()


def test_loop_that_is_never_closed_warns(loop_factory, recwarn):
    loop = loop_factory()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del loop
        gc.collect()
    assert [w.category for w in caught] == [ResourceWarning]
    assert "unclosed event loop" in str(caught[0].message)


@pytest.mark.usefixtures("sabio")
def test_a_forgotten_loop_that_never_ran_warns_without_the_collector():
    import sabio

    gc.disable()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loop = sabio.new_event_loop()
            del loop
        assert ["unclosed event loop" in str(warning.message) for warning in caught] == [True]
    finally:
        gc.enable()


def test_closed_loop_does_not_warn(loop_factory):
    loop = loop_factory()
    loop.close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del loop
        gc.collect()
    assert caught == []
