"""aiohttp, server and client: bodies, websockets, streamed answers, many requests at once, timeouts."""

import asyncio
import io

from aiohttp import ClientSession, ClientTimeout, web


async def describe(request):
    return web.json_response({"query": dict(request.query), "size": len(await request.read())})


async def shout(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data.upper())
    return socket


async def stream(request):
    response = web.StreamResponse()
    await response.prepare(request)
    for number in range(3):
        await response.write(b"part %d\n" % number)
        await asyncio.sleep(0.001)
    return response


async def never(request):
    await asyncio.Event().wait()


async def use(site):
    async with ClientSession(site) as session:
        async with session.get("/", params={"a": "1"}) as response:
            print(await response.json())
        async with session.post("/", data=io.BytesIO(b"z" * 3_000_000)) as response:
            print(await response.json())
        async with session.ws_connect("/shout") as socket:
            await socket.send_str("hello")
            print((await socket.receive()).data)
        async with session.get("/stream") as response:
            print((await response.text()).split("\n"))

        async def ask(number):
            async with session.get("/", params={"n": number}) as response:
                return int((await response.json())["query"]["n"])

        print("in order:", await asyncio.gather(*map(ask, range(200))) == list(range(200)))
        try:
            async with session.get("/never", timeout=ClientTimeout(total=0.05)):
                pass
        except TimeoutError:
            print("timeout")


async def main():
    app = web.Application(client_max_size=1 << 25)
    app.router.add_route("*", "/", describe)
    app.router.add_get("/shout", shout)
    app.router.add_get("/stream", stream)
    app.router.add_get("/never", never)
    runner = web.AppRunner(app, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    # A name, not an address: the client resolves it in an eager task of its own.
    await use(f"http://localhost:{port}/")
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
