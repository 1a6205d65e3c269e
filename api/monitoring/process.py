"""The process that is asked: what runs in it, and what it uses."""

import platform

from prometheus_client import CollectorRegistry, Info, ProcessCollector

from shared.version import running_version


def watch_process(registry: CollectorRegistry) -> None:
    """Tell version, memory, processor time, open files and start of this process, as `/proc` has them."""
    build = Info("voicefixer_queue_build", "What runs here.", registry=registry)
    build.info({"version": running_version(), "python": platform.python_version()})
    ProcessCollector(namespace="voicefixer_queue", registry=registry)
