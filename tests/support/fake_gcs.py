"""A server that behaves like Google Cloud Storage, for gcsfs, TensorStore and Google's client: the
package gcp_storage_emulator, with the generations and conditions that it leaves out. Started as a
program it serves on the port that it is given."""

import contextlib
import socket
import subprocess
import sys
import time
import urllib.request
from http import HTTPStatus

BUCKET = "audiolm-test"


@contextlib.contextmanager
def fake_gcs():
    """The environment in which gs://audiolm-test is an empty bucket of this machine's memory."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    url = f"http://localhost:{port}"
    silent = subprocess.DEVNULL
    server = subprocess.Popen([sys.executable, __file__, str(port)], stdout=silent, stderr=silent)
    try:
        for _ in range(300):
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


def _conditional(handler):
    def handle(request, response, storage, *rest, **options):
        name = request.params.get("object_id") or request.query.get("name", [None])[0]
        name = name or request.data["meta"]["name"]
        try:
            there = storage.get_file_obj(request.params["bucket_name"], name)["generation"]
        except Exception:  # of a class of its own
            there = "0"
        if request.query.get("ifGenerationMatch", [there])[0] != there:
            response.status = HTTPStatus.PRECONDITION_FAILED
        elif request.query.get("ifGenerationNotMatch", [None])[0] == there:
            response.status = HTTPStatus.NOT_MODIFIED
        else:
            response["x-goog-generation"] = there
            handler(request, response, storage, *rest, **options)

    return handle


if __name__ == "__main__":
    from gcp_storage_emulator.handlers import objects

    for action in ("insert", "download", "delete"):
        setattr(objects, action, _conditional(getattr(objects, action)))
    from gcp_storage_emulator.server import create_server

    create_server("localhost", int(sys.argv[1]), in_memory=True, default_bucket=BUCKET).run()
