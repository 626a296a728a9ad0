"""What debug mode and the exception handler tell (asyncio: Developing with asyncio)."""

import asyncio
import gc
import logging
import re
import sys
import time
import warnings

warnings.simplefilter("ignore")


class Formatter(logging.Formatter):
    """Without what differs from run to run."""

    def format(self, record):
        text = record.getMessage().splitlines()[0]
        text = re.sub(r"took \d+\.\d+ seconds", "took too long", text)
        text = re.sub(r"<.*busy.*>", "<the task>", text)
        return f"{record.levelname} {record.name}: {text}"


handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(Formatter())
logging.getLogger("asyncio").addHandler(handler)
logging.getLogger("asyncio").setLevel(logging.WARNING)
logging.getLogger("asyncio").propagate = False


async def busy():
    time.sleep(0.06)


async def fail():
    raise ValueError("nobody asked")


def tell(loop, context):
    print("handler:", context["message"].partition(" at ")[0], "|", repr(context.get("exception")))


def broken():
    raise RuntimeError("in a callback")


async def main():
    loop = asyncio.get_running_loop()
    loop.slow_callback_duration = 0.05
    print("debug:", loop.get_debug())
    await asyncio.create_task(busy())
    loop.slow_callback_duration = 60.0

    asyncio.create_task(fail())
    await asyncio.sleep(0)
    gc.collect()
    await asyncio.sleep(0)

    loop.set_exception_handler(tell)
    loop.call_soon(broken)
    await asyncio.sleep(0)
    loop.call_exception_handler({"message": "by hand"})
    loop.set_exception_handler(None)

    try:
        await asyncio.to_thread(loop.call_soon, broken)
    except RuntimeError as error:
        print(error)


asyncio.run(main(), debug=True)
