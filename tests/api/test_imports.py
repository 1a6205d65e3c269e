import subprocess
import sys

HEAVY = ("torch", "soundfile", "av", "librosa", "soxr", "numpy", "worker")


def test_the_api_loads_neither_networks_nor_codecs():
    code = f"import sys, api.app, api.server; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
