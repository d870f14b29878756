"""The tests of the runtime compile the same tiny programs again and again: once is enough."""

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache
from support.kept_programs import kept_programs


@pytest.fixture(scope="session")
def compile_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("xla")


@pytest.fixture(autouse=True, scope="module")
def _use_compile_cache(compile_cache):
    settings = {
        "jax_compilation_cache_dir": str(compile_cache),
        "jax_disable_most_optimizations": True,
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: jax.config.values[name] for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    with kept_programs():
        yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
