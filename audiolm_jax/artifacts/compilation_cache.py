"""Compiled programs kept from one start to the next, by JAX's own cache.

It lies in the user's cache folder, or where JAX_COMPILATION_CACHE_DIR says; that variable empty, or
JAX_ENABLE_COMPILATION_CACHE=false, switches it off. Results are the same with it and without.
"""

import functools
import hashlib
import logging
import os
import platform
import uuid
import warnings
from pathlib import Path

NAME = "audiolm_jax"

logger = logging.getLogger(__name__)


@functools.cache
def use_compilation_cache() -> None:
    """Has JAX keep what it compiles from now on, unless the process or the environment has said
    where; says once where. A folder that cannot be written is read, one that cannot be read is let
    alone. Several processes may share it."""
    import jax

    settings = jax.config.values
    if not settings["jax_enable_compilation_cache"]:
        return
    chosen = settings["jax_compilation_cache_dir"]
    if chosen is None and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        chosen = str(_usual_folder())
    if not chosen:
        return
    if "://" not in chosen and (reason := _unusable(Path(chosen))) is not None:
        if not Path(chosen).is_dir():
            logger.info(f"compiled programs are not kept: {chosen} {reason}")
            jax.config.update("jax_compilation_cache_dir", None)
            return
        logger.info(f"compiled programs are read from {chosen}, new ones not kept: it {reason}")
        warnings.filterwarnings("ignore", "Error writing persistent compilation cache entry")
    else:
        logger.info(f"compiled programs are kept in {chosen}")
    # Half an entry that a killed process left costs a compilation, not the run.
    warnings.filterwarnings("ignore", "Error reading persistent compilation cache entry")
    jax.config.update("jax_compilation_cache_dir", chosen)
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _usual_folder() -> Path:
    """Of this kind of processor and version alone: a home may be shared by many machines, and code
    for one may not run on another."""
    import jaxlib.version
    import platformdirs

    facts = [jaxlib.version.__version__, platform.machine(), platform.system(), _features()]
    key = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]
    return platformdirs.user_cache_path(NAME) / "compiled" / key


def _features() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _unusable(folder: Path) -> str | None:
    """Why no file can be put into a folder, which is made if need be; None if it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{uuid.uuid4().hex}"
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        return f"cannot be written ({error.strerror})"
    return None
