"""The compiled functions of a trainer: the loop runs the very step that `audiolm plan` compiles."""

from typing import Any

import jax
from jax.sharding import Mesh

from audiolm_jax.training.mesh import batch_sharding, replicated
from audiolm_jax.training.state import Batch, Metrics, TrainProgram, TrainState

# By itself the TPU compiler computes the gradient of a sharded weight in as many pieces as there
# are devices, to exchange one while it computes the next. The pieces are too narrow for the matrix
# unit, which costs more than all the exchanging takes (docs/guide/tpu.md).
_ON_TPUS = {"xla_jf_spmd_threshold_for_windowed_einsum_mib": "1000000"}


def make_init(program: TrainProgram) -> Any:
    """key -> the first state, each array with the dtype that every later state has."""

    def init(key: jax.Array) -> TrainState:
        # A weakly typed zero would not survive the first update: the step would compile twice.
        return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), program.init(key))

    return init


def jit_step(program: TrainProgram, mesh: Mesh | None, shardings: Any) -> Any:
    """The jitted update (state, batch, seed key) -> (state, metrics); the state is donated.
    The program's step gets the seed key folded with the number of completed steps. Call it inside
    `use_mesh`; `shardings` are those of the state."""

    def run_step(state: TrainState, batch: Batch, key: jax.Array) -> tuple[TrainState, Metrics]:
        return program.step(state, batch, jax.random.fold_in(key, state.step))

    on_tpus = mesh is not None and mesh.devices.flat[0].platform == "tpu"
    return jax.jit(
        run_step,
        donate_argnums=0,
        out_shardings=(shardings, replicated(mesh)),
        compiler_options=_ON_TPUS if on_tpus else None,
    )


def abstract_arguments(
    abstract_state: Any, shardings: Any, batch: Batch, mesh: Mesh
) -> tuple[Any, Batch, jax.ShapeDtypeStruct]:
    """What `jit_step`'s function is lowered with, as shapes that know their place on the mesh."""

    def placed(x: Any, sharding: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

    of_batch = batch_sharding(mesh, batch)
    key = jax.eval_shape(lambda: jax.random.key(0))
    return (
        jax.tree.map(placed, abstract_state, shardings),
        jax.tree.map(lambda x: placed(x, of_batch), batch),
        placed(key, replicated(mesh)),
    )
