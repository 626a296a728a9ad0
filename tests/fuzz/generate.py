"""Makes a program out of a seed: the same seed gives the same program on every interpreter."""

from __future__ import annotations

import asyncio
import random

from tests.fuzz.program import AWAIT, CALL, EACH, RAISE, WITH, Block, Op, Program

HAS_SHUTDOWN = hasattr(asyncio.Queue, "shutdown")

OBJECTS = (
    ("lock0", "a.Lock()"),
    ("lock1", "a.Lock()"),
    ("event0", "a.Event()"),
    ("cond0", "a.Condition()"),
    ("sem0", "a.Semaphore({n})"),
    ("bounded0", "a.BoundedSemaphore({n})"),
    ("barrier0", "a.Barrier(2)"),
    ("queue0", "a.Queue({n})"),
    ("queue1", "a.{kind}Queue({room})"),
)
NAMES = tuple(name for name, _ in OBJECTS)
#: None never ends, 0 has ended before it began, and the last one is longer than any test.
TIMEOUTS = ("None", "0", "1000")
DEEPEST = 2


class Generator:
    """Draws a program; few objects are in play at a time, so that tasks get into each other's way."""

    def __init__(self, seed: int) -> None:
        """The same seed draws the same program."""
        self.random = random.Random(seed)
        self.objects = self.random.sample(NAMES, self.random.choice((1, 1, 2)))
        self.combines = self.random.random() < 0.6

    def program(self) -> Program:
        """The program."""
        choose = self.random
        values = {
            "n": choose.choice((1, 1, 2)),
            "room": choose.choice((0, 0, 1, 2)),
            "kind": choose.choice(("", "", "Lifo", "Priority")),
        }
        objects = tuple((name, made.format(**values)) for name, made in OBJECTS)
        tasks = [self.block(1, 3, 0) for _ in range(choose.randint(2, 3))]
        # Most programs of chance soon wait for what never comes: this task brings it.
        tasks += [self.helper()] if choose.random() < 0.7 else []
        choose.shuffle(tasks)
        return Program(objects, tuple(tasks))

    def helper(self) -> Block:
        """A task that lets the others go on."""
        ops = []
        for _ in range(self.random.randint(2, 4)):
            name = self.random.choice(self.objects)
            if name.startswith("queue"):
                calls = ("put_nowait('$')", "put_nowait('$')", "get_nowait()", "task_done()")
                ops.append(Op(CALL, f"{name}.{self.random.choice(calls)}"))
            elif name.startswith("event"):
                ops.append(Op(CALL, f"{name}.set()"))
            elif name.startswith("barrier"):
                ops.append(Op(AWAIT, f"{name}.wait()"))
            elif name.startswith("cond"):
                notify = self.random.choice(("notify()", "notify_all()", "notify(2)"))
                ops.append(Op(WITH, name, body=(Op(CALL, f"{name}.{notify}"),)))
            else:
                ops.append(Op(CALL, f"{name}.release()"))
            if self.random.random() < 0.6:
                ops.insert(len(ops) - 1, self.pause(0))
        return tuple(ops)

    def block(self, least: int, most: int, depth: int) -> Block:
        """Some operations."""
        return tuple(self.op(depth) for _ in range(self.random.randint(least, most)))

    def op(self, depth: int) -> Op:
        """One operation, with what belongs inside it."""
        choose = self.random
        kinds = [(4, self.on_object), (2, self.pause)]
        if depth < DEEPEST:
            kinds.append((4, self.with_object))
            if self.combines:
                kinds += [(4, self.combination), (2, self.with_timeout), (1, self.disturbance)]
        (make,) = choose.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])
        return make(depth)

    def keep(self) -> bool:
        """Whether a cancellation is swallowed here."""
        return self.random.random() < 0.15

    def pause(self, depth: int) -> Op:
        """A few turns of the loop."""
        return Op(AWAIT, f"sleep({self.random.randint(1, 3)})", keep=self.keep())

    def waiting(self) -> str:
        """An expression that makes an awaitable for something that may take its time."""
        name = self.random.choice(self.objects)
        if name.startswith("queue"):
            return self.random.choice(
                (f"{name}.get()", f"{name}.get()", f"{name}.put('$')", f"{name}.join()")
            )
        if name.startswith("cond"):
            return "sleep(2)"
        if name.startswith(("event", "barrier")):
            return f"{name}.wait()"
        return f"{name}.acquire()"

    def on_object(self, depth: int) -> Op:
        """A call of a method, awaited where it is a coroutine."""
        choose, name = self.random, self.random.choice(self.objects)
        if name.startswith("cond"):
            return self.on_condition(name)
        if choose.random() < 0.7:
            return Op(AWAIT, self.waiting(), keep=self.keep())
        if name.startswith("queue"):
            calls = ["get_nowait()", "put_nowait('$')", "put_nowait('$')", "task_done()"]
            if HAS_SHUTDOWN and choose.random() < 0.3:
                calls += ["shutdown()", "shutdown(immediate=True)"]
            return Op(CALL, f"{name}.{choose.choice(calls)}")
        if name.startswith("event"):
            return Op(CALL, f"{name}.{choose.choice(('set()', 'set()', 'clear()'))}")
        if name.startswith("barrier"):
            return Op(AWAIT, f"{name}.{choose.choice(('wait()', 'wait()', 'wait()', 'reset()', 'abort()'))}")
        return Op(CALL, f"{name}.{choose.choice(('release()', 'release()', 'release()', 'locked()'))}")

    def on_condition(self, name: str) -> Op:
        """Something that is done with the condition's lock held."""
        choose = self.random
        inner = choose.choice(
            (
                Op(AWAIT, f"{name}.wait()", keep=self.keep()),
                Op(AWAIT, f"{name}.wait()", keep=self.keep()),
                Op(AWAIT, f"{name}.wait_for(lambda: 0 in flags)", keep=self.keep()),
                Op(CALL, f"{name}.notify({choose.randint(1, 2)})"),
                Op(CALL, f"{name}.notify_all()"),
                Op(CALL, "flags.add(0)"),
            )
        )
        rest = (self.pause(DEEPEST),) if choose.random() < 0.4 else ()
        return Op(WITH, name, body=(inner, *rest))

    def with_object(self, depth: int) -> Op:
        """A block inside a lock or the like."""
        # A task inside a barrier's block that waits for the barrier again mostly waits for ever.
        unfit = ("queue", "event", "barrier") if depth else ("queue", "event")
        locks = [name for name in self.objects if not name.startswith(unfit)]
        if not locks:
            return self.on_object(depth)
        return Op(WITH, self.random.choice(locks), body=self.block(1, 2, depth + 1), keep=self.keep())

    def with_timeout(self, depth: int) -> Op:
        """A block inside a timeout that others may move."""
        slot = self.random.randrange(2)
        text = f"a.timeout({self.random.choice(TIMEOUTS)}) as limits[{slot}]"
        return Op(WITH, text, body=self.block(1, 2, depth + 1), keep=self.keep())

    def disturbance(self, depth: int) -> Op:
        """An exception, a cancellation, or a timeout that ends now."""
        choose = self.random
        kind = choose.randrange(3)
        if kind == 0 and depth:
            return Op(RAISE, "KeyError('$')")
        if kind == 1:
            return Op(CALL, f"limits[{choose.randrange(2)}].reschedule(0)")
        return Op(CALL, f"spawn.cancel({choose.randrange(3)})")

    def combination(self, depth: int) -> Op:
        """Something that awaits several coroutines, or one in another way."""
        choose = self.random
        several = tuple(self.block(1, 2, depth + 1) for _ in range(choose.choice((1, 2, 2, 3))))
        one = several[:1]
        places = ", ".join(f"{{{place}}}" for place in range(len(several)))
        tasks = ", ".join(f"spawn({{{place}}})" for place in range(len(several)))
        when = choose.choice(("FIRST_COMPLETED", "FIRST_EXCEPTION", "ALL_COMPLETED"))
        limit = choose.choice(TIMEOUTS)
        op = choose.choice(
            (
                Op(AWAIT, f"a.gather({places})", several),
                Op(AWAIT, f"a.gather({places}, return_exceptions=True)", several),
                Op(AWAIT, f"a.wait([{tasks}], return_when=a.{when})", several),
                Op(AWAIT, f"a.wait_for({{0}}, {limit})", one),
                Op(AWAIT, f"a.wait_for({self.waiting()}, {limit})"),
                Op(AWAIT, "a.shield({0})", one),
                Op(EACH, f"a.as_completed([{tasks}])", several),
                Op(
                    WITH,
                    f"a.TaskGroup() as groups[{choose.randrange(2)}]",
                    several,
                    self.block(0, 2, depth + 1),
                ),
                Op(
                    WITH,
                    f"a.TaskGroup() as groups[{choose.randrange(2)}]",
                    several,
                    self.block(0, 2, depth + 1),
                ),
            )
        )
        return Op(op.style, op.text, op.children, op.body, self.keep())


def generate(seed: int) -> Program:
    """The program of a seed; nothing is cancelled in it yet."""
    return Generator(seed).program()
