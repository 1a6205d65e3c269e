"""
A real S3 server for tests: OpenStack Swift with its S3 API, from PyPI, in an environment of its own.

    python -m tests.support.swift install        # once, into .venv-swift
    python -m tests.support.swift run DIR PORT   # until Ctrl-C
"""

from __future__ import annotations

import fcntl
import getpass
import http.client
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from shared.storage.s3 import Connection, connect
from tests.support.ports import free_port

HERE = Path(__file__).parent
ENVIRONMENT = HERE.parents[1] / ".venv-swift"
SPARE = HERE.parents[1] / ".venv-swift-data"
PYTHON = ENVIRONMENT / "bin" / "python"
REQUIREMENTS = HERE / "swift-requirements.txt"
BACKENDS = ("account", "container", "object")
START_SECONDS = 60.0
STOP_SECONDS = 10.0


def install() -> None:
    """Make Swift's environment if it is not there yet; safe to call from several processes at once."""
    wanted = f"Python {sys.version}\n{REQUIREMENTS.read_text()}"
    stamp = ENVIRONMENT / "installed"
    with REQUIREMENTS.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        # Our own pip fills it: a Debian python3 cannot put one into a new environment.
        pip: list[str | Path] = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            PYTHON,
            "--disable-pip-version-check",
            "install",
            "--quiet",
        ]
        _run([sys.executable, "-m", "venv", "--clear", "--without-pip", ENVIRONMENT])
        _run([*pip, "--requirement", REQUIREMENTS])
        stamp.write_text(wanted)


class SwiftServer:
    """
    An S3 server on loopback whose data live in `folder`, so that it can be stopped and started again.

    Attributes:
        endpoint: its URL
        access_key: of the one user, who may do everything
        secret_key: of the same

    """

    access_key = "test:tester"  # Swift wants account:user

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder.resolve()
        self.port = port or free_port()
        self.secret_key = secrets.token_hex(16)
        self._ports = {kind: free_port() for kind in BACKENDS}
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def endpoint(self) -> str:
        """The URL of the S3 API."""
        return f"http://127.0.0.1:{self.port}"

    @cached_property
    def connection(self) -> Connection:
        """Clients for it; made once, because making them takes boto3 half a second."""
        return connect(
            endpoint=self.endpoint,
            public_endpoint=None,
            region=None,
            access_key=self.access_key,
            secret_key=self.secret_key,
        )

    def prepare(self) -> None:
        """Write configuration and rings."""
        for name in ("etc", "log", "cache", "srv/d1"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        if not has_xattrs(self.folder):
            raise RuntimeError(f"{self.folder} is on a file system without extended attributes; Swift needs them")
        for name, text in self._configuration().items():
            (self.folder / "etc" / name).write_text(text)
        salt = self.folder / "etc" / "swift.conf"
        if not salt.exists():  # with another one, data from before would not be found
            salt.write_text(SWIFT.format(suffix=secrets.token_hex(8)))
        pairs = [f"{kind}={port}" for kind, port in self._ports.items()]
        _run([PYTHON, "-P", HERE / "rings.py", self.folder / "etc", *pairs])

    def start(self) -> None:
        """Start the four servers and wait until each answers."""
        try:
            for kind in (*BACKENDS, "proxy"):
                self._processes.append(self._launch(kind))
            for port in (*self._ports.values(), self.port):
                self._wait(port)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop them; the data stay."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes = []

    def _launch(self, kind: str) -> subprocess.Popen[bytes]:
        program = ENVIRONMENT / "bin" / f"swift-{kind}-server"
        with (self.folder / "log" / f"{kind}.log").open("ab") as log:
            return subprocess.Popen(
                [PYTHON, program, self.folder / "etc" / f"{kind}-server.conf", "--verbose"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONWARNINGS": "ignore"},
            )

    def _wait(self, port: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and all(each.poll() is None for each in self._processes):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
                connection.request("GET", "/healthcheck")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                time.sleep(0.05)
            finally:
                connection.close()
        logs = "\n".join(path.read_text()[-1500:] for path in (self.folder / "log").iterdir())
        raise RuntimeError(f"Swift did not start on port {port}:\n{logs}")

    def _configuration(self) -> dict[str, str]:
        common = COMMON.format(folder=self.folder, user=getpass.getuser())
        files = {
            f"{kind}-server.conf": BACKEND.format(common=common, port=port, kind=kind)
            for kind, port in self._ports.items()
        }
        account, user = self.access_key.split(":")
        files["proxy-server.conf"] = PROXY.format(
            common=common, port=self.port, account=account, user=user, secret=self.secret_key
        )
        return files


@dataclass(frozen=True)
class Bucket:
    """
    An empty bucket.

    Attributes:
        name: of the bucket
        server: that holds it

    """

    name: str
    server: SwiftServer

    @property
    def url(self) -> str:
        """What VFQ_STORAGE_URL would be."""
        return f"s3://{self.name}"

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `open_storage`."""
        return {
            "endpoint": self.server.endpoint,
            "access_key": self.server.access_key,
            "secret_key": self.server.secret_key,
        }

    @property
    def environment(self) -> dict[str, str]:
        """The settings of a process that uses it."""
        return {"VFQ_STORAGE_URL": self.url} | {f"VFQ_S3_{name.upper()}": value for name, value in self.options.items()}


def make_bucket(server: SwiftServer, name: str | None = None) -> Bucket:
    """Create a bucket, with a name of its own if none is given; one that is there already will do."""
    bucket = Bucket(name or f"bucket-{secrets.token_hex(6)}", server)
    client = server.connection.client
    with suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=bucket.name)
    return bucket


@contextmanager
def swift_server(folder: Path, port: int | None = None) -> Iterator[SwiftServer]:
    """Install Swift if need be and run it, its data in `folder`, or elsewhere if that has no xattrs."""
    install()
    with ExitStack() as stack:
        if not has_xattrs(folder):  # as /tmp in memory, on kernels before 6.6
            SPARE.mkdir(exist_ok=True)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=SPARE)))
        server = _started(folder, port)
        stack.callback(server.stop)
        yield server


def _started(folder: Path, port: int | None) -> SwiftServer:
    for attempt in range(3):  # someone may take a port between its choice and its use
        server = SwiftServer(folder, port)
        server.prepare()
        try:
            server.start()
            return server
        except RuntimeError:
            if attempt == 2:
                raise
    raise AssertionError("unreachable")


def has_xattrs(folder: Path) -> bool:
    """Whether files in `folder` can have extended attributes."""
    with tempfile.NamedTemporaryFile(dir=folder) as probe:
        try:
            os.setxattr(probe.name, "user.vfq", b"1")
        except OSError:
            return False
    return True


def _run(command: Sequence[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{(done.stdout + done.stderr)[-3000:]}")


def run(folder: Path, port: int) -> None:
    """Serve until Ctrl-C or SIGTERM; prints the settings of a service that uses it, as NAME=value."""
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), swift_server(folder, port) as server:
        for name, value in make_bucket(server, "voicefixer-queue").environment.items():
            print(f"{name}={value}", flush=True)
        threading.Event().wait()


def main(arguments: list[str]) -> None:
    """Serve the command line."""
    match arguments:
        case ["install"]:
            install()
        case ["run", folder, port]:
            run(Path(folder), int(port))
        case _:
            sys.exit(__doc__)


COMMON = """\
bind_ip = 127.0.0.1
workers = 0
user = {user}
swift_dir = {folder}/etc
devices = {folder}/srv
recon_cache_path = {folder}/cache
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
log_level = WARNING
"""

SWIFT = """\
[swift-hash]
swift_hash_path_suffix = {suffix}
[storage-policy:0]
name = one
default = yes
"""

BACKEND = """\
[DEFAULT]
bind_port = {port}
{common}
[pipeline:main]
pipeline = healthcheck {kind}-server
[filter:healthcheck]
use = egg:swift#healthcheck
[app:{kind}-server]
use = egg:swift#{kind}
"""

PROXY = """\
[DEFAULT]
bind_port = {port}
{common}
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck listing_formats bulk s3api tempauth copy slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
# one node: never shun it
error_suppression_limit = 1000000
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
dns_compliant_bucket_names = true
min_segment_size = 5242880
max_upload_part_num = 10000
[filter:tempauth]
use = egg:swift#tempauth
user_{account}_{user} = {secret} .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
"""

if __name__ == "__main__":
    main(sys.argv[1:])
