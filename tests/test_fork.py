"""What a child process may do with a loop that it inherited by `os.fork`: nothing, but it may make its own."""

import textwrap

import pytest

from tests.support.process import IN_CHILD, output_of, run_program
from tests.support.versions import SINCE_3_12

# Since 3.12 a fork beside other threads warns; the loops themselves must not have started any.
STRICT = ("-W", "error::DeprecationWarning") if SINCE_3_12 else ()

COMMON = "    import os, sys, traceback\n" + IN_CHILD


def output(loop_name, code):
    return output_of(loop_name, textwrap.dedent(COMMON) + textwrap.dedent(code), *STRICT)


def test_child_may_make_and_run_a_loop_of_its_own(loop_name):
    code = """
        loop = new_event_loop()
        loop.run_until_complete(asyncio.sleep(0.001))

        def child():
            own = new_event_loop()
            print("child", own.run_until_complete(asyncio.sleep(0.001, "slept")))
            own.close()

        print("status", in_child(child))
        print("parent", loop.run_until_complete(asyncio.sleep(0.001, "slept")))
        loop.close()
    """
    assert output(loop_name, code) == ["child slept", "status 0", "parent slept"]


def test_child_forked_by_a_callback_is_not_inside_the_running_loop(loop_name):
    code = """
        def child():
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                print("no running loop")
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                print(runner.run(asyncio.sleep(0.001, "slept")))

        async def main():
            print("status", in_child(child))
            await asyncio.sleep(0.001)
            print("parent goes on")

        loop = new_event_loop()
        loop.run_until_complete(main())
        loop.close()
    """
    assert output(loop_name, code) == ["no running loop", "slept", "status 0", "parent goes on"]


def test_child_does_not_disturb_the_descriptors_of_the_parent(loop_name):
    code = """
        import socket

        async def main():
            loop = asyncio.get_running_loop()
            left, right = socket.socketpair()
            left.setblocking(False)
            right.setblocking(False)

            def child():
                # Closing what was inherited must not reach the parent's poller.
                left.close()
                right.close()

            task = asyncio.ensure_future(loop.sock_recv(left, 10))
            await asyncio.sleep(0.001)
            print("status", in_child(child))
            right.send(b"data")
            print(await task)
            left.close()
            right.close()

        loop = new_event_loop()
        loop.run_until_complete(main())
        loop.close()
    """
    assert output(loop_name, code) == ["status 0", "b'data'"]


def test_multiprocessing_with_fork_works_beside_a_loop(loop_name):
    code = """
        import multiprocessing

        def work(number):
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                return runner.run(asyncio.sleep(0.001, number ** 2))

        loop = new_event_loop()
        loop.run_until_complete(asyncio.sleep(0))
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.map(work, range(5)))
        loop.close()
    """
    assert output_of(loop_name, code) == ["[0, 1, 4, 9, 16]"]


def inherited(sabio, code):
    return output(
        "sabio",
        "loop = new_event_loop()\nloop.run_until_complete(asyncio.sleep(0))\n" + code + "\nloop.close()\n",
    )


CHILD = """
def child():
    try:
        {call}
    except RuntimeError as error:
        print(type(error).__name__, "fork" in str(error))

print("status", in_child(child))
print("parent", loop.run_until_complete(asyncio.sleep(0.001, "slept")))
"""


@pytest.mark.parametrize(
    "call",
    [
        "loop.run_forever()",
        "loop.run_until_complete(asyncio.Future(loop=loop))",
        "loop.call_soon_threadsafe(print)",
        "loop.add_reader(0, print)",
    ],
)
def test_inherited_loop_of_sabio_says_that_it_was_forked(sabio, call):
    lines = inherited(sabio, CHILD.format(call=call))
    assert lines == ["RuntimeError True", "status 0", "parent slept"]


def test_child_may_let_go_of_the_inherited_loop(loop_name):
    code = """
        loop = new_event_loop()
        loop.run_until_complete(asyncio.sleep(0))

        def child():
            global loop
            loop.close()
            del loop

        print("status", in_child(child))
        reading, writing = os.pipe()
        loop.add_reader(reading, lambda: (print(os.read(reading, 10)), loop.stop()))
        os.write(writing, b"x")
        loop.run_forever()
        loop.close()
    """
    assert output(loop_name, code) == ["status 0", "b'x'"]


@pytest.mark.asyncio_lacks("closing the inherited loop takes the waker out of the poller that both share")
def test_parent_can_be_woken_after_a_child_let_go_of_the_loop(loop_name):
    code = """
        import threading

        loop = new_event_loop()
        loop.run_until_complete(asyncio.sleep(0))
        print("status", in_child(loop.close))
        thread = threading.Timer(0.05, loop.call_soon_threadsafe, (loop.stop,))
        thread.start()
        loop.call_later(1, loop.stop)
        started = loop.time()
        loop.run_forever()
        print("woken in time", loop.time() - started < 0.8)
        thread.join()
        loop.close()
    """
    assert output(loop_name, code) == ["status 0", "woken in time True"]


def test_child_that_exits_normally_says_nothing(loop_name):
    code = """
        import os, sys
        loop = new_event_loop()
        loop.run_until_complete(asyncio.sleep(0.001))
        pid = os.fork()
        if pid == 0:
            loop.close()
            sys.exit(0)
        os.waitpid(pid, 0)
        loop.close()
    """
    done = run_program(loop_name, code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
