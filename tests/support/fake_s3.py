"""A server that behaves like S3, moto's, for s3fs."""

import contextlib
import socket
import subprocess
import sys
import time
import urllib.request

BUCKET = "audiolm-test"


@contextlib.contextmanager
def fake_s3():
    """The environment in which s3://audiolm-test is an empty bucket of this machine's memory."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    url, silent = f"http://localhost:{port}", subprocess.DEVNULL
    command = [sys.executable, "-m", "moto.server", "-H", "localhost", "-p", str(port)]
    server = subprocess.Popen(command, stdout=silent, stderr=silent)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                bucket = urllib.request.Request(f"{url}/{BUCKET}", method="PUT")
                urllib.request.urlopen(bucket).close()
                break
            time.sleep(0.1)
        yield {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": "/none",
            "AWS_SHARED_CREDENTIALS_FILE": "/none",
        }
    finally:
        server.kill()
        server.wait()
