"""A server that behaves like Google Cloud Storage, for gcsfs, TensorStore and Google's client."""

import contextlib
import importlib.util
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

BUCKET = "audiolm-test"


@contextlib.contextmanager
def fake_gcs():
    """The environment in which gs://audiolm-test is an empty bucket of this machine's memory."""
    for package in ("gcsfs", "gcp_storage_emulator"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    url = f"http://localhost:{port}"
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--host", "localhost"]
    server = subprocess.Popen(
        [*command, "--port", str(port), "--in-memory", "--default-bucket", BUCKET],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}/storage/v1/b/{BUCKET}").close()
                break
            time.sleep(0.1)
        yield {
            "STORAGE_EMULATOR_HOST": url,
            "TENSORSTORE_GCS_HTTP_URL": url,
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # it would ask Google for the bucket
            "FSSPEC_GCS_TOKEN": "anon",
        }
    finally:
        server.kill()
        server.wait()
