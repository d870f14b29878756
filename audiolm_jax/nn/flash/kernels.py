"""Bodies of the flash-attention kernels for the TPU (see nn/flash/attention.py for the method).

Everything is held transposed, positions along the lanes: queries, keys and values are [k, l], a
block of scores is [keys, queries]. Maxima and sums over keys are then plain vector operations, and
64-wide heads waste no memory. One program holds the whole sequence of a head in vector memory and
walks all its blocks itself: every operand moves once, and the future is never visited.
"""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

MASKED = -1e30  # finite, so that no difference of two of them is undefined


def forward_kernel(q_ref, k_ref, v_ref, tiles_ref, o_ref, lse_ref, k_rows_ref, *, length, block):
    """Mixed values [k, l] and log-sum-exp [1, l] (float32) of one head of one sequence.

    Queries, already scaled, keys and values are [k, l]; the tiles [2, tile, tile] float32, see
    `attention.bias_tiles`. `k_rows_ref` is scratch: the keys with positions down the sublanes.
    What lies beyond `length` positions, up to l, is undefined; tile divides block, and block l.
    """
    _clear_beyond(length, q_ref, k_ref, v_ref)
    whole = q_ref.shape[1]
    for start in range(0, whole, block):
        k_rows_ref[start : start + block, :] = k_ref[:, start : start + block].T

    def query_block(i, _):
        at = _span(i, block)

        def visit(j, bias, old_top):
            scores = bias(_dot(k_rows_ref[_span(j, block), :], q_ref[:, at]))
            top = scores.max(axis=0, keepdims=True)
            if old_top is not None:
                top = jnp.maximum(old_top, top)
            weights = jnp.exp(scores - top)
            values = v_ref[:, _span(j, block)]
            mixed = _dot(values, weights.astype(values.dtype))
            return top, weights.sum(axis=0, keepdims=True), mixed

        def step(bias):
            def body(j, carry):
                old_top, total, mixed = carry
                top, more, more_mixed = visit(j, bias, old_top)
                shrink = jnp.exp(old_top - top)
                return top, total * shrink + more, mixed * shrink + more_mixed

            return body

        beside = jnp.maximum(i - 1, 0)
        carry = visit(i, lambda s: s + _diagonal(tiles_ref[...], block), None)
        carry = jax.lax.fori_loop(beside, i, step(lambda s: _add_corner(s, tiles_ref[1])), carry)
        top, total, mixed = jax.lax.fori_loop(0, beside, step(lambda s: s), carry)
        o_ref[:, at] = (mixed / total).astype(o_ref.dtype)
        lse_ref[:, at] = top + jnp.log(total)
        return 0

    jax.lax.fori_loop(0, whole // block, query_block, 0)


def backward_kernel(
    q_ref, k_ref, v_ref, tiles_ref, o_ref, lse_ref, do_ref,
    dq_ref, dk_ref, dv_ref, dtiles_ref, delta_ref, dq_sum_ref, *, length, block,
):  # fmt: skip
    """Gradients of `forward_kernel`, whose arguments and results come first and are read.

    `dtiles_ref`, the sum over the batch, is the same block for all programs of a head. `delta_ref`
    [1, l], the mean gradient of a query's weights, and `dq_sum_ref` [k, l] are float32 scratch.
    """
    _clear_beyond(length, q_ref, k_ref, v_ref, o_ref, lse_ref, do_ref)
    width, whole = q_ref.shape
    blocks, tile = whole // block, tiles_ref.shape[-1]

    @pl.when(pl.program_id(1) == 0)
    def _():
        dtiles_ref[...] = jnp.zeros_like(dtiles_ref)

    products = o_ref[...].astype(jnp.float32) * do_ref[...].astype(jnp.float32)
    delta_ref[...] = products.sum(axis=0, keepdims=True)
    dq_sum_ref[...] = jnp.zeros_like(dq_sum_ref)

    def key_block(j, _):
        keys_at = _span(j, block)
        keys, values = k_ref[:, keys_at], v_ref[:, keys_at]
        keys_down, values_down = keys.T, values.T

        def step(bias, collect):
            def body(i, carry):
                at = _span(i, block)
                queries, d_mixed = q_ref[:, at], do_ref[:, at]
                weights = jnp.exp(bias(_dot(keys_down, queries)) - lse_ref[:, at])
                d_scores = weights * (_dot(values_down, d_mixed) - delta_ref[:, at])
                collect(d_scores)
                low = d_scores.astype(queries.dtype)
                dq_sum_ref[:, at] += _dot(keys, low)
                d_keys, d_values = carry
                d_values += _dot_nt(d_mixed, weights.astype(queries.dtype))
                return d_keys + _dot_nt(queries, low), d_values

            return body

        def collect_diagonal(d_scores):
            for c in range(0, block, tile):
                dtiles_ref[0] += d_scores[c : c + tile, c : c + tile]
                if c + tile < block:
                    dtiles_ref[1] += d_scores[c : c + tile, c + tile : c + 2 * tile]

        def collect_corner(d_scores):
            dtiles_ref[1] += d_scores[block - tile :, :tile]

        carry = (jnp.zeros((width, block), jnp.float32),) * 2
        carry = step(lambda s: s + _diagonal(tiles_ref[...], block), collect_diagonal)(j, carry)
        beyond = jnp.minimum(j + 2, blocks)
        near = step(lambda s: _add_corner(s, tiles_ref[1]), collect_corner)
        carry = jax.lax.fori_loop(j + 1, beyond, near, carry)
        far = step(lambda s: s, lambda d: None)
        d_keys, d_values = jax.lax.fori_loop(beyond, blocks, far, carry)
        dk_ref[:, keys_at] = d_keys.astype(dk_ref.dtype)
        dv_ref[:, keys_at] = d_values.astype(dv_ref.dtype)
        return 0

    jax.lax.fori_loop(0, blocks, key_block, 0)
    dq_ref[...] = dq_sum_ref[...].astype(dq_ref.dtype)


def _clear_beyond(length, *refs):
    """Zeros where a sequence has ended: masked or not, an undefined number may not enter a sum."""
    start = length // 128 * 128
    for ref in refs:
        if length < ref.shape[1]:
            tail = ref[:, start:]
            exists = jax.lax.broadcasted_iota(jnp.int32, tail.shape, 1) < length - start
            ref[:, start:] = jnp.where(exists, tail, jnp.zeros_like(tail))


def _span(index, block):
    return pl.ds(pl.multiple_of(index * block, block), block)


def _dot(a, b):
    return jnp.dot(a, b, preferred_element_type=jnp.float32)


def _dot_nt(a, b):
    """[m, n] x [p, n] -> [m, p]."""
    return jax.lax.dot_general(a, b, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32)


def _diagonal(tiles, block):
    """The bias of a block of scores on the diagonal, [block, block], from [2, tile, tile]."""
    tile = tiles.shape[-1]
    far, future = jnp.zeros((tile, tile)), jnp.full((tile, tile), MASKED)
    near = {0: tiles[0], 1: tiles[1]}
    count = block // tile
    rows = [
        [near.get(query - key, future if query < key else far) for query in range(count)]
        for key in range(count)
    ]
    return jnp.concatenate([jnp.concatenate(row, axis=1) for row in rows], axis=0)


def _add_corner(scores, tile):
    """Adds the bias of neighbouring tiles to the one corner where two blocks touch."""
    size = tile.shape[0]
    start = scores.shape[0] - size
    if start == 0:
        return scores + tile
    corner = jnp.concatenate([scores[start:, :size] + tile, scores[start:, size:]], axis=1)
    return jnp.concatenate([scores[:start], corner], axis=0)
