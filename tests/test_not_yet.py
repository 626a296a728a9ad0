"""What this version of sabio leaves out raises NotImplementedError and names the method that was called."""

import asyncio

import pytest

from tests.support.waiting import turns

METHODS = {
    "subprocess_exec": lambda loop: loop.subprocess_exec(asyncio.SubprocessProtocol, "true"),
    "subprocess_shell": lambda loop: loop.subprocess_shell(asyncio.SubprocessProtocol, "true"),
}


@pytest.mark.parametrize("name", METHODS)
async def test_method_that_is_left_out_says_so(sabio, name):
    coroutine = METHODS[name](asyncio.get_running_loop())
    assert asyncio.iscoroutine(coroutine)
    with pytest.raises(NotImplementedError, match=rf"\b{name}\b"):
        await coroutine


@pytest.mark.parametrize("name", METHODS)
async def test_method_that_is_left_out_warns_if_it_is_never_awaited(sabio, name):
    with pytest.warns(RuntimeWarning, match=rf"{name}' was never awaited"):
        METHODS[name](asyncio.get_running_loop())


async def test_loop_goes_on_after_what_is_left_out(sabio):
    for make in METHODS.values():
        with pytest.raises(NotImplementedError):
            await make(asyncio.get_running_loop())
    await turns(2)
    assert await asyncio.sleep(0.001, "alive") == "alive"


async def test_functions_of_asyncio_over_it_say_so_too(sabio):
    with pytest.raises(NotImplementedError, match=r"subprocess_exec"):
        await asyncio.create_subprocess_exec("true")
    with pytest.raises(NotImplementedError, match=r"subprocess_shell"):
        await asyncio.create_subprocess_shell("true")


async def test_every_method_of_the_abstract_loop_is_there(sabio):
    loop = asyncio.get_running_loop()
    for name in dir(asyncio.AbstractEventLoop):
        if name.startswith("_"):
            continue
        own, abstract = getattr(type(loop), name), getattr(asyncio.AbstractEventLoop, name)
        assert own is not abstract, f"{name} is the abstract one"
