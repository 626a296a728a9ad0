"""`connect_read_pipe` and its transport (asyncio docs, "Working with pipes" and "Read-only Transports")."""

import asyncio
import contextvars
import gc
import io
import logging
import os
import socket
import tempfile
import tty
import weakref

import pytest

from tests.support.pipes import pipe, reading
from tests.support.protocols import Recorder
from tests.support.waiting import turns, until


def write_all(writer, data):
    """Write to a blocking pipe."""
    view = memoryview(data)
    while view:
        view = view[writer.write(view) :]


async def test_data_and_the_end_come_in_order():
    reader, writer = pipe()
    transport, protocol = await reading(reader)
    assert protocol.transport is transport
    writer.write(b"one")
    assert await protocol.receive(3) == b"one"
    writer.write(b"two")
    assert await protocol.receive(6) == b"onetwo"
    writer.close()
    assert await protocol.lost is None
    assert protocol.calls == ["connection_made", "data_received", "eof_received", "connection_lost"]
    assert reader.closed


async def test_what_the_transport_is():
    reader, writer = pipe()
    transport, protocol = await reading(reader)
    assert isinstance(transport, asyncio.ReadTransport)
    assert not isinstance(transport, asyncio.WriteTransport)
    for name in ("write", "abort", "get_write_buffer_size", "can_write_eof"):
        assert not hasattr(transport, name)
    assert transport.get_extra_info("pipe") is reader
    assert transport.get_extra_info("socket") is None
    assert transport.get_extra_info("socket", 5) == 5
    assert transport.get_protocol() is protocol
    assert transport.is_reading()
    assert not transport.is_closing()
    transport.close()
    assert transport.is_closing()
    assert not transport.is_reading()
    assert await protocol.lost is None
    assert transport.get_extra_info("pipe") is reader
    writer.close()


async def test_repr_tells_the_state():
    reader, writer = pipe()
    transport, protocol = await reading(reader)
    number = reader.fileno()
    assert f"fd={number} polling" in repr(transport)
    transport.pause_reading()
    assert f"fd={number} idle" in repr(transport)
    transport.close()
    assert " closing " in repr(transport)
    await protocol.lost
    assert repr(transport).endswith(f" closed fd={number} closed>")
    writer.close()


async def test_large_messages_come_whole():
    reader, writer = pipe()
    _, protocol = await reading(reader)
    data = os.urandom(3_000_000)
    await asyncio.to_thread(write_all, writer, data)
    assert await protocol.receive(len(data)) == data
    writer.close()
    await protocol.lost


async def test_paused_transport_reads_nothing():
    reader, writer = pipe()
    transport, protocol = await reading(reader)
    transport.pause_reading()
    transport.pause_reading()
    writer.write(b"later")
    await asyncio.sleep(0.02)
    assert not protocol.received
    transport.resume_reading()
    transport.resume_reading()
    assert await protocol.receive(5) == b"later"
    transport.close()
    transport.pause_reading()
    transport.resume_reading()
    await protocol.lost
    writer.close()


async def test_paused_in_connection_made():
    class Paused(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.pause_reading()

    reader, writer = pipe()
    writer.write(b"data")
    transport, protocol = await reading(reader, Paused)
    await asyncio.sleep(0.02)
    assert not protocol.received
    transport.resume_reading()
    assert await protocol.receive(4) == b"data"
    transport.close()
    await protocol.lost
    writer.close()


async def test_closed_twice_is_lost_once():
    reader, writer = pipe()
    transport, protocol = await reading(reader)
    transport.close()
    transport.close()
    assert await protocol.lost is None
    transport.close()
    await turns(2)
    assert protocol.calls == ["connection_made", "connection_lost"]
    writer.close()


async def test_answer_of_eof_received_does_not_keep_it_open():
    class KeepOpen(Recorder):
        def eof_received(self):
            super().eof_received()
            return True

    reader, writer = pipe()
    _, protocol = await reading(reader, KeepOpen)
    writer.close()
    assert await protocol.lost is None


async def test_exception_of_data_received_is_reported_and_it_goes_on():
    class Failing(Recorder):
        def data_received(self, data):
            super().data_received(data)
            if data == b"bad":
                raise ValueError("failed")

    contexts = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
    reader, writer = pipe()
    transport, protocol = await reading(reader, Failing)
    writer.write(b"bad")
    await until(lambda: contexts)
    assert isinstance(contexts[0]["exception"], ValueError)
    assert contexts[0]["message"].startswith("Exception in callback ")
    assert not transport.is_closing()
    writer.write(b"good")
    assert await protocol.receive(7) == b"badgood"
    writer.close()
    await protocol.lost


async def test_exception_of_eof_received_is_reported_and_the_connection_is_lost():
    class Failing(Recorder):
        def eof_received(self):
            raise ValueError("failed")

    contexts = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
    reader, writer = pipe()
    _, protocol = await reading(reader, Failing)
    writer.close()
    assert await protocol.lost is None
    assert [type(context["exception"]) for context in contexts] == [ValueError]


async def test_protocol_can_be_replaced():
    reader, writer = pipe()
    transport, first = await reading(reader)
    second = Recorder()
    transport.set_protocol(second)
    assert transport.get_protocol() is second
    writer.write(b"data")
    assert await second.receive(4) == b"data"
    writer.close()
    await second.lost
    assert first.calls == ["connection_made"]


async def test_callbacks_run_in_the_context_of_the_connect():
    variable = contextvars.ContextVar("variable", default="outer")
    seen = []

    class Looking(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            seen.append(variable.get())

        def data_received(self, data):
            super().data_received(data)
            seen.append(variable.get())

        def connection_lost(self, exc):
            super().connection_lost(exc)
            seen.append(variable.get())

    reader, writer = pipe()
    variable.set("inner")
    _, protocol = await reading(reader, Looking)
    variable.set("later")
    writer.write(b"data")
    writer.close()
    await protocol.lost
    assert seen == ["inner"] * 3


async def test_stream_reader_of_a_pipe():
    reader, writer = pipe()
    stream = asyncio.StreamReader(limit=1024)
    transport, _ = await reading(reader, lambda: asyncio.StreamReaderProtocol(stream))
    writer.write(b"line\nrest")
    assert await stream.readline() == b"line\n"
    # More than twice the limit: the pipe is not read any further.
    writer.write(bytes(50_000))
    await until(lambda: not transport.is_reading())
    assert len(await stream.readexactly(50_004)) == 50_004
    await until(lambda: transport.is_reading())
    writer.close()
    assert await stream.read() == b""


async def test_native_stream_reader_of_a_pipe(sabio):
    reader, writer = pipe()
    stream = sabio.StreamReader()
    transport, _protocol = await reading(reader, lambda: sabio.StreamReaderProtocol(stream))
    data = os.urandom(1_000_000)

    async def write():
        await asyncio.to_thread(write_all, writer, data)
        writer.close()

    writing = asyncio.create_task(write())
    assert await stream.readexactly(10) == data[:10]
    assert await stream.read() == data[10:]
    await writing
    assert transport.is_closing()
    assert stream.at_eof()


async def test_fifo_and_socket_and_terminal_can_be_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    both = os.open(tmp_path / "fifo", os.O_RDWR)
    left, right = socket.socketpair()
    master, slave = os.openpty()
    tty.setraw(slave)
    for file, write, end in (
        (io.FileIO(os.dup(both), "rb"), lambda data: os.write(both, data), both),
        (left, right.send, right),
        (io.FileIO(master, "rb"), lambda data: os.write(slave, data), slave),
    ):
        transport, protocol = await reading(file)
        assert write(b"data") == 4
        assert await protocol.receive(4) == b"data"
        transport.close()
        assert await protocol.lost is None
        os.close(end) if isinstance(end, int) else end.close()


async def test_end_of_a_terminal_is_no_error_worth_a_report(caplog):
    master, slave = os.openpty()
    _, protocol = await reading(io.FileIO(master, "rb"))
    os.close(slave)
    error = await protocol.lost
    assert isinstance(error, OSError)
    assert protocol.calls == ["connection_made", "connection_lost"]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_error_of_a_read_is_reported_and_the_connection_is_lost():
    contexts = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
    reader, writer = socket.socketpair()
    # A reset is the simplest error that a read can meet.
    reader.send(b"never read")
    transport, protocol = await reading(reader)
    writer.close()
    error = await protocol.lost
    assert isinstance(error, ConnectionResetError)
    [context] = contexts
    assert context["message"] == "Fatal read error on pipe transport"
    assert context["exception"] is error
    assert context["transport"] is transport
    assert context["protocol"] is protocol


async def test_device_that_can_not_be_waited_for(sabio):
    contexts = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
    with open("/dev/null", "rb", buffering=0) as null:
        _, protocol = await reading(null)
        assert isinstance(await protocol.lost, PermissionError)
    assert [type(context["exception"]) for context in contexts] == [PermissionError]


async def test_regular_file_is_refused_and_stays_open():
    with (
        tempfile.TemporaryFile() as file,
        pytest.raises(ValueError, match=r"^Pipe transport is for pipes/sockets only\.$"),
    ):
        await reading(file)
    with tempfile.TemporaryFile() as file:
        with pytest.raises(ValueError, match="Pipe transport"):
            await reading(file)
        assert not file.closed


async def test_file_that_has_no_descriptor_is_refused(reports):
    with pytest.raises(io.UnsupportedOperation):
        await reading(io.BytesIO())
    reader, writer = pipe()
    reader.close()
    writer.close()
    with pytest.raises(ValueError, match="closed file"):
        await reading(reader)
    # asyncio's half made transports fail in their finalizers.
    reports.take_unraisable()


async def test_error_of_the_factory_leaves_the_pipe_alone():
    def fail():
        raise LookupError("no protocol")

    reader, writer = pipe()
    with pytest.raises(LookupError):
        await reading(reader, fail)
    assert not reader.closed
    reader.close()
    writer.close()


async def test_cancelled_connect_closes_the_pipe():
    reader, writer = pipe()
    connecting = asyncio.create_task(reading(reader))
    await asyncio.sleep(0)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    await turns(3)
    assert reader.closed
    writer.close()


@pytest.mark.debug_mode
async def test_debug_mode_logs(caplog):
    caplog.set_level(logging.DEBUG, "asyncio")
    reader, writer = pipe()
    number = reader.fileno()
    transport, protocol = await reading(reader)
    transport.pause_reading()
    transport.resume_reading()
    writer.close()
    await protocol.lost
    messages = [record.getMessage() for record in caplog.records]
    assert any(message.startswith(f"Read pipe {number} connected: (<") for message in messages)
    for end in (" pauses reading", " resumes reading", " was closed by peer"):
        assert any(message.endswith(end) for message in messages)


def test_forgotten_paused_transport_warns_and_closes(loop):
    reader, writer = pipe()

    async def forget():
        transport, _ = await reading(reader, asyncio.Protocol)
        transport.pause_reading()
        return weakref.ref(transport)

    def forgotten():
        reference = loop.run_until_complete(forget())
        loop.run_until_complete(asyncio.sleep(0))
        gc.collect()
        return reference

    with pytest.warns(ResourceWarning, match="unclosed transport <"):
        reference = forgotten()
    assert reference() is None
    assert reader.closed
    writer.close()
