"""Legacy mode: which generators count as coroutines with a warning, and which have had theirs."""

from __future__ import annotations

import pytest

from tests.support.versions import SINCE_3_12
from tests.test_legacy import legacy

pytestmark = pytest.mark.usefixtures("sabio")

GENERATORS = "generators are no coroutines from Python 3.12 on; use async def"


@pytest.mark.skipif(not SINCE_3_12, reason="generators still are coroutines")
def test_a_generator_warns_also_after_one_that_is_marked() -> None:
    code = """
        @asyncio.coroutine
        def marked():
            yield from asyncio.sleep(0)
            return "marked"

        def plain():
            return (yield from marked())

        loop = asyncio.get_event_loop()
        print(loop.run_until_complete(marked()))
        print(loop.run_until_complete(plain()))
        print(asyncio.iscoroutine(plain()))
    """
    output, warnings = legacy(code)
    assert output == ["marked", "marked", "True"]
    assert warnings.count(GENERATORS) == 1
