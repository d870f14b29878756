"""Autoregressive decoding of a stage: few programs, a cache per layer, a seed per row.

A row's result depends on its own prompt, key and settings alone, bit for bit: its prompt is run by
itself, and it decodes only with rows of equal sizes that are at the same level, whose number
changes nothing. Nor does it matter in how many pieces a decoding advances.

Sizes. The slots for a prompt and the room for its tokens are rounded up to multiples of `BUCKET`,
rows to powers of two. How many steps run is decided inside the program (loop.py).
"""

import contextlib
import copy
import dataclasses
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Key

from audiolm_jax.errors import InputError
from audiolm_jax.generation import loop
from audiolm_jax.generation.config import Sampling
from audiolm_jax.generation.sampling import draw_of, legal_table
from audiolm_jax.lm.config import Precision, StageModelConfig
from audiolm_jax.lm.weights import arithmetic, decoding_weights
from audiolm_jax.nn.columns import LANES
from audiolm_jax.nn.partition import Rules, parts_along
from audiolm_jax.stages import EOS, PAD, without_condition

BUCKET = 256
MOST_ROWS = 32  # decoded together; more are decoded in groups. On a CPU: `LANES`


class Continuation(NamedTuple):
    """What one row generated."""

    ids: np.ndarray  # int32, new ids of the stage's vocabulary without EOS
    log_probs: np.ndarray  # float32, of each id under the model: legal ids and EOS, temperature 1
    ended: bool  # whether the row stopped at EOS rather than at the number of steps asked for


@dataclasses.dataclass
class _Group:
    """Rows that decode together, and where they stand."""

    rows: list[int]  # their places in the request; guided rows stand once more behind them
    request: loop.Request
    carry: loop.Carry
    reached: int = 0  # tokens asked of the device so far


def round_up(length: int) -> int:
    """The smallest multiple of `BUCKET` that holds `length`."""
    return -(-length // BUCKET) * BUCKET


class StageDecoder:
    """A trained stage, ready to write tokens."""

    def __init__(
        self,
        config: StageModelConfig,
        arrays: dict[str, np.ndarray],
        where: str = "stage model",
        weights: Precision = "trained",
        mesh: Mesh | None = None,
        rules: Rules | None = None,
    ):
        """Takes config and arrays of a "stage" model folder; InputError if they do not fit.

        `weights` is how matrices are stored (`decoding_weights`). On a `mesh`, weights, caches and
        rows are divided by its `rules`; results then equal those of one device up to rounding.
        """
        self.config = config
        self._mesh = mesh
        self._is_rehearsal = False
        self._how = arithmetic(config.decoder, weights, rules)
        self._table = legal_table(config.stage)
        self._weights = decoding_weights(config, arrays, where, weights, mesh, rules)
        self._parts = 1 if mesh is None or rules is None else parts_along("batch", mesh, rules)

    def rehearsing(self) -> "StageDecoder":
        """One of the same programs that runs them for their compilation alone: it reads prompts,
        and writes legal tokens of no meaning without a step."""
        other = copy.copy(self)
        other._is_rehearsal = True
        return other

    def open(
        self,
        prompts: list[Int[np.ndarray, " _"]],
        target_offset: list[int],
        steps: list[int],
        keys: Key[Array, " b"],
        sampling: Sampling,
        allow_end: list[bool],
    ) -> "Decoding":
        """Reads every prompt; the decoding that is returned then writes up to `steps` tokens each.

        A prompt, as `stages` builds it, ends in the `target_offset` target tokens known already.
        `keys` are one a row (`sampling.seed_key`), and where `allow_end` a row may stop at EOS
        where a frame may begin. InputError for a sampling that makes no sense.
        """
        sampling = sampling.settled(self.config.stage)
        self._check_sampling(sampling)
        self._check_rows(prompts, target_offset, steps, keys, allow_end)
        groups: dict[tuple[int, int, int], list[int]] = {}
        for row, prompt in enumerate(prompts):
            if steps[row]:
                level = target_offset[row] % len(self._table)
                sizes = round_up(len(prompt) - 1), round_up(steps[row]), level
                groups.setdefault(sizes, []).append(row)
        words = np.asarray(jax.random.key_data(keys)) if prompts else np.zeros((0, 2), np.uint32)
        opened = []
        most = (LANES if self._how.by_lanes else MOST_ROWS) // (2 if sampling.is_guided else 1)
        with self._on_mesh():
            for (start, room, _), rows in groups.items():
                for first in range(0, len(rows), most):
                    members = rows[first : first + most]
                    told = [prompts[row] for row in members]
                    untold = [without_condition(x) for x in told] if sampling.is_guided else []
                    carry, size = self._read([*told, *untold], start, room)
                    pairs = np.arange(len(told) + len(untold)) % len(members)
                    twice = np.asarray(members)[pairs]
                    request = loop.Request(
                        _fill([len(prompts[row]) - 1 for row in twice], size, np.int32),
                        np.int32(start),
                        _fill([target_offset[row] for row in twice], size, np.int32),
                        _fill(words[twice], size, np.uint32),
                        _fill([allow_end[row] for row in twice], size, np.bool_),
                        _fill(pairs, size, np.int32),
                        _fill(pairs + len(untold), size, np.int32),
                        draw_of(sampling),
                    )
                    opened.append(_Group(members, request, carry))
        return Decoding(self, opened, steps, sampling)

    def generate(
        self,
        prompts: list[Int[np.ndarray, " _"]],
        target_offset: list[int],
        steps: list[int],
        keys: Key[Array, " b"],
        sampling: Sampling,
        allow_end: list[bool],
    ) -> list[Continuation]:
        """All that `open` asks for, at once."""
        decoding = self.open(prompts, target_offset, steps, keys, sampling, allow_end)
        decoding.advance(steps)
        return decoding.results()

    def score(self, tokens: Int[np.ndarray, " l"], target_start: int) -> Float[np.ndarray, " _"]:
        """Log-probabilities, as in `Continuation`, of tokens from `target_start` >= 1 on, in one
        pass; the target stream begins there. Minus infinity for an illegal one."""
        if not 1 <= target_start <= len(tokens):
            raise ValueError(
                f"target_start {target_start} of {len(tokens)} tokens: expected 1 or more"
            )
        if target_start == len(tokens):
            return np.zeros(0, np.float32)
        self._check_ids(tokens)
        size = round_up(len(tokens) - 1)
        read, following = (_fill(part, size, np.int32) for part in (tokens[:-1], tokens[1:]))
        positions = np.maximum(np.arange(size, dtype=np.int32) - (target_start - 1), 0)
        with self._on_mesh():
            x = self._run_prompt(read)[0]
            stage = self.config.stage
            arguments = self._weights, self._table, x, read, following, positions
            found = loop.score(*arguments, how=self._how, stage=stage)
        return np.asarray(found)[target_start - 1 : len(tokens) - 1]

    def _read(self, prompts: list[np.ndarray], start: int, room: int) -> tuple[loop.Carry, int]:
        """A group that has read all but the last token of its prompts, and its number of rows.

        On a CPU that is always `LANES`: only the caches have fewer, whose size costs.
        """
        rows = max(1 << (len(prompts) - 1).bit_length(), self._parts)
        caches = loop.empty_caches(how=self._how, rows=rows, slots=start + room)
        size = LANES if self._how.by_lanes else rows
        done: dict[bytes, list] = {}  # equal prompts are read once
        for row, prompt in enumerate(prompts):
            if len(prompt) == 1:
                continue
            read = _fill(prompt[:-1], start, np.int32)
            if (pairs := done.get(read.tobytes())) is None:
                pairs = done[read.tobytes()] = self._run_prompt(read)[1]
            caches = [
                loop.insert(cache, key, value, np.int32(row), how=self._how.of_one_layer())
                for cache, (key, value) in zip(caches, pairs, strict=True)
            ]
        carry = loop.Carry(
            np.int32(0),
            _fill([prompt[-1] for prompt in prompts], size, np.int32),
            np.zeros((size, room), np.int32),
            np.zeros((size, room), np.float32),
            np.arange(size) >= len(prompts),
            caches,
        )
        return carry, size

    def _run_prompt(self, ids: np.ndarray) -> tuple[Array, list[tuple[Array, Array]]]:
        """The last layer's columns, and every layer's keys and values."""
        x, positions = loop.embed(self._weights, ids, how=self._how, stage=self.config.stage)
        pairs, how = [], self._how.of_one_layer()
        for weights in self._weights.layers:
            bias = self._weights.distance_bias
            x, pair = loop.prompt_layer(weights, x, positions, bias, how=how)
            pairs.append(pair)
        return x, pairs

    def _advance(self, group: _Group, until: np.ndarray, sampling: Sampling) -> None:
        if self._is_rehearsal:
            until = np.zeros_like(until)
        with self._on_mesh():
            group.carry = loop.advance(
                self._weights,
                self._table,
                group.request,
                group.carry,
                until,
                how=self._how,
                stage=self.config.stage,
                truncates=sampling.truncates,
                is_guided=sampling.is_guided,
            )

    def _written(self, group: _Group) -> tuple[np.ndarray, np.ndarray]:
        ids, log_probs = jax.device_get((group.carry.ids, group.carry.log_probs))
        if self._is_rehearsal:
            legal = np.array([np.flatnonzero(row)[-1] for row in self._table])
            places = group.request.offsets[:, None] + np.arange(ids.shape[1])
            ids = legal[places % len(legal)].astype(np.int32)
        return ids, log_probs

    def _on_mesh(self) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext() if self._mesh is None else jax.set_mesh(self._mesh)

    def _check_sampling(self, sampling: Sampling) -> None:
        stage = self.config.stage
        flag = f"--generation.{stage.name}"
        sampling.check(flag)
        if sampling.is_guided and not stage.condition_dropout:
            why = "this stage was not trained to do without its condition; expected 1"
            if not stage.has_condition:
                why = "this stage is told nothing that could guide it; expected 1"
            raise InputError(f"{flag}.guidance {sampling.guidance}: {why}")

    def _check_rows(
        self, prompts: list, offsets: list[int], steps: list[int], keys: Array, ends: list[bool]
    ) -> None:
        sizes = [len(prompts), len(offsets), len(steps), len(keys), len(ends)]
        if len(set(sizes)) > 1:
            raise ValueError(
                f"{sizes} prompts, offsets, steps, keys, ends: expected one each a row"
            )
        for row, (prompt, offset, count) in enumerate(zip(prompts, offsets, steps, strict=True)):
            if not 0 <= offset < len(prompt) or count < 0:
                asked = f"prompt of {len(prompt)}, target offset {offset}, {count} steps"
                raise ValueError(f"row {row}: {asked}; expected 0 <= offset < prompt, 0 <= steps")
            self._check_ids(prompt)

    def _check_ids(self, ids: np.ndarray) -> None:
        size = self.config.stage.vocab_size
        if ids.min() < 0 or ids.max() >= size:
            raise ValueError(
                f"ids in [{ids.min()}, {ids.max()}]: expected [0, {size}), the prompt's"
            )


class Decoding:
    """Rows being written; what is needed to go on stays on the device between calls."""

    def __init__(
        self, decoder: StageDecoder, groups: list[_Group], steps: list[int], sampling: Sampling
    ):
        """As `StageDecoder.open` makes it."""
        self._decoder, self._groups, self._sampling = decoder, groups, sampling
        self._steps = np.array(steps, np.int32)
        self._asked = np.zeros(len(steps), np.int32)

    def advance(self, until: int | list[int]) -> None:
        """Writes until every row has so many tokens, at most its steps, or has ended.

        Returns as soon as the work is under way; `results` waits for it.
        """
        self._asked = np.maximum(self._asked, np.minimum(until, self._steps)).astype(np.int32)
        for group in self._groups:
            asked = self._asked[group.rows]
            if asked.max() > group.reached:
                size = len(group.request.lengths)
                self._decoder._advance(group, _fill(asked, size, np.int32), self._sampling)
                group.reached = int(asked.max())

    def results(self) -> list[Continuation]:
        """What every row has so far, of the tokens that `advance` was asked for."""
        nothing = Continuation(np.zeros(0, np.int32), np.zeros(0, np.float32), False)
        results = [nothing] * len(self._steps)
        for group in self._groups:
            ids, log_probs = self._decoder._written(group)
            for place, row in enumerate(group.rows):
                asked = ids[place, : self._asked[row]]
                ends = np.flatnonzero(asked == EOS)
                count = int(ends[0]) if len(ends) else len(asked)
                found = asked[:count].copy(), log_probs[place, :count].copy()
                results[row] = Continuation(*found, len(ends) > 0)
        return results


def _fill(values: object, size: int, dtype: type) -> np.ndarray:
    """The values in an array that is `size` long, zeros (ids: PAD) behind them."""
    array: np.ndarray = np.asarray(values, dtype)
    filled = np.full((size, *array.shape[1:]), PAD, dtype)
    filled[: len(array)] = array
    return filled
