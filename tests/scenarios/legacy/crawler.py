"""A crawler in the manner of 2015: a queue, workers that are generators, and a loop in every call."""

import asyncio

LINKS = {number: [(number * 2) % 31, (number * 7 + 1) % 31] for number in range(31)}


class Crawler:
    def __init__(self, roots, max_tasks=4, loop=None):
        self.loop = loop or asyncio.get_event_loop()
        self.max_tasks = max_tasks
        self.queue = asyncio.Queue(loop=self.loop)
        self.seen = set()
        self.done = []
        for root in roots:
            self.add(root)

    def add(self, page):
        if page not in self.seen:
            self.seen.add(page)
            self.queue.put_nowait(page)

    @asyncio.coroutine
    def fetch(self, page):
        yield from asyncio.sleep(0.0005, loop=self.loop)
        return LINKS[page]

    @asyncio.coroutine
    def work(self):
        try:
            while True:
                page = yield from self.queue.get()
                for link in (yield from self.fetch(page)):
                    self.add(link)
                self.done.append(page)
                self.queue.task_done()
        except asyncio.CancelledError:
            pass

    @asyncio.coroutine
    def crawl(self):
        workers = [asyncio.Task(self.work(), loop=self.loop) for _ in range(self.max_tasks)]
        yield from self.queue.join()
        for task in workers:
            task.cancel()
        yield from asyncio.wait(workers, loop=self.loop)


loop = asyncio.get_event_loop()
crawler = Crawler([1], loop=loop)
loop.run_until_complete(crawler.crawl())
print(len(crawler.done), "pages", sorted(crawler.done) == sorted(crawler.seen))
loop.close()
