"""One host of several with four devices each: COORDINATOR HOSTS INDEX DIRECTORY STEPS
[BATCHES SECONDS]: held-out batches, and how long each takes to read."""

import os
import sys
import time
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"

import jax

jax.config.update("jax_cpu_collectives_implementation", "gloo")

if __name__ == "__main__":
    coordinator, hosts, index, directory, steps = sys.argv[1:6]
    count, seconds = sys.argv[6:] or ("2", "0")
    jax.distributed.initialize(coordinator, int(hosts), int(index))
    from audiolm_jax.cli.console import show_log
    from audiolm_jax.training.config import MeshConfig
    from audiolm_jax.training.mesh import host_rows, make_mesh
    from support import training_toy as toy

    show_log()
    share = list(host_rows(make_mesh(MeshConfig("fsdp", replicas=2)), toy.BATCH))

    def heldout():
        Path(directory, f"pass_of_{index}").touch()
        for number in range(int(count)):
            time.sleep(float(seconds))
            yield jax.tree.map(lambda x: x[share], toy.make_batch(2**20 + number))

    toy.heldout = heldout

    def batches(start):
        for batch in toy.batches(start):
            yield jax.tree.map(lambda x: x[share], batch)

    config = toy.loop_config(int(steps))
    state = toy.run_toy(Path(directory), config, "fsdp", batches=batches, replicas=2)
    assert len(state.step.sharding.device_set) == 4 * int(hosts)
