"""Linear layers whose gradients are plain two-dimensional matrix products.

By itself JAX forms the gradient of a weight from a transposed copy, which on a CPU costs half as
much as the product, and would multiply narrow gradients of a float32 product as float32.
"""

import functools
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from audiolm_jax.nn.partition import annotate


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def multiply(
    x: Float[Array, "n i"], kernel: Float[Array, "i o"], dtype: str
) -> Float[Array, "n o"]:
    """Product of matrices of one dtype, summed in float32; gradients are multiplied in theirs."""
    return jnp.matmul(x, kernel, preferred_element_type=jnp.dtype(dtype))


def _forward(x: Array, kernel: Array, dtype: str) -> tuple[Array, tuple[Array, Array]]:
    # Not by `multiply`, in which a checkpoint policy would not see the product that it may keep.
    return jnp.matmul(x, kernel, preferred_element_type=jnp.dtype(dtype)), (x, kernel)


def _backward(_: str, kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, kernel = kept
    gradient = gradient.astype(x.dtype)
    return jnp.einsum("no,io->ni", gradient, kernel), jnp.einsum("ni,no->io", x, gradient)


multiply.defvjp(_forward, _backward)


# An einsum whose sums, of whatever narrow numbers, are kept in float32.
sum_float32 = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)


class Linear(nnx.Module):
    """Product with one matrix over several dimensions at once, without bias.

    Weights start normal, truncated, of variance 1 / inputs. `inputs` and `outputs` are the sizes of
    the last dimensions, `names` holds a logical name, or None, for each of both.
    """

    def __init__(
        self,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        names: tuple[str | None, ...],
        dtype: str,
        *,
        rngs: nnx.Rngs,
    ):
        self.inputs, self.outputs, self.dtype = inputs, outputs, dtype
        flat = (math.prod(inputs), math.prod(outputs))

        def init(key: Array, shape: tuple[int, ...]) -> Array:
            return nnx.initializers.lecun_normal()(key, flat).reshape(shape)

        self.kernel = nnx.Param(annotate(init, *names)(rngs.params(), inputs + outputs))

    def __call__(self, x: Float[Array, "b l *inputs"]) -> Float[Array, "b l *outputs"]:
        """The product, over all of `inputs`."""
        kernel = self.kernel[...].astype(self.dtype)
        kernel = kernel.reshape(math.prod(self.inputs), math.prod(self.outputs))
        flat = x.astype(self.dtype).reshape(-1, kernel.shape[0])
        return multiply(flat, kernel, self.dtype).reshape(*x.shape[:2], *self.outputs)
