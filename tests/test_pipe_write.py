"""`connect_write_pipe` and its transport (asyncio docs, "Working with pipes" and "Write-only Transports")."""

import asyncio
import fcntl
import io
import logging
import os
import socket
import tempfile
import tty

import pytest

from tests.support.pipes import drain, fill, pipe, reading, writing
from tests.support.waiting import turns, until


async def test_what_is_written_comes_out_in_order():
    reader, writer = pipe()
    transport, protocol = await writing(writer)
    transport.write(b"one ")
    transport.write(bytearray(b"two "))
    transport.write(memoryview(b"three "))
    transport.writelines([b"four ", b"", bytearray(b"five")])
    transport.write(b"")
    transport.writelines([])
    assert transport.get_write_buffer_size() == 0
    assert drain(reader) == b"one two three four five"
    transport.close()
    assert await protocol.lost is None
    assert protocol.calls == ["connection_made", "connection_lost"]
    assert writer.closed
    reader.close()


async def test_what_the_transport_is():
    reader, writer = pipe()
    transport, protocol = await writing(writer)
    assert isinstance(transport, asyncio.WriteTransport)
    with pytest.raises(NotImplementedError):
        transport.pause_reading()
    assert transport.get_extra_info("pipe") is writer
    assert transport.get_extra_info("peername", 5) == 5
    assert transport.get_protocol() is protocol
    assert transport.can_write_eof()
    assert not transport.is_closing()
    assert transport.get_write_buffer_limits() == (16384, 65536)
    transport.close()
    await protocol.lost
    reader.close()


async def test_repr_tells_the_state():
    reader, writer = pipe()
    transport, protocol = await writing(writer)
    number = writer.fileno()
    assert repr(transport).endswith(f" fd={number} idle bufsize=0>")
    size = fill(writer)
    transport.write(b"12345")
    assert transport.get_write_buffer_size() == 5
    assert repr(transport).endswith(f" fd={number} polling bufsize=5>")
    transport.close()
    assert " closing " in repr(transport)
    assert len(drain(reader)) == size
    await protocol.lost
    assert " closed " in repr(transport)
    reader.close()


async def test_one_callback_is_one_write(sabio):
    # Each write() to a pty in packet mode, and to a sequenced socket, stays apart; so it shows how many there were.
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    transport, protocol = await writing(left)
    transport.write(b"head ")
    transport.write(b"body")
    await turns(2)
    assert right.recv(100) == b"head body"
    transport.close()
    await protocol.lost
    right.close()


async def test_much_is_written_as_fast_as_it_is_read():
    reader, writer = pipe()
    transport, out = await writing(writer)
    _, into = await reading(reader)
    data = os.urandom(5_000_000)
    transport.write(data)
    assert transport.get_write_buffer_size() > 0
    assert out.calls == ["connection_made", "pause_writing"]
    assert await into.receive(len(data)) == data
    await until(lambda: transport.get_write_buffer_size() == 0)
    assert out.calls == ["connection_made", "pause_writing", "resume_writing"]
    transport.close()
    assert await into.lost is None
    assert await out.lost is None


async def test_limits_decide_when_the_protocol_pauses():
    reader, writer = pipe()
    transport, protocol = await writing(writer)
    fill(writer)
    transport.set_write_buffer_limits(high=10, low=4)
    transport.write(b"0123456789")
    assert "pause_writing" not in protocol.calls
    transport.write(b"x")
    assert protocol.calls[-1] == "pause_writing"
    drain(reader)
    await until(lambda: protocol.calls[-1] == "resume_writing")
    assert drain(reader)[-11:] == b"0123456789x"
    transport.close()
    await protocol.lost
    reader.close()


@pytest.mark.parametrize("end", ["close", "write_eof"])
async def test_end_comes_after_what_is_queued(end):
    reader, writer = pipe()
    transport, protocol = await writing(writer)
    size = fill(writer)
    transport.write(b"last words")
    getattr(transport, end)()
    assert transport.is_closing()
    await asyncio.sleep(0.01)
    assert not protocol.lost.done()
    found = drain(reader)
    await protocol.lost
    assert (found + drain(reader))[size:] == b"last words"
    reader.close()


async def test_abort_drops_what_is_queued():
    reader, writer = pipe()
    transport, protocol = await writing(writer)
    size = fill(writer)
    transport.write(b"never read")
    transport.abort()
    assert transport.get_write_buffer_size() == 0
    assert await protocol.lost is None
    assert len(drain(reader)) == size
    reader.close()


async def test_abort_keeps_what_was_written_before():
    reader, writer = pipe()
    transport, protocol = await writing(writer)
    transport.write(b"written")
    transport.abort()
    assert await protocol.lost is None
    assert drain(reader) == b"written"
    reader.close()


async def test_writes_after_the_end_are_dropped_and_warned_of(caplog):
    reader, writer = pipe()
    transport, protocol = await writing(writer)
    transport.write_eof()
    transport.write_eof()
    for _ in range(5):
        transport.write(b"lost")
    assert not caplog.records
    transport.write(b"lost")
    assert [record.getMessage() for record in caplog.records] == [
        "pipe closed by peer or os.write(pipe, data) raised exception."
    ]
    await protocol.lost
    transport.write(b"lost")
    assert drain(reader) == b""
    reader.close()


async def test_end_of_the_reader_is_noticed_without_a_write():
    reader, writer = pipe()
    transport, protocol = await writing(writer)
    reader.close()
    assert await protocol.lost is None
    assert transport.is_closing()


async def test_end_of_the_reader_while_something_is_queued():
    reader, writer = pipe()
    transport, protocol = await writing(writer)
    fill(writer)
    transport.write(b"never read")
    reader.close()
    assert isinstance(await protocol.lost, BrokenPipeError)
    assert transport.get_write_buffer_size() == 0


async def test_end_of_the_reader_while_it_closes():
    reader, writer = pipe()
    transport, protocol = await writing(writer)
    fill(writer)
    transport.write(b"never read")
    transport.close()
    await turns(2)
    reader.close()
    assert isinstance(await protocol.lost, BrokenPipeError)


async def test_write_to_a_pipe_that_nobody_reads():
    reader, writer = pipe()
    transport, protocol = await writing(writer)
    reader.close()
    transport.write(b"never read")
    transport.get_write_buffer_size()
    assert isinstance(await protocol.lost, BrokenPipeError)


@pytest.mark.parametrize("data", ["text", 5, None, [b"list"]])
async def test_data_that_is_none_is_refused(data):
    reader, writer = pipe()
    transport, protocol = await writing(writer)
    with pytest.raises(AssertionError):
        transport.write(data)
    with pytest.raises(TypeError):
        transport.writelines([b"good", data])
    assert drain(reader) == b""
    transport.close()
    await protocol.lost
    reader.close()


async def test_fifo_and_socket_and_terminal_can_be_written(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    both = os.open(tmp_path / "fifo", os.O_RDWR)
    left, right = socket.socketpair()
    master, slave = os.openpty()
    tty.setraw(slave)
    for file, read, end in (
        (io.FileIO(os.dup(both), "wb"), lambda size: os.read(both, size), both),
        (left, right.recv, right),
        (io.FileIO(master, "wb"), lambda size: os.read(slave, size), slave),
    ):
        transport, protocol = await writing(file)
        transport.write(b"data")
        await turns(2)
        assert read(100) == b"data"
        transport.close()
        assert await protocol.lost is None
        os.close(end) if isinstance(end, int) else end.close()


async def test_device_that_takes_everything_at_once():
    with open("/dev/null", "wb", buffering=0) as null:
        transport, protocol = await writing(null)
        for _ in range(3):
            transport.write(bytes(100_000))
        assert transport.get_write_buffer_size() == 0
        transport.close()
        assert await protocol.lost is None


async def test_device_that_is_full():
    with open("/dev/full", "wb", buffering=0) as full:
        transport, protocol = await writing(full)
        transport.write(b"data")
        transport.get_write_buffer_size()
        error = await protocol.lost
        assert isinstance(error, OSError)
        assert "No space left" in str(error)


async def test_both_directions_of_one_descriptor(sabio):
    master, slave = os.openpty()
    tty.setraw(slave)
    file = io.FileIO(master, "r+b")
    read_transport, into = await reading(file)
    write_transport, out = await writing(io.FileIO(master, "wb", closefd=False))
    write_transport.write(b"question")
    await turns(2)
    assert os.read(slave, 100) == b"question"
    os.write(slave, b"answer")
    assert await into.receive(6) == b"answer"
    write_transport.close()
    assert await out.lost is None
    os.write(slave, b"more")
    assert await into.receive(10) == b"answermore"
    read_transport.close()
    await into.lost
    os.close(slave)


async def test_regular_file_is_refused():
    with tempfile.TemporaryFile() as file:
        message = "^Pipe transport is only for pipes, sockets and character devices$"
        with pytest.raises(ValueError, match=message):
            await writing(file)
        assert not file.closed


async def test_stream_writer_over_a_pipe():
    reader, writer = pipe()
    transport, protocol = await writing(writer, asyncio.streams.FlowControlMixin)
    stream = asyncio.StreamWriter(transport, protocol, None, asyncio.get_running_loop())
    size = fill(writer)
    stream.write(bytes(100_000))
    draining = asyncio.create_task(stream.drain())
    await turns(3)
    assert not draining.done()
    found = 0
    while found < size + 100_000:
        found += len(drain(reader))
        await asyncio.sleep(0)
    await draining
    stream.close()
    await turns(3)
    reader.close()


@pytest.mark.debug_mode
async def test_debug_mode_logs(caplog):
    caplog.set_level(logging.DEBUG, "asyncio")
    reader, writer = pipe()
    number = writer.fileno()
    _, protocol = await writing(writer)
    reader.close()
    await protocol.lost
    messages = [record.getMessage() for record in caplog.records]
    assert any(message.startswith(f"Write pipe {number} connected: (<") for message in messages)
    assert any(message.endswith(" was closed by peer") for message in messages)


async def test_standard_streams_all_at_once(loop_name):
    from tests.support.process import program, run_python

    code = """
    import sys

    class Copy(asyncio.Protocol):
        def connection_made(self, transport):
            self.input = transport
        def data_received(self, data):
            out.write(data.upper())
            err.write(b"%d bytes" % len(data))
        def connection_lost(self, exc):
            out.close()
            err.close()
            done.set_result(exc)

    async def main():
        global out, err, done
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        out, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, sys.stdout)
        err, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, sys.stderr)
        await loop.connect_read_pipe(Copy, sys.stdin)
        assert await done is None
        await asyncio.sleep(0.01)

    loop = new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    """
    done = await asyncio.to_thread(run_python, "-c", program(loop_name, code), stdin="hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, "HELLO", "5 bytes")


#: `F_GETPIPE_SZ` of fcntl(2), which the module names from 3.10 on where the kernel's headers do.
PIPE_SIZE = 1032


async def pushed(amount):
    """Sends so many bytes through a pipe, and gives what the pipe holds after it. The other end is read by hand."""
    reader, writer = pipe()
    size = fcntl.fcntl(reader, PIPE_SIZE)
    transport, protocol = await writing(writer)
    data = bytes(range(256)) * (amount // 256)
    transport.write(data)
    got = bytearray()
    while len(got) < len(data):
        got += drain(reader)
        await asyncio.sleep(0)
    assert bytes(got) == data
    sizes = (size, fcntl.fcntl(reader, PIPE_SIZE))
    transport.close()
    await protocol.lost
    reader.close()
    return sizes


async def test_pipe_that_is_full_again_and_again_is_made_larger(loop_name):
    before, after = await pushed(2 * 1024 * 1024)
    assert (before, after) == (65536, 262144 if loop_name == "sabio" else 65536)


async def test_pipe_that_is_full_a_few_times_stays_as_it_is():
    assert await pushed(256 * 1024) == (65536, 65536)
