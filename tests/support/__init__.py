"""What several test files share: leak checks, reported errors, peers, protocols, child processes.

Nothing in here may lean on the loop under test for more than `asyncio.sleep` and futures, so that
a mistake of the loop cannot hide behind the tool that should show it.
"""
