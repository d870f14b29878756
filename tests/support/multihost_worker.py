"""One host of several with four devices each: COORDINATOR HOSTS INDEX DIRECTORY STEPS."""

import os
import sys
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"

import jax

jax.config.update("jax_cpu_collectives_implementation", "gloo")

if __name__ == "__main__":
    coordinator, hosts, index, directory, steps = sys.argv[1:]
    jax.distributed.initialize(coordinator, int(hosts), int(index))
    from audiolm_jax.training.config import MeshConfig
    from audiolm_jax.training.mesh import host_rows, make_mesh
    from support import training_toy as toy

    share = list(host_rows(make_mesh(MeshConfig("fsdp", replicas=2)), toy.BATCH))
    whole = toy.heldout()
    toy.heldout = lambda: [jax.tree.map(lambda x: x[share], batch) for batch in whole]

    def batches(start):
        for batch in toy.batches(start):
            yield jax.tree.map(lambda x: x[share], batch)

    config = toy.loop_config(int(steps))
    state = toy.run_toy(Path(directory), config, "fsdp", batches=batches, replicas=2)
    assert len(state.step.sharding.device_set) == 4 * int(hosts)
