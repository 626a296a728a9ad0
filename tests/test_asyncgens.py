"""Async generators: hooks, finalizing, `shutdown_asyncgens` (PEP 525)."""

import asyncio
import contextlib
import gc
import sys
import threading

import pytest

from tests.support.waiting import turns, until


async def count(order, label="gen"):
    try:
        for number in range(100):
            yield number
    finally:
        await asyncio.sleep(0)
        order.append(f"{label} closed")


async def test_generator_left_alone_is_closed_by_the_loop():
    order = []
    generator = count(order)
    assert await anext(generator) == 0
    del generator
    gc.collect()
    assert order == []
    await until(lambda: order)
    assert order == ["gen closed"]


async def test_break_out_of_a_loop_closes_the_generator_later():
    order = []
    async for number in count(order):
        if number == 3:
            break
    gc.collect()
    await until(lambda: order)
    assert order == ["gen closed"]


def test_shutdown_asyncgens_closes_all_that_are_left(loop):
    order = []
    generators = [count(order, f"gen{number}") for number in range(3)]

    async def main():
        for generator in generators:
            await anext(generator)

    loop.run_until_complete(main())
    assert order == []
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert sorted(order) == ["gen0 closed", "gen1 closed", "gen2 closed"]


def test_shutdown_asyncgens_without_any_is_fine(loop):
    assert loop.run_until_complete(loop.shutdown_asyncgens()) is None
    assert loop.run_until_complete(loop.shutdown_asyncgens()) is None


def test_error_while_closing_a_generator_is_reported(loop):
    contexts = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))

    async def generate():
        try:
            yield
        finally:
            raise ValueError("while closing")

    generator = generate()

    async def main():
        await anext(generator)

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_asyncgens())
    [context] = contexts
    assert context["message"].startswith("an error occurred during closing of asynchronous generator")
    assert str(context["exception"]) == "while closing"
    assert context["asyncgen"] is generator


def test_iterating_after_shutdown_warns(loop):
    async def generate():
        yield 1

    async def main():
        with pytest.warns(ResourceWarning, match=r"was scheduled after loop\.shutdown_asyncgens\(\) call"):
            async for _ in generate():
                pass

    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(main())


def test_hooks_are_set_while_running_and_restored_after(loop):
    before = sys.get_asyncgen_hooks()
    inside = []
    loop.call_soon(lambda: inside.append(sys.get_asyncgen_hooks()))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert inside[0].firstiter is not None
    assert inside[0].finalizer is not None
    assert sys.get_asyncgen_hooks() == before


def test_hooks_of_others_are_restored(loop):
    def firstiter(generator):
        pass

    def finalizer(generator):
        pass

    saved = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter, finalizer)
    try:
        loop.run_until_complete(asyncio.sleep(0))
        assert sys.get_asyncgen_hooks() == (firstiter, finalizer)
    finally:
        sys.set_asyncgen_hooks(*saved)


def test_hooks_are_restored_after_an_exit_exception(loop):
    before = sys.get_asyncgen_hooks()

    def leave():
        raise SystemExit

    loop.call_soon(leave)
    with pytest.raises(SystemExit):
        loop.run_forever()
    assert sys.get_asyncgen_hooks() == before


def test_generator_that_dies_after_the_loop_is_closed_does_no_harm(loop_factory):
    loop = loop_factory()
    order = []
    generator = count(order)

    async def start(generator):
        await anext(generator)

    loop.run_until_complete(start(generator))
    loop.close()
    del generator
    gc.collect()
    assert order == []


def test_runner_closes_generators_at_its_end(loop_factory):
    order = []
    generator = count(order)

    async def main():
        await anext(generator)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
        assert order == []
    assert order == ["gen closed"]


async def test_generator_that_dies_in_another_thread_is_closed_on_the_loop():
    order, threads = [], []

    async def generate():
        try:
            yield
        finally:
            threads.append(threading.get_ident())
            order.append("closed")

    generator = generate()
    await anext(generator)
    holder = [generator]
    del generator
    thread = threading.Thread(target=lambda: (holder.clear(), gc.collect()))
    thread.start()
    thread.join()
    await asyncio.sleep(0.01)
    assert order == ["closed"]
    assert threads == [threading.get_ident()]


async def test_aclosing_and_athrow_work():
    order = []
    async with contextlib.aclosing(count(order)) as generator:
        assert await anext(generator) == 0
        with pytest.raises(ValueError, match=r"thrown"):
            await generator.athrow(ValueError("thrown"))
    assert order == ["gen closed"]
    await turns(1)


async def test_many_generators_are_all_closed():
    order = []
    generators = [count(order) for _ in range(200)]
    for generator in generators:
        await anext(generator)
    generators.clear()
    generator = None
    gc.collect()
    await asyncio.sleep(0.01)
    assert len(order) == 200
