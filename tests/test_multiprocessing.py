"""Processes that are started inside of a running loop, by `multiprocessing` and `os.fork`, and what they share."""

from __future__ import annotations

import textwrap

import pytest

from tests.support.process import IN_CHILD, PREAMBLES, output_of, run_python

METHODS = ("fork", "spawn", "forkserver")


@pytest.fixture
def output_of_file(tmp_path, loop_name):
    """Runs a program that its own children can import, and gives the lines that it prints."""

    def run(code, *arguments):
        file = tmp_path / "program.py"
        file.write_text(PREAMBLES[loop_name] + textwrap.dedent(code))
        done = run_python(str(file), *arguments)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout.splitlines()

    return run


PROCESS = """
    import multiprocessing, sys

    async def talk():
        "Something of everything: a server, a connection, a timer, a thread."
        async def answer(reader, writer):
            writer.write(await reader.readline())
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"line\\n")
        line = await reader.readline()
        writer.close()
        server.close()
        await asyncio.sleep(0.001)
        return line, await asyncio.get_running_loop().run_in_executor(None, len, line)

    def child(connection):
        try:
            asyncio.get_running_loop()
            running = True
        except RuntimeError:
            running = False
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            connection.send((running, *runner.run(talk())))

    async def main(method):
        loop = asyncio.get_running_loop()
        processes = multiprocessing.get_context(method)
        here, there = processes.Pipe()
        ticks = []
        loop.call_later(0.001, ticks.append, "timer")
        process = processes.Process(target=child, args=(there,))
        process.start()
        there.close()
        answered, ended = loop.create_future(), loop.create_future()
        loop.add_reader(here.fileno(), lambda: answered.done() or answered.set_result(here.recv()))
        loop.add_reader(process.sentinel, lambda: ended.done() or ended.set_result(None))
        print(await answered)
        loop.remove_reader(here.fileno())
        await ended
        loop.remove_reader(process.sentinel)
        process.join()
        print(process.exitcode, ticks, await talk(), asyncio.get_running_loop() is loop)

    if __name__ == "__main__":
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("method", METHODS)
def test_a_process_that_is_started_inside_of_a_loop_has_one_of_its_own(output_of_file, method):
    assert output_of_file(PROCESS, method) == [
        "(False, b'line\\n', 5)",
        "0 ['timer'] (b'line\\n', 5) True",
    ]


POOL = """
    import concurrent.futures, multiprocessing, os, sys

    def in_a_loop(number):
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(asyncio.sleep(0.001, number ** 2))

    def fail():
        raise KeyError("in the worker")

    async def main(method):
        loop = asyncio.get_running_loop()
        processes = multiprocessing.get_context(method)
        with concurrent.futures.ProcessPoolExecutor(2, processes) as pool:
            calls = [loop.run_in_executor(pool, in_a_loop, number) for number in range(10)]
            print(await asyncio.gather(*calls))
            try:
                await loop.run_in_executor(pool, fail)
            except KeyError as error:
                print(repr(error))
            try:
                await loop.run_in_executor(pool, os._exit, 3)
            except concurrent.futures.process.BrokenProcessPool:
                print("broken")
        print(await asyncio.sleep(0.001, "goes on"))

    if __name__ == "__main__":
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_of_processes_serves_a_loop(output_of_file, method):
    assert output_of_file(POOL, method) == [
        str([number**2 for number in range(10)]),
        "KeyError('in the worker')",
        "broken",
        "goes on",
    ]


FORKED = (
    "    import os, socket, signal, ssl, sys, traceback\n"
    + IN_CHILD
    + """
    class Peer(asyncio.Protocol, asyncio.DatagramProtocol):
        def __init__(self):
            self.received = asyncio.Queue()

        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.received.put_nowait(data)

        def datagram_received(self, data, address):
            self.received.put_nowait(data)

        def connection_lost(self, error):
            self.received.put_nowait(error)
"""
)


@pytest.mark.asyncio_lacks(
    "the child takes the parent's descriptors out of the poller that both share", run=False
)
@pytest.mark.parametrize("secure", [False, True], ids=["TCP", "TLS"])
@pytest.mark.parametrize("way", ["close", "abort", "let go of"])
def test_a_child_that_ends_inherited_transports_disturbs_no_connection_of_its_parent(loop_name, way, secure):
    code = """
        import gc

        async def main():
            loop = asyncio.get_running_loop()
            accepted = loop.create_future()

            def accept():
                peer = Peer()
                accepted.set_result(peer)
                return peer

            server = await loop.create_server(accept, "127.0.0.1", 0, ssl=SERVER)
            address = server.sockets[0].getsockname()
            here, mine = await loop.create_connection(
                Peer, *address, ssl=CLIENT, server_hostname=CLIENT and "localhost"
            )
            theirs = await accepted
            udp, datagrams = await loop.create_datagram_endpoint(Peer, local_addr=("127.0.0.1", 0))
            reading, writing = os.pipe()
            pipe = Peer()
            read_pipe, _ = await loop.connect_read_pipe(lambda: pipe, open(reading, "rb", 0))
            heard = asyncio.Queue()
            near, far = socket.socketpair()
            loop.add_reader(near, lambda: heard.put_nowait(near.recv(10)))
            here.write(b"before")
            assert await theirs.received.get() == b"before"
            # Goes out when this step ends, and only from the parent.
            here.write(b"once")
            udp.sendto(b"once", udp.get_extra_info("sockname"))

            def child():
                nonlocal here, mine, udp, read_pipe, theirs, accepted, datagrams, pipe, server
                for transport in (here, udp, read_pipe, theirs.transport):
                    for _ in range(2 if WAY != "let go of" else 0):
                        getattr(transport, WAY, transport.close)()
                loop.remove_reader(near)
                server.close()
                here = mine = udp = read_pipe = theirs = accepted = datagrams = pipe = server = transport = None
                gc.collect()

            print("status", in_child(child))
            assert await theirs.received.get() == b"once"
            assert await datagrams.received.get() == b"once"
            for _ in range(3):
                here.write(b"to the server")
                assert await theirs.received.get() == b"to the server"
                theirs.transport.write(b"to the client")
                assert await mine.received.get() == b"to the client"
                udp.sendto(b"datagram", udp.get_extra_info("sockname"))
                assert await datagrams.received.get() == b"datagram"
                os.write(writing, b"through the pipe")
                assert await pipe.received.get() == b"through the pipe"
                far.send(b"seen")
                assert await heard.get() == b"seen"
            print("all is well", flush=True)
            os._exit(0)

        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(main())
    """
    contexts = "SERVER = CLIENT = None\n"
    if secure:
        contexts = (
            "from tests.support.certificates import client_context, server_context\n"
            "SERVER, CLIENT = server_context(), client_context()\n"
        )
    lines = output_of(
        loop_name, textwrap.dedent(FORKED) + f"WAY = {way!r}\n" + contexts + textwrap.dedent(code)
    )
    assert lines == ["status 0", "all is well"]


@pytest.mark.asyncio_lacks("the child writes to the parent's wakeup descriptor", "<3.12")
def test_a_signal_of_the_child_is_no_signal_of_the_parent(loop_name):
    code = """
        import time

        async def main():
            loop = asyncio.get_running_loop()
            heard = []
            loop.add_signal_handler(signal.SIGUSR1, heard.append, os.getpid())

            def child():
                os.kill(os.getpid(), signal.SIGUSR1)
                time.sleep(0.01)

            print("status", in_child(child))
            await asyncio.sleep(0.02)
            print("parent", heard == [])
            os.kill(os.getpid(), signal.SIGUSR1)
            while not heard:
                await asyncio.sleep(0.001)
            print(heard == [os.getpid()])

        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(main())
    """
    lines = output_of(loop_name, textwrap.dedent(FORKED) + textwrap.dedent(code))
    assert lines == ["status 0", "parent True", "True"]


def test_a_child_resolves_names_though_its_parent_has_threads_for_that(loop_name):
    code = """
        async def resolve():
            loop = asyncio.get_running_loop()
            found = [loop.getaddrinfo("localhost", port) for port in range(1, 9)]
            return all([infos for infos in await asyncio.gather(*found)])

        def child():
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                print("child", runner.run(asyncio.wait_for(resolve(), 20)))

        async def main():
            for _ in range(5):
                # Some threads are in the middle of a look-up, with locks of the C library held.
                under_way = asyncio.ensure_future(resolve())
                await asyncio.sleep(0)
                print("status", in_child(child))
                print("parent", await under_way)

        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(main())
    """
    lines = output_of(loop_name, textwrap.dedent(FORKED) + textwrap.dedent(code))
    assert lines == ["child True", "status 0", "parent True"] * 5


def test_children_that_are_forked_while_threads_call_the_loop_have_working_loops(loop_name):
    code = """
        import threading

        async def main():
            loop = asyncio.get_running_loop()
            calls, stop = [], threading.Event()

            def call():
                while not stop.is_set():
                    loop.call_soon_threadsafe(calls.append, 1)
                    stop.wait(0.00001)

            def child():
                async def live():
                    loop = asyncio.get_running_loop()
                    called = loop.create_future()
                    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(called.set_result, "called"))
                    thread.start()
                    assert await asyncio.wait_for(called, 20) == "called"
                    thread.join()

                with asyncio.Runner(loop_factory=new_event_loop) as runner:
                    runner.run(live())

            threads = [threading.Thread(target=call) for _ in range(3)]
            for thread in threads:
                thread.start()
            statuses = []
            for _ in range(30):
                await asyncio.sleep(0)
                statuses.append(in_child(child))
            stop.set()
            for thread in threads:
                thread.join()
            print(set(statuses), len(calls) > 0)

        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(main())
    """
    lines = output_of(loop_name, textwrap.dedent(FORKED) + textwrap.dedent(code))
    assert lines == ["{0} True"]
