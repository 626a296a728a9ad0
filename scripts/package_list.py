"""The packages whose own test suites are run on sabio, and what each needs for that.

One entry a package. Its version and those of everything that its tests need are pinned in
`requirements/packages/NAME.txt`, which `packages.py --pin NAME` writes. A package whose sdist has no tests is run by
checks of our own, `tests/packages/check_NAME.py`.

Called by `packages.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

SENTINEL = "it asks Sentinels and what they watch, on their usual ports"
WITH_SENTINEL = (
    "master_for",
    "slave_for",
    "replica_for",
    "repr_correctly_represents_connection_object",
    "get_sentinels",
    "get_master_addr_by_name",
    "redis_master_usage",
    "sentinel_commands_with_strict_redis_client",
    "himport_prepare_set_survives_reconnect",
)
DISTRIBUTED_CONFTEST = """\
import asyncio

policy = asyncio.get_event_loop_policy()
from distributed.utils_test import *


def pytest_runtest_setup():
    # distributed has put one of its own there, and pytest-asyncio takes it away after each test.
    asyncio.set_event_loop_policy(policy)
"""
AIOCONSOLE_CONFTEST = """\
import asyncio


class Loop(asyncio.SelectorEventLoop):
    def __init__(self, selector=None):
        super().__init__()


# It derives classes from these, and the loop's is given None for a selector.
asyncio.SelectorEventLoop = Loop
asyncio.DefaultEventLoopPolicy = type(asyncio.get_event_loop_policy())
"""
SANIC_CONFTEST = """\
import sys

# Where uvloop is to be had it takes the place of every other loop.
sys.modules["uvloop"] = None
"""
DJANGO_TESTS = (
    *("asgi", "async", "cache/tests_async.py", "decorators", "generic_relations", "handlers"),
    *("middleware_exceptions", "pagination", "sessions_tests", "signals", "tasks", "test_client"),
    *(
        f"auth_tests/test_{name}.py"
        for name in ("auth_backends", "basic", "decorators", "middleware", "models")
    ),
    "auth_tests/test_remote_user.py",
)
DJANGO_CONFTEST = f"""\
import atexit
import os
import shutil
import sys
import tempfile

# All that tests/runtests.py does before it runs the tests.
sys.path.insert(0, "tests")
os.environ["DJANGO_SETTINGS_MODULE"] = "test_sqlite"
tempfile.tempdir = os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="django_")
atexit.register(shutil.rmtree, tempfile.tempdir)
import runtests
from django.test.utils import setup_databases, setup_test_environment

runtests.setup_run_tests(0, None, None, {sorted({name.partition("/")[0] for name in DJANGO_TESTS})})
setup_test_environment()
setup_databases(0, False)
"""


@dataclass(frozen=True)
class Package:
    """A package of the index and how its tests are run."""

    name: str
    #: What its tests need besides pytest, as requirements; the package itself is meant, with extras or without.
    needs: tuple[str, ...] = ()
    extras: str = ""
    #: The version of CPython that it is run on, whatever is asked for: what is some years old knows no newer one.
    python: str = ""
    #: What pytest is given, relative to the unpacked sdist.
    tests: tuple[str, ...] = ("tests",)
    #: Folders of the sdist that get another name: tests that lie inside of the package.
    moved: Mapping[str, str] = field(default_factory=dict)
    #: Folders that are removed after that: the installed package is to be tested, not the one that lies there.
    source: tuple[str, ...] = ()
    #: Further options of pytest. The suite's own `addopts` are not used: they start coverage and further processes.
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    #: A conftest.py beside the tests, for what the suite's own runner does before it starts.
    conftest: str = ""
    #: Servers that have to run, by their names in `package_servers.py`.
    servers: tuple[str, ...] = ()
    #: Tests, or files and folders of them, that are not run on any loop, and why not.
    left_out: Mapping[str, str] = field(default_factory=dict)
    #: Differences that are no bugs of sabio: a pattern of tests' names, and why.
    explained: Mapping[str, str] = field(default_factory=dict)
    #: Its sdist has no tests: what is run is `tests/packages/check_NAME.py`.
    checks: bool = False

    def explanation(self, test: str) -> str:
        """Why a test may end otherwise on sabio; empty if nobody has shown that."""
        return next((why for pattern, why in self.explained.items() if re.fullmatch(pattern, test)), "")

    @property
    def paths(self) -> tuple[str, ...]:
        """What pytest is given."""
        return (self.own_checks,) if self.checks else self.tests

    @property
    def own_checks(self) -> str:
        """The name of the file of our own checks."""
        return f"check_{self.name.replace('-', '_')}.py"

    @property
    def title(self) -> str:
        """The package's name, and that its tests are ours where they are."""
        return self.name + (" (own checks)" if self.checks else "")

    @property
    def requirement(self) -> str:
        """The package as pip takes it, without a version."""
        return self.name + (f"[{self.extras}]" if self.extras else "")


PACKAGES = (
    Package("janus", ("pytest-asyncio", "pytest-codspeed"), source=("janus",)),
    Package("aiofiles", ("pytest-asyncio",), source=("src",)),
    Package(
        "pytest-asyncio",
        ("hypothesis",),
        source=("pytest_asyncio",),
        options=("-o", "python_files=test_*.py *_example.py"),
        tests=("docs", "tests"),
    ),
    Package(
        "anyio",
        ("blockbuster", "hypothesis", "psutil", "pytest-mock", "trustme", "truststore"),
        source=("src",),
        explained={
            r"tests/test_subprocesses\.py::test_(process_cwd|process_new_session_sid|user_group_arguments)\[.*": (
                "blockbuster forbids os.read in coroutines, also to subprocess.Popen, unless a function of "
                "asyncio/base_events.py is on the stack; sabio starts processes by the same Popen from native code"
            ),
        },
    ),
    Package("websockets", ("trustme",), checks=True),
    Package(
        "uvicorn",
        (
            "a2wsgi",
            "cryptography",
            "httptools",
            "httpx2",
            "pytest-codspeed",
            "pytest-mock",
            "python-dotenv",
            "PyYAML",
            "trustme",
            "watchfiles",
            "websockets",
            "wsproto",
        ),
        source=("uvicorn",),
        explained={
            r"tests/test_auto_detection\.py::test_loop_auto": "it asks whether the loop is of a module called asyncio",
            r"tests/test_config\.py::test_get_loop_factory\[asyncio-.*\]": (
                "the test is named after the class that asyncio.SelectorEventLoop stands for"
            ),
        },
    ),
    Package(
        "starlette",
        ("blockbuster", "httpx2[zstd]", "importlib-metadata", "opentelemetry-sdk", "pytest-codspeed", "trio"),
        extras="full",
        source=("starlette",),
    ),
    Package(
        "httpx",
        ("chardet", "cryptography", "trio", "trustme", "uvicorn"),
        extras="brotli,cli,http2,socks,zstd",
        source=("httpx",),
    ),
    Package(
        "tornado",
        moved={"tornado/test": "suite"},
        source=("tornado",),
        tests=("suite",),
        options=("-o", "python_files=*_test.py"),
        conftest='import logging\n\nlogging.getLogger("tornado.access").setLevel(logging.CRITICAL)\n',
    ),
    Package(
        "aiohttp",
        (
            "blockbuster",
            "coverage",
            "freezegun",
            "isal",
            "proxy.py",
            "pytest-codspeed",
            "pytest-mock",
            "python-on-whales",
            "re-assert",
            "setuptools-git",
            "trustme",
            "zlib-ng",
        ),
        extras="speedups",
        source=("aiohttp",),
        options=("-m", "not dev_mode and not autobahn and not internal"),
        explained={
            r"tests/test_(connector\.py::test_unix_connector|web_runner\.py::test_addresses)\[.*": (
                "blockbuster forbids os.stat in coroutines unless a function of asyncio/unix_events.py is on the "
                "stack, where create_unix_server() looks at the path; sabio does so from native code"
            ),
            r"tests/test_web_functional\.py::test_keepalive_expires_on_time\[.*": (
                "it replaces loop.time(), which sabio's timers did not follow when this was run; they do now"
            ),
        },
    ),
    Package(
        "asyncssh",
        ("bcrypt", "fido2", "pyopenssl"),
        source=("asyncssh",),
        # The rest is about keys, files and ciphers, and takes a quarter of an hour.
        tests=tuple(
            f"tests/test_{part}.py" for part in ("channel", "forward", "process", "stream", "tuntap")
        ),
    ),
    Package("aioquic", ("trustme",), source=("src",)),
    Package(
        "aioftp",
        ("async-timeout", "pytest-asyncio", "pytest-mock", "siosocks", "trustme"),
        source=("src",),
    ),
    Package(
        "hypercorn",
        ("httpx", "hypothesis", "mock", "pytest-asyncio", "pytest-trio", "trio"),
        source=("src",),
    ),
    Package(
        "fastapi",
        (
            "a2wsgi",
            "coverage",
            "dirty-equals",
            "flask",
            "inline-snapshot",
            "logfire",
            "mypy",
            "opentelemetry-exporter-otlp-proto-http",
            "opentelemetry-instrumentation-fastapi",
            "opentelemetry-sdk",
            "pwdlib[argon2]",
            "pyjwt",
            "pytest-codspeed",
            "pytest-xdist[psutil]",
            "sentry-sdk",
            "sqlmodel",
            "strawberry-graphql",
            "trio",
            "typer",
        ),
        extras="all",
        source=("fastapi",),
    ),
    Package(
        "aiosqlite",
        moved={"aiosqlite/tests": "suite"},
        source=("aiosqlite",),
        tests=("suite",),
        options=("-o", "python_files=*.py"),
    ),
    # Dask's scheduler and workers. This is the last version whose sdist has tests.
    Package(
        "distributed",
        (
            *("distributed==2021.6.2", "dask==2021.6.2", "tornado<6.2", "setuptools<81"),
            *("pytest<8", "pytest-asyncio<0.16", "cryptography"),
        ),
        python="3.11",
        moved={"distributed/comm/tests": "comm", "distributed/tests": "core"},
        source=("distributed",),
        tests=(
            "comm/test_comms.py",
            *(f"core/test_{name}.py" for name in ("batched", "core", "locks", "utils_comm")),
        ),
        options=("--import-mode=importlib",),
        conftest=DISTRIBUTED_CONFTEST,
    ),
    Package(
        "asyncpg",
        ("distro",),
        source=("asyncpg",),
        options=("--import-mode=importlib", "--assert=plain"),
        servers=("postgresql",),
    ),
    Package("psycopg", extras="binary,pool", servers=("postgresql",), checks=True),
    Package(
        "redis",
        (
            "pytest-asyncio",
            "numpy",
            "packaging",
            "PyJWT",
            "pybreaker",
            "redis-entraid",
            "xxhash",
            "cryptography",
            "mock",
        ),
        source=("redis",),
        tests=("tests/test_asyncio",),
        options=(
            "--redis-url={REDIS_URL}",
            "--redis-mod-url={REDIS_URL}",
            "-m",
            "not onlycluster and not redismod and not ssl and not replica and not cp_integration "
            "and not multidb_integration",
        ),
        servers=("redis",),
        left_out={
            **{f"tests/test_asyncio/test_sentinel.py::test_{name}": SENTINEL for name in WITH_SENTINEL},
            "tests/test_asyncio/test_scenario": "it needs a database that is run by Redis Enterprise",
        },
    ),
    Package("grpcio", ("trustme",), checks=True),
    Package(
        "pyzmq",
        ("pytest-asyncio", "tornado", "pymongo"),
        source=("zmq",),
        left_out={
            "tests/test_log.py::TestPubLog::test_blank_root_topic": (
                "without any event loop it waits for a message that ZeroMQ drops if the subscriber is not known yet, "
                "and then the tests behind it fail"
            ),
        },
    ),
    Package("nats-py", servers=("nats",), checks=True),
    # What it does with asyncio, and its dialect's and engine's suites on aiosqlite. Its conftest.py reads `lib`, out of
    # which nothing is imported.
    Package(
        "sqlalchemy",
        extras="aiosqlite",
        source=("lib/sqlalchemy/orm",),
        tests=(
            "test/base/test_concurrency.py",
            "test/dialect/sqlite",
            "test/dialect/test_suite.py",
            "test/engine",
            "test/ext/asyncio",
        ),
        options=("--db=aiosqlite", "-p", "no:logging"),
        environment={"PYTHONNOUSERSITE": "1"},
    ),
    Package(
        "sanic",
        (
            *("beautifulsoup4", "chardet<4", "cryptography", "docutils", "pytest-asyncio"),
            *("pytest-benchmark", "sanic-testing", "uvicorn", "websockets<17"),
        ),
        extras="http3",
        source=("sanic",),
        options=("-o", "asyncio_mode=auto"),
        conftest=SANIC_CONFTEST,
        left_out={
            "tests/test_app.py::test_app_websocket_parameters": (
                "its client waits for an answer of a mock, and nobody ends that but the bound of time"
            ),
        },
    ),
    # Where there are coroutines among the tests; the other folders know of no event loop.
    Package(
        "django",
        ("aiosmtpd", "argon2-cffi", "bcrypt", "docutils", "jinja2", "Pillow", "PyYAML", "tblib", "tzdata"),
        source=("django",),
        tests=tuple(f"tests/{name}" for name in DJANGO_TESTS),
        options=("-o", "python_files=test*.py"),
        conftest=DJANGO_CONFTEST,
    ),
    Package("aiosmtplib", ("aiosmtpd", "hypothesis", "pytest-asyncio", "trustme"), source=("src",)),
    # Its tests lie inside of the package and import each other from there, so that it is run out of the sdist.
    Package(
        "aiosmtpd",
        ("pytest-asyncio", "pytest-mock", "setuptools<81"),
        tests=("aiosmtpd/tests",),
        # It makes errors of warnings, and is older than some.
        options=("-W", "ignore:pkg_resources is deprecated:UserWarning", "-W", "ignore::DeprecationWarning"),
    ),
    Package(
        "aioconsole",
        ("pytest-asyncio", "pytest-repeat"),
        source=("aioconsole",),
        conftest=AIOCONSOLE_CONFTEST,
    ),
    Package(
        "python-engineio",
        ("aiohttp", "pytest-asyncio", "requests", "tornado", "websocket-client"),
        source=("src",),
    ),
    Package(
        "python-socketio",
        (
            *("aiohttp", "msgpack", "pytest-asyncio", "redis", "requests"),
            *("simple-websocket", "uvicorn", "valkey", "websocket-client"),
        ),
        source=("src",),
    ),
    Package(
        "textual",
        ("httpx", "pytest-asyncio", "pytest-xdist"),
        extras="syntax",
        source=("src",),
        left_out={"tests/snapshot_tests": "its sdist has no pictures to compare with"},
    ),
    Package(
        "graphql-core",
        ("anyio", "pytest-benchmark", "pytest-codspeed", "pytest-describe"),
        source=("src",),
    ),
)

BY_NAME: dict[str, Package] = {package.name: package for package in PACKAGES}
