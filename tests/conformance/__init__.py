"""CPython's own tests of asyncio, run against any event loop.

    python -m tests.conformance --loop sabio
    python -m tests.conformance --loop sabio --install
    python -m tests.conformance --loop asyncio --module test_events --match cancel

The standard library's suite (`test.test_asyncio`) is the most exact statement of what asyncio does. Here it runs
on the loop under test, each test in a process of its own, and every test that does not pass must stand in
`expected/LOOP.toml` with the reason; see `report.py` for the rules. With `--install` sabio's native objects stand in
asyncio's places, and the suite takes them for asyncio's own; what they do not pass stands in
`expected/sabio-installed.toml` besides.

`binding.py` puts the loop where the suite looks for one, `runner.py` runs the tests, `report.py` compares the
outcomes with what is expected, `__main__.py` is the command line. The suite has to be the one that came with the
interpreter; where it is not installed (some distributions leave it out) the command says so and exits with 3.
"""
