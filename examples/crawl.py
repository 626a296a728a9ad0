"""Serves a website of generated pages on a free local port and crawls it.

    python examples/crawl.py              # asyncio's own event loop
    python -m sabio examples/crawl.py     # the same program on sabio

This is plain asyncio. The server is aiohttp's; the crawler is a queue of addresses, a handful of worker tasks that
share one HTTP session, and BeautifulSoup to find the links. The site is the same at every run, so the program knows
what a complete crawl must find and exits with 1 if it finds anything else.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import urljoin

import aiohttp
from aiohttp import web
from bs4 import BeautifulSoup
from tqdm import tqdm

# A slow page makes its reader wait this long, in seconds.
SLOW = 0.05


class Site:
    """A website of `size` pages, numbered from 0, that link to each other.

    Every page links to the two pages below it in a binary tree, which makes all of them reachable from page 0, and
    to a few others that a fixed rule picks. Each tenth page is slow.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def links(self, page: int) -> list[int]:
        """The pages that `page` links to, in order and without repetition."""
        tree = [child for child in (2 * page + 1, 2 * page + 2) if child < self.size]
        others = [(page * 7 + step * step) % self.size for step in range(1, 6)]
        return list(dict.fromkeys(tree + others))

    def html(self, page: int) -> str:
        """The page as its reader gets it."""
        items = "\n".join(f'<li><a href="/page/{link}">page {link}</a></li>' for link in self.links(page))
        return f"<!doctype html>\n<title>Page {page}</title>\n<h1>Page {page}</h1>\n<ul>\n{items}\n</ul>\n"

    async def answer(self, request: web.Request) -> web.Response:
        """Handles a request for `/page/NUMBER`."""
        page = int(request.match_info["number"])
        if page >= self.size:
            raise web.HTTPNotFound
        if page % 10 == 9:
            await asyncio.sleep(SLOW)
        return web.Response(text=self.html(page), content_type="text/html")


@asynccontextmanager
async def serve(site: Site) -> AsyncIterator[str]:
    """Serves the site on a free port of this machine while the block runs; gives the address of page 0."""
    app = web.Application()
    app.router.add_get(r"/page/{number:\d+}", site.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/page/0"
    finally:
        await runner.cleanup()


@dataclass
class Crawl:
    """What a crawl has found: each page it has read with the links on it, and the pages it could not read."""

    pages: dict[str, list[str]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def link_count(self) -> int:
        """How many links there are on all pages together."""
        return sum(len(links) for links in self.pages.values())


async def read_links(session: aiohttp.ClientSession, address: str) -> list[str]:
    """Downloads a page and returns the addresses that it links to."""
    async with session.get(address) as response:
        response.raise_for_status()
        document = BeautifulSoup(await response.text(), "html.parser")
    return [urljoin(address, str(anchor["href"])) for anchor in document.find_all("a", href=True)]


async def crawl(start: str, workers: int) -> Crawl:
    """Reads `start` and every page that can be reached from it, `workers` pages at a time."""
    result = Crawl()
    seen = {start}
    queue: asyncio.Queue[str] = asyncio.Queue()
    queue.put_nowait(start)

    async def work(session: aiohttp.ClientSession, progress: tqdm[NoReturn]) -> None:
        while True:
            address = await queue.get()
            try:
                links = await read_links(session, address)
            except (aiohttp.ClientError, TimeoutError) as error:
                result.failures[address] = repr(error)
            else:
                result.pages[address] = links
                for link in links:
                    if link not in seen:
                        seen.add(link)
                        queue.put_nowait(link)
                progress.total = len(seen)
                progress.update()
            finally:
                queue.task_done()

    # With `disable=None` the bar is shown on a terminal only.
    progress: tqdm[NoReturn] = tqdm(desc="crawling", unit=" pages", disable=None)
    session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
    with progress:
        async with session, asyncio.TaskGroup() as group:
            tasks = [group.create_task(work(session, progress)) for _ in range(workers)]
            await queue.join()
            for task in tasks:
                task.cancel()
    return result


async def main(size: int, workers: int) -> int:
    """Serves, crawls, reports; returns the exit code."""
    site = Site(size)
    begin = time.perf_counter()
    async with serve(site) as start:
        result = await crawl(start, workers)
    seconds = time.perf_counter() - begin

    loop = type(asyncio.get_running_loop())
    print(f"pages: {len(result.pages)}")
    print(f"links: {result.link_count}")
    print(f"time:  {seconds:.2f} s")
    print(f"loop:  {loop.__module__}.{loop.__qualname__}")

    for address, error in result.failures.items():
        print(f"could not read {address}: {error}", file=sys.stderr)
    expected_links = sum(len(site.links(page)) for page in range(size))
    if len(result.pages) != size or result.link_count != expected_links:
        print(f"incomplete: the site has {size} pages and {expected_links} links", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve a generated website and crawl it.")
    parser.add_argument("--pages", type=int, default=400, help="pages of the site (default: 400)")
    parser.add_argument("--workers", type=int, default=16, help="pages read at a time (default: 16)")
    options = parser.parse_args()
    sys.exit(asyncio.run(main(options.pages, options.workers)))
