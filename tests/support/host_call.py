"""One host of several: COORDINATOR HOSTS INDEX MODULE:FUNCTION WORDS, calls that function."""

import importlib
import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"

import jax

jax.config.update("jax_cpu_collectives_implementation", "gloo")

if __name__ == "__main__":
    coordinator, hosts, index, function, *words = sys.argv[1:]
    if int(hosts) > 1:
        jax.distributed.initialize(coordinator, int(hosts), int(index))
    from audiolm_jax.cli.console import show_log

    show_log()
    module, name = function.split(":")
    getattr(importlib.import_module(module), name)(*words)
