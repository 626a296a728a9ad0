"""In which context each callback runs (PEP 567; asyncio docs, `contextvars`)."""

import asyncio
import contextvars

import pytest

from tests.support.net import tcp_pair
from tests.support.waiting import turns, until

variable = contextvars.ContextVar("variable", default="unset")


class Witness(asyncio.Protocol):
    """Writes down the value of the variable in each of its callbacks, and changes it."""

    def __init__(self):
        self.seen = {}
        self.lost = False

    def note(self, name):
        self.seen.setdefault(name, variable.get())

    def connection_made(self, transport):
        self.note("connection_made")
        self.transport = transport

    def data_received(self, data):
        self.note("data_received")

    def eof_received(self):
        self.note("eof_received")

    def pause_writing(self):
        self.note("pause_writing")

    def resume_writing(self):
        self.note("resume_writing")

    def connection_lost(self, exc):
        self.note("connection_lost")
        self.lost = True


async def test_every_step_of_a_task_runs_in_its_context():
    async def work(name):
        variable.set(name)
        for _ in range(5):
            await asyncio.sleep(0)
            assert variable.get() == name
            await asyncio.sleep(0.0001)
            assert variable.get() == name
        return variable.get()

    names = [f"task {number}" for number in range(50)]
    assert await asyncio.gather(*(work(name) for name in names)) == names
    assert variable.get() == "unset"


async def test_callbacks_scheduled_by_a_task_inherit_its_context():
    loop = asyncio.get_running_loop()
    seen = []

    async def work(name):
        variable.set(name)
        loop.call_soon(lambda: seen.append(variable.get()))
        loop.call_later(0.001, lambda: seen.append(variable.get()))
        variable.set("changed")

    await asyncio.create_task(work("inherited"))
    await asyncio.sleep(0.005)
    assert seen == ["inherited", "inherited"]


async def test_change_in_a_callback_stays_in_its_own_copy():
    loop = asyncio.get_running_loop()
    seen = []
    variable.set("mine")
    loop.call_soon(variable.set, "of the callback")
    loop.call_soon(lambda: seen.append(variable.get()))
    await turns(2)
    assert variable.get() == "mine"
    assert seen == ["mine"]


async def test_gather_and_groups_copy_the_context_for_each_task():
    async def work(number):
        before = variable.get()
        variable.set(number)
        await asyncio.sleep(0)
        return before, variable.get()

    variable.set("parent")
    assert await asyncio.gather(work(1), work(2)) == [("parent", 1), ("parent", 2)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work(number)) for number in (3, 4)]
    assert [task.result() for task in tasks] == [("parent", 3), ("parent", 4)]
    assert variable.get() == "parent"


async def test_awaiting_a_coroutine_shares_the_context():
    async def inner():
        variable.set("set inside")
        await asyncio.sleep(0)

    await inner()
    assert variable.get() == "set inside"


async def test_callbacks_may_share_a_context():
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    order = []
    loop.call_soon(variable.set, "shared", context=context)
    loop.call_soon(lambda: order.append(variable.get()), context=context)
    await turns(2)
    assert order == ["shared"]
    assert variable.get() == "unset"


def test_callback_whose_context_is_entered_is_reported(loop, reports):
    context = contextvars.copy_context()

    def enter():
        loop.stop()
        loop.run_forever()

    loop.call_soon(print, context=context)
    context.run(enter)
    [error] = reports.take_exceptions()
    assert isinstance(error, RuntimeError)
    assert "is already entered" in str(error)


# ---------------------------------------------------------------- protocols


async def exercise(transport, peer):
    """Make a transport call all the callbacks of its protocol."""
    protocol = transport.get_protocol()
    peer.send(b"data")
    await until(lambda: "data_received" in protocol.seen)
    transport.set_write_buffer_limits(0)
    transport.write(b"x" * (1 << 22))
    await until(lambda: "pause_writing" in protocol.seen)
    while "resume_writing" not in protocol.seen:
        try:
            peer.recv(1 << 20)
        except BlockingIOError:
            await asyncio.sleep(0)
    peer.close()
    await until(lambda: protocol.lost)


@pytest.mark.asyncio_lacks(
    "before 3.15 a callback runs in the context of whoever registered the descriptor last", "<3.15"
)
async def test_callbacks_of_a_protocol_run_in_the_context_of_the_connection():
    loop = asyncio.get_running_loop()
    left, right = tcp_pair()
    variable.set("of the connection")
    transport, protocol = await loop.connect_accepted_socket(Witness, left)

    async def stranger():
        variable.set("of a stranger")
        # The stranger registers the writer and the reader anew, which must not bring its context in.
        transport.pause_reading()
        transport.resume_reading()
        await exercise(transport, right)

    await asyncio.create_task(stranger())
    assert set(protocol.seen) >= {"connection_made", "data_received", "resume_writing", "connection_lost"}
    # pause_writing() is called out of write(), so in the context of whoever writes.
    del protocol.seen["pause_writing"]
    assert set(protocol.seen.values()) == {"of the connection"}


async def test_protocol_of_a_client_starts_in_the_context_of_its_task():
    loop = asyncio.get_running_loop()
    variable.set("of the client")
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    transport, protocol = await loop.create_connection(Witness, *server.sockets[0].getsockname())
    assert protocol.seen["connection_made"] == "of the client"
    transport.close()
    await until(lambda: protocol.lost)
    server.close()


async def test_protocol_factory_of_a_server_runs_in_a_context_that_knows_the_variable():
    loop = asyncio.get_running_loop()
    variable.set("of the server")
    seen = []

    class Protocol(asyncio.Protocol):
        def __init__(self):
            seen.append(variable.get())

        def connection_made(self, transport):
            seen.append(variable.get())
            transport.close()

    server = await loop.create_server(Protocol, "127.0.0.1", 0)
    variable.set("later")
    transport, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
    await until(lambda: len(seen) == 2)
    transport.close()
    server.close()
    await server.wait_closed()
    assert seen == ["of the server", "of the server"]


async def test_connections_of_a_server_do_not_share_a_context():
    loop = asyncio.get_running_loop()
    seen = []

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport):
            seen.append(variable.get())
            variable.set("changed by a connection")
            transport.close()

    server = await loop.create_server(Protocol, "127.0.0.1", 0)
    for number in range(3):
        transport, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
        await until(lambda number=number: len(seen) == number + 1)
        transport.close()
    server.close()
    await server.wait_closed()
    assert variable.get() == "unset"
    assert seen == ["unset"] * 3


def test_a_task_whose_context_can_not_be_entered_disturbs_no_other(loop, reports):
    context = contextvars.copy_context()
    done = []

    async def never():
        raise AssertionError("not reached")

    async def main():
        stuck = asyncio.create_task(never(), context=context)
        await turns(1)
        asyncio.get_running_loop().call_soon(lambda: done.append(asyncio.current_task()))
        await turns(2)
        done.append(await asyncio.create_task(asyncio.sleep(0.001, "slept")))
        return stuck

    stuck = context.run(loop.run_until_complete, main())
    assert done == [None, "slept"]
    assert not stuck.done()
    stuck.get_coro().close()
    stuck._log_destroy_pending = False
    del stuck
    errors = reports.take_exceptions()
    assert [str(error) for error in errors if "is already entered" not in str(error)] == []
    assert errors


@pytest.mark.asyncio_lacks("notices it in the first step of the task, which never ends", "<3.15", run=False)
async def test_a_context_that_is_none_is_refused():
    coroutine = asyncio.sleep(0)
    with pytest.raises(TypeError, match=r"a contextvars\.Context was expected, got int"):
        await asyncio.create_task(coroutine, context=1)
    with pytest.raises(TypeError, match=r"a contextvars\.Context was expected, got int"):
        asyncio.get_running_loop().create_task(coroutine, context=1)
    coroutine.close()
