"""Cancellation fuzzing: random small programs, cancelled at every step, on asyncio and on sabio.

`program` says what a program is and writes it as Python text, `generate` makes one out of a seed, `execute` runs it
and writes down what happened, `compare` decides whether that is the same, `shrink` makes a failing one smaller.
`test_cancellation` runs a fixed number of seeds; the environment variable `SABIO_FUZZ_SEEDS` names others, as a
count (`500`) or a range (`500:900`). A failure prints a program that can be saved and run by itself:

    python -m tests.fuzz FILE
"""
