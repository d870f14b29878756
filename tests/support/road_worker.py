"""One of several processes that train one part after the other: COORDINATOR COUNT INDEX CONFIG ...
where CONFIG may be CONFIG:STEPS."""

import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import jax

jax.config.update("jax_cpu_collectives_implementation", "gloo")

if __name__ == "__main__":
    coordinator, count, index, *configs = sys.argv[1:]
    from audiolm_jax.cli.configured import configured
    from audiolm_jax.cli.console import show_log
    from audiolm_jax.training.distributed import DistributedConfig, joined

    show_log()
    with joined(DistributedConfig(coordinator, int(count), int(index))):
        for config in configs:
            path, _, steps = config.partition(":")
            more = ["--loop.steps", steps] if steps else []
            configured("train", [path, "--mesh.preset", "fsdp", *more]).run()
