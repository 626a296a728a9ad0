"""No method of `asyncio.AbstractEventLoop` is missing (asyncio docs, "Event Loop Methods")."""

import asyncio

import pytest

METHODS = [name for name in dir(asyncio.AbstractEventLoop) if not name.startswith("_")]


@pytest.mark.parametrize("name", METHODS)
def test_method_is_not_the_abstract_one(loop, name):
    assert getattr(type(loop), name) is not getattr(asyncio.AbstractEventLoop, name)
