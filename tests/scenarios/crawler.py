"""A crawler that walks links with a few workers, tries again when a page fails, and knows when it is done."""

import asyncio

PAGES = {number: [number * 2 % 97, number * 3 % 97, (number + 5) % 97] for number in range(97)}
MOODY = {7, 21, 63}


class Site:
    """Answers slowly; some pages only at the third attempt."""

    def __init__(self):
        self.asked = {}

    async def get(self, page):
        await asyncio.sleep(0.0005)
        self.asked[page] = self.asked.get(page, 0) + 1
        if page in MOODY and self.asked[page] < 3:
            raise ConnectionError(page)
        return PAGES[page]


async def get_with_patience(site, page, attempts=5):
    for attempt in range(attempts):
        try:
            return await site.get(page)
        except ConnectionError:
            await asyncio.sleep(0.0001 * 2**attempt)
    raise TimeoutError(page)


async def worker(site, queue, seen):
    while True:
        page = await queue.get()
        try:
            for link in await get_with_patience(site, page):
                if link not in seen:
                    seen.add(link)
                    queue.put_nowait(link)
        finally:
            queue.task_done()


async def main():
    site, queue, seen = Site(), asyncio.Queue(), {1}
    queue.put_nowait(1)
    workers = [asyncio.create_task(worker(site, queue, seen)) for _ in range(8)]
    await asyncio.wait_for(queue.join(), 20)
    for task in workers:
        task.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    print(len(seen), "pages,", sum(site.asked.values()), "requests")
    print({page: count for page, count in sorted(site.asked.items()) if count > 1})


asyncio.run(main())
