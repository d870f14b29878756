"""`audiolm serve`: a bundle as a page on this machine."""

import dataclasses
import importlib.util
import sys
from collections.abc import Sequence

from audiolm_jax.artifacts.local_copy import scratch_folder
from audiolm_jax.cli.generate import BundleOptions
from audiolm_jax.cli.options import parse
from audiolm_jax.errors import InputError
from audiolm_jax.serve import LOOPBACK


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeOptions(BundleOptions):
    """A page in the browser: record or drop a prompt, hear how it goes on while it is made."""

    host: str = "127.0.0.1"
    """Address to listen on. Only this machine reaches the one that is taken if left out; on any
    other, such as 0.0.0.0, everybody who can reach this machine may use the page."""
    port: int = 8765
    """TCP port; 0 takes a free one."""
    waiting: int = 8
    """How many may wait while one continuation is made; more are sent away."""
    most_seconds: float = 60.0
    """The longest continuation that is taken."""
    upload_mib: float = 32.0
    """The largest prompt that is taken."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, is_good, expected in (
            ("port", 0 <= self.port < 2**16, "0 to 65535"),
            ("waiting", 1 <= self.waiting <= 1000, "1 to 1000"),
            ("most_seconds", 1 <= self.most_seconds <= 3600, "1 to 3600"),
            ("upload_mib", 0 < self.upload_mib <= 1024, "more than 0, 1024 at most"),
        ):
            if not is_good:
                flag = f"--{name.replace('_', '-')} {getattr(self, name)}"
                raise InputError(f"{flag}: expected {expected}")


def serve(arguments: Sequence[str]) -> None:
    """`audiolm serve`."""
    options = parse(ServeOptions, arguments, "audiolm serve")
    if importlib.util.find_spec("aiohttp") is None:
        raise InputError("aiohttp is missing: pip install 'audiolm_jax[serve]'")
    from audiolm_jax.serve.app import Site, run

    with scratch_folder() as folder:
        site = Site(
            options.load(),
            folder,
            most_waiting=options.waiting,
            most_seconds=options.most_seconds,
            upload_mib=options.upload_mib,
            is_local=options.host in LOOPBACK,
            is_warmed_up=True,
        )
        if options.host not in LOOPBACK:
            print(f"--host {options.host}: others can reach this page", file=sys.stderr)
        run(site.app(), options.host, options.port, lambda url: print(f"open {url}", flush=True))
