"""Checks of psycopg's asynchronous API and of its pool for `make packages`.

The server is the one that libpq's variables name. psycopg waits with the loop's `add_reader` and `add_writer`. Nothing
here knows what the loop is.
"""

import asyncio
import contextlib
import functools
import uuid
from datetime import date
from decimal import Decimal

import psycopg
import pytest
from psycopg import AsyncConnection, errors, pq
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool, AsyncNullConnectionPool, PoolTimeout

SECONDS = 30


def on_a_loop(body):
    """Has the coroutine function run by `asyncio.run`, within a bound of time."""

    @functools.wraps(body)
    def run(*args, **kwargs):
        asyncio.run(asyncio.wait_for(body(*args, **kwargs), SECONDS))

    return run


async def connect(**options):
    """A connection of its own to the server."""
    return await AsyncConnection.connect("", **options)


@contextlib.asynccontextmanager
async def a_table(columns, **options):
    """A connection, and a table that goes away with it."""
    async with await connect(autocommit=True, **options) as connection:
        await connection.execute(f"create temporary table t ({columns})")
        yield connection


async def one(connection, query, *parameters):
    """The only value that a query gives."""
    cursor = await connection.execute(query, parameters)
    ((value,),) = await cursor.fetchall()
    return value


async def until(connection, condition, pid):
    """Waits until something holds of a process of the server."""
    while True:
        if await one(connection, f"select {condition} from pg_stat_activity where pid = %s", pid):
            break
        await asyncio.sleep(0.005)


async def blocked(connection, pid):
    """Waits until the server's process is held up by something."""
    await until(connection, "wait_event is not null and state = 'active'", pid)


@on_a_loop
async def test_values_go_there_and_come_back():
    values = [
        7,
        2**40,
        1.5,
        Decimal("3.14"),
        "text \u2713",
        b"\0bytes",
        date(2024, 2, 29),
        uuid.UUID(int=5),
        None,
        True,
    ]
    values += [[1, 2, 3], {"a": [1, None, "b"]}]
    async with await connect() as connection:
        for binary in (False, True):
            sent = [Jsonb(value) if isinstance(value, dict) else value for value in values]
            marks = ", ".join("%b" if binary else "%s" for _ in sent)
            row = await (await connection.execute(f"select {marks}", sent, binary=binary)).fetchone()
            assert list(row) == values


@on_a_loop
async def test_rows_are_fetched_in_every_way():
    async with await connect(row_factory=dict_row) as connection, connection.cursor() as cursor:
        await cursor.execute("select n, n * n as square from generate_series(1, 1000) n")
        assert await cursor.fetchone() == {"n": 1, "square": 1}
        assert [row["n"] for row in await cursor.fetchmany(3)] == [2, 3, 4]
        assert sum([row["n"] async for row in cursor]) == sum(range(5, 1001))
        streamed = [row["n"] async for row in cursor.stream("select n from generate_series(1, 500) n")]
        assert streamed == list(range(1, 501))


@on_a_loop
async def test_cursor_of_the_server():
    async with await connect() as connection, connection.cursor("named", scrollable=True) as cursor:
        cursor.itersize = 7
        await cursor.execute("select generate_series(0, 99)")
        assert [n async for (n,) in cursor] == list(range(100))
        await cursor.scroll(10, mode="absolute")
        assert await cursor.fetchmany(2) == [(10,), (11,)]


@on_a_loop
async def test_large_values():
    async with a_table("data bytea") as connection:
        for size in (0, 1, 65536, 8_000_000):
            data = bytes(range(256)) * (size // 256)
            await connection.execute("truncate t")
            await connection.execute("insert into t values (%b)", [data])
            assert await one(connection, "select length(data) from t") == len(data)
            cursor = await connection.execute("select data from t", binary=True)
            assert (await cursor.fetchone())[0] == data


@on_a_loop
async def test_copy_in_and_out():
    async with a_table("n int, word text") as connection, connection.cursor() as cursor:
        async with cursor.copy("copy t from stdin") as copy:
            for number in range(50_000):
                await copy.write_row((number, f"word {number}"))
        assert await one(connection, "select count(*) from t") == 50_000
        async with cursor.copy("copy (select * from t order by n limit 3) to stdout") as copy:
            assert [bytes(data) async for data in copy] == [b"0\tword 0\n", b"1\tword 1\n", b"2\tword 2\n"]
        async with cursor.copy("copy t to stdout") as copy:
            assert sum([len(data) async for data in copy]) == sum(
                len(f"{n}\tword {n}\n") for n in range(50_000)
            )


@on_a_loop
async def test_copy_that_fails_leaves_nothing():
    async with a_table("n int") as connection, connection.cursor() as cursor:
        with contextlib.suppress(ArithmeticError):
            async with cursor.copy("copy t from stdin") as copy:
                await copy.write_row((1,))
                raise ArithmeticError
        assert await one(connection, "select count(*) from t") == 0
        with pytest.raises(errors.InvalidTextRepresentation):
            async with cursor.copy("copy t from stdin") as copy:
                await copy.write(b"no number\n")


@on_a_loop
async def test_transactions_and_savepoints():
    async with a_table("n int") as connection:
        async with connection.transaction():
            await connection.execute("insert into t values (1)")
            with contextlib.suppress(ArithmeticError):
                async with connection.transaction():
                    await connection.execute("insert into t values (2)")
                    raise ArithmeticError
            async with connection.transaction(force_rollback=True):
                await connection.execute("insert into t values (3)")
            await connection.execute("insert into t values (4)")
        assert await (await connection.execute("select n from t order by n")).fetchall() == [(1,), (4,)]


@on_a_loop
async def test_error_leaves_the_connection_usable():
    async with await connect() as connection:
        with pytest.raises(errors.SyntaxError):
            await connection.execute("no such statement")
        assert connection.info.transaction_status == pq.TransactionStatus.INERROR
        with pytest.raises(errors.InFailedSqlTransaction):
            await connection.execute("select 1")
        await connection.rollback()
        assert await one(connection, "select 1") == 1


@on_a_loop
async def test_pipeline():
    async with a_table("n int") as connection:
        async with connection.pipeline() as pipeline:
            for number in range(500):
                await connection.execute("insert into t values (%s)", [number])
            cursors = [await connection.execute("select %s::int", [number]) for number in range(500)]
            await pipeline.sync()
            assert [(await cursor.fetchone())[0] for cursor in cursors] == list(range(500))
        assert await one(connection, "select count(*) from t") == 500
        await connection.cursor().executemany("insert into t values (%s)", [(n,) for n in range(2000)])
        assert await one(connection, "select count(*) from t") == 2500


@on_a_loop
async def test_many_connections_at_once():
    async def ask(number):
        async with await connect() as connection:
            for turn in range(20):
                assert await one(connection, "select %s + %s", number, turn) == number + turn
        return number

    assert await asyncio.gather(*map(ask, range(40))) == list(range(40))


@on_a_loop
async def test_one_connection_is_shared_by_tasks():
    async with await connect() as connection:
        got = await asyncio.gather(*(one(connection, "select %s::int", number) for number in range(100)))
    assert got == list(range(100))


@on_a_loop
async def test_the_loop_runs_while_the_server_sleeps():
    async with await connect() as connection:
        query = asyncio.create_task(one(connection, "select 1 from pg_sleep(0.2)"))
        turns = 0
        while not query.done():
            await asyncio.sleep(0.001)
            turns += 1
        assert await query == 1
    assert turns > 3


@on_a_loop
async def test_query_that_is_cancelled_ends_on_the_server():
    async with await connect(autocommit=True) as connection, await connect(autocommit=True) as other:
        pid = connection.info.backend_pid
        query = asyncio.create_task(connection.execute("select pg_sleep(1000)"))
        await blocked(other, pid)
        query.cancel()
        with pytest.raises(asyncio.CancelledError):
            await query
        await until(other, "state <> 'active'", pid)
        # It is left in a state that can be used.
        assert await one(connection, "select 5") == 5


@on_a_loop
async def test_query_is_cancelled_through_the_server():
    async with await connect() as connection, await connect(autocommit=True) as other:
        query = asyncio.create_task(connection.execute("select pg_sleep(1000)"))
        await blocked(other, connection.info.backend_pid)
        await connection.cancel_safe(timeout=SECONDS)
        with pytest.raises(errors.QueryCanceled):
            await query


@on_a_loop
async def test_connection_that_the_server_ends():
    async with await connect(autocommit=True) as other:
        connection = await connect(autocommit=True)
        query = asyncio.create_task(connection.execute("select pg_sleep(1000)"))
        await blocked(other, connection.info.backend_pid)
        await other.execute("select pg_terminate_backend(%s)", [connection.info.backend_pid])
        with pytest.raises(errors.AdminShutdown):
            await query
        assert connection.broken
        await connection.close()


@on_a_loop
async def test_lock_is_waited_for():
    async with await connect() as first, await connect() as second, await connect(autocommit=True) as third:
        key = first.info.backend_pid
        await first.execute("select pg_advisory_xact_lock(%s)", [key])
        waiting = asyncio.create_task(second.execute("select pg_advisory_xact_lock(%s)", [key]))
        await blocked(third, second.info.backend_pid)
        assert not waiting.done()
        await first.rollback()
        await waiting


@on_a_loop
async def test_notifications():
    async with await connect(autocommit=True) as listener, await connect(autocommit=True) as sender:
        await listener.execute("listen here")

        async def send():
            for number in range(10):
                await sender.execute("select pg_notify('here', %s)", [str(number)])

        task = asyncio.create_task(send())
        got = [notify.payload async for notify in listener.notifies(timeout=SECONDS, stop_after=10)]
        await task
        assert got[:10] == list("0123456789")
        assert [notify async for notify in listener.notifies(timeout=0.05)] == []


@on_a_loop
async def test_notices():
    seen = []
    async with await connect() as connection:
        connection.add_notice_handler(lambda diagnostic: seen.append(diagnostic.message_primary))
        await connection.execute("do $$ begin raise notice 'look out'; end $$")
    assert seen == ["look out"]


@on_a_loop
async def test_two_phases():
    async with await connect() as connection, await connect() as other:
        name = connection.xid(1, str(uuid.uuid4()), "branch")
        await connection.tpc_begin(name)
        await connection.execute("select 1")
        await connection.tpc_prepare()
        assert name.gtrid in [known.gtrid for known in await other.tpc_recover()]
        await connection.tpc_rollback()
        assert name.gtrid not in [known.gtrid for known in await other.tpc_recover()]


@pytest.mark.parametrize("kind", [AsyncConnectionPool, AsyncNullConnectionPool])
@on_a_loop
async def test_pool_serves_more_than_it_has(kind):
    options = {"min_size": 3} if kind is AsyncConnectionPool else {"min_size": 0}
    async with kind("", max_size=5, timeout=SECONDS, open=False, **options) as pool:
        await pool.wait(SECONDS)
        busy = most = 0

        async def use(number):
            nonlocal busy, most
            async with pool.connection() as connection:
                busy += 1
                most = max(most, busy)
                got = await one(connection, "select %s::int from pg_sleep(0.001)", number)
                busy -= 1
            return got

        assert await asyncio.gather(*map(use, range(100))) == list(range(100))
        assert most == 5


@on_a_loop
async def test_pool_that_is_exhausted_and_one_that_heals():
    async with AsyncConnectionPool("", min_size=1, max_size=1, open=False) as pool:
        async with pool.connection() as held:
            with pytest.raises(PoolTimeout):
                async with pool.connection(timeout=0.05):
                    pass
            waiting = asyncio.create_task(pool.getconn())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            pid = held.info.backend_pid
        async with await connect(autocommit=True) as other:
            await other.execute("select pg_terminate_backend(%s)", [pid])
        with pytest.raises(psycopg.OperationalError):
            async with pool.connection() as broken:
                await broken.execute("select 1")
        async with pool.connection(timeout=SECONDS) as healed:
            assert healed.info.backend_pid != pid
            assert await one(healed, "select 1") == 1


@on_a_loop
async def test_nobody_listens():
    with pytest.raises(psycopg.OperationalError):
        await AsyncConnection.connect("host=127.0.0.1 port=1 connect_timeout=5")
