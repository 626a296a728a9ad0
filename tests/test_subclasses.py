"""Classes of users on top of the native ones may have other parameters, as on top of asyncio's."""

import abc
import asyncio
from types import MethodDescriptorType

import pytest

ARGUMENTS = {
    "Lock": (),
    "Event": (),
    "Condition": (),
    "Semaphore": (2,),
    "BoundedSemaphore": (2,),
    "Barrier": (2,),
    "Queue": (3,),
    "LifoQueue": (3,),
    "PriorityQueue": (3,),
    "Timeout": (None,),
    "TaskGroup": (),
    "StreamReader": (),
    "Future": (),
}


@pytest.fixture(params=["asyncio", "sabio"])
def module(request, sabio):
    return asyncio if request.param == "asyncio" else sabio


@pytest.mark.parametrize("name", ARGUMENTS)
async def test_initialiser_may_have_other_parameters(module, name):
    base = getattr(module, name)

    class Own(base):
        def __init__(self, first, second, *, third):
            super().__init__(*ARGUMENTS[name])
            self.all = (first, second, third)

    own = Own(1, 2, third=3)
    assert own.all == (1, 2, 3)
    assert isinstance(own, base)
    assert repr(own).startswith("<")


@pytest.mark.parametrize("name", ARGUMENTS)
async def test_constructor_may_have_other_parameters(module, name):
    class Own(getattr(module, name)):
        def __new__(cls, *args, **kwargs):
            return super().__new__(cls)

        def __init__(self, first):
            super().__init__(*ARGUMENTS[name])
            self.first = first

    assert Own("only").first == "only"


@pytest.mark.parametrize("name", ARGUMENTS)
async def test_nothing_need_be_overridden(module, name):
    class Own(getattr(module, name)):
        extra = 1

    assert Own(*ARGUMENTS[name]).extra == 1


def test_a_loop_may_have_other_parameters(loop):
    class Own(type(loop)):
        def __init__(self, first, *, second):
            super().__init__()
            self.all = (first, second)

    own = Own(1, second=2)
    try:
        assert own.all == (1, 2)
        assert own.run_until_complete(asyncio.sleep(0, "done")) == "done"
    finally:
        own.close()


async def test_timeout_with_other_parameters_works(module):
    class Deadline(module.Timeout):
        def __init__(self, deadline, loop):
            super().__init__(deadline)
            self.loop = loop

    loop = asyncio.get_running_loop()
    with pytest.raises(TimeoutError):
        async with Deadline(loop.time() + 0.001, loop):
            await asyncio.sleep(10)


@pytest.mark.parametrize("name", ["Loop", "StreamWriter", *sorted(ARGUMENTS.keys() - {"Future"})])
def test_methods_belong_to_the_class_itself(sabio, name):
    # The interpreter specialises calls of C methods only for instances of the very class that has the descriptor.
    public = getattr(sabio, name)
    methods = [getattr(public, method) for method in dir(public) if not method.startswith("__")]
    methods = [method for method in methods if isinstance(method, MethodDescriptorType)]
    assert methods
    assert [method for method in methods if method.__objclass__ is not public] == []


async def test_a_condition_notifies_all_by_its_own_notify(module):
    class Own(module.Condition):
        def __init__(self):
            super().__init__()
            self.counts = []

        def notify(self, n=1):
            self.counts.append(n)
            super().notify(n)

    own = Own()

    async def wait():
        async with own:
            return await own.wait()

    waiting = [asyncio.create_task(wait()) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    async with own:
        own.notify_all()
    assert await asyncio.gather(*waiting) == [True, True]
    assert own.counts == [2]


async def test_a_condition_is_held_by_its_own_methods(sabio):
    class Own(sabio.Condition):
        def __init__(self):
            super().__init__()
            self.calls = []

        async def acquire(self):
            self.calls.append("acquire")
            return await super().acquire()

        def release(self):
            self.calls.append("release")
            super().release()

    own = Own()
    async with own:
        assert own.locked()
    assert own.calls == ["acquire", "release"]
    assert not own.locked()


@pytest.mark.parametrize("name", [name for name in ARGUMENTS if name != "Future"])
async def test_abstract_methods_have_to_be_implemented(module, name):
    class Abstract(getattr(module, name), abc.ABC):
        @abc.abstractmethod
        def missing(self): ...

    with pytest.raises(TypeError, match=r"[Cc]an't instantiate abstract class Abstract"):
        Abstract(*ARGUMENTS[name])

    class Whole(Abstract):
        def missing(self):
            return "there"

    assert Whole(*ARGUMENTS[name]).missing() == "there"
