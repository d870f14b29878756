"""What a bundle makes of held-out recordings: continuations, and the measures of every part."""

import dataclasses
import functools
import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from audiolm_jax.data.clips import ClipInfo
from audiolm_jax.data.index import ClipIndex
from audiolm_jax.data.tokens.loader import heldout_batches
from audiolm_jax.data.tokens.mixture import TokenMixture
from audiolm_jax.data.tokens.sequences import Window, build_sequences, shifted
from audiolm_jax.data.tokens.store import TokenStore
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.codec import CodecReport, evaluate_codec, round_trip
from audiolm_jax.evaluation.measures.likelihood import StageLikelihood, stage_likelihood
from audiolm_jax.evaluation.measures.semantic import SemanticReport, evaluate_semantic
from audiolm_jax.evaluation.page.listening import AudioClip, Example
from audiolm_jax.generation.bundle import StageModel
from audiolm_jax.generation.files import provenance_of, save_sound
from audiolm_jax.generation.pipeline import Generator
from audiolm_jax.generation.track import Generated
from audiolm_jax.lm.config import StageTrainConfig
from audiolm_jax.lm.decoder import load_decoder, portable
from audiolm_jax.lm.train import program
from audiolm_jax.stages import StageConfig
from audiolm_jax.training.state import Sums, TrainState
from audiolm_jax.types import AcousticTokenizer, SemanticTokenizer, TokenBatch

logger = logging.getLogger(__name__)

_BATCH = 8  # sequences measured at once


def chosen_by(origins: Mapping[str, Any], measured: Set[str]) -> dict[str, str]:
    """For each part whose checkpoint was chosen by a held-out metric, by which; `origins` are the
    provenance of each, `measured` the fingerprints of the data that are reported on."""
    rows = {}
    for part, provenance in origins.items():
        if metric := provenance.get("best_of"):
            is_same = not measured.isdisjoint(map(str, provenance["data"].values()))
            where = "the recordings measured here" if is_same else "other recordings"
            rows[f"checkpoint of {part}"] = f"chosen by the {metric} on {where}"
    return rows


@dataclasses.dataclass(frozen=True)
class ContinuedClip:
    """A held-out clip and what the models made of its beginning."""

    clip: ClipInfo
    samples: Float[np.ndarray, " s"]  # prompt and true ending
    prompt_samples: int
    sample_rate_hz: int
    continuations: dict[int, Generated]  # by seed

    def example(self, codec: AcousticTokenizer) -> Example:
        """Its players: prompt, true ending, codec round trip, continuations."""
        seconds = self.prompt_samples / self.sample_rate_hz
        _, decoded = round_trip(codec, self.samples, (codec.levels,))
        clips = [
            AudioClip("Prompt", self.samples[: self.prompt_samples]),
            AudioClip("True ending", self.samples, seconds),
            AudioClip("Codec round trip", decoded[codec.levels]),
        ]
        for seed, continuation in self.continuations.items():
            clips.append(AudioClip(f"Continuation, seed {seed}", continuation.samples, seconds))
        return Example(self.clip.clip_id, self.clip.text or None, tuple(clips))

    def write(self, directory: Path, generator: Generator, seconds: float) -> None:
        """Writes each continuation, `seconds` of it asked for, as wav with its provenance."""
        name = self.clip.clip_id.replace("/", "_").replace("#", "_")
        sha256 = hashlib.sha256(self.samples[: self.prompt_samples].tobytes()).hexdigest()
        for seed, continuation in self.continuations.items():
            wav = directory / f"{name}_seed{seed}.wav"
            prompt_seconds = continuation.prompt_samples / generator.sample_rate_hz
            provenance = provenance_of(
                generator.bundle, generator.config, seed, seconds, prompt_seconds, sha256
            )
            save_sound(wav, continuation.samples, generator.sample_rate_hz, provenance)


def continue_clips(
    generator: Generator,
    index: ClipIndex,
    clips: Sequence[ClipInfo],
    prompt_seconds: float,
    continuation_seconds: float,
    seeds: Sequence[int],
) -> list[ContinuedClip]:
    """Continues the beginning of each clip once for each seed."""
    rate = generator.sample_rate_hz
    prompt = round(prompt_seconds * rate)
    total = prompt + round(continuation_seconds * rate)
    recordings = [index.load(clip)[:total] for clip in clips]
    results = generator.continue_audio(
        [samples[:prompt] for samples in recordings for _ in seeds],
        continuation_seconds,
        [seed for _ in recordings for seed in seeds],
    )
    own = iter(results)  # clip by clip, seed by seed
    return [
        ContinuedClip(clip, samples, prompt, rate, {seed: next(own) for seed in seeds})
        for clip, samples in zip(clips, recordings, strict=True)
    ]


def measure_codec(codec: AcousticTokenizer, index: ClipIndex) -> CodecReport:
    """The codec on every held-out clip, whole, at one level and at half its levels."""
    clips = ((clip.clip_id, index.load(clip)) for clip in index.of("heldout"))
    prefixes = {n for n in (1, codec.levels // 2) if 0 < n < codec.levels}
    return evaluate_codec(codec, clips, sorted(prefixes))


def measure_semantic(tokenizer: SemanticTokenizer, store: TokenStore) -> SemanticReport:
    """Cluster use on the held-out clips of a token store."""
    ids = (record.clusters for record in store.records("heldout"))
    rate_hz = tokenizer.sample_rate_hz / tokenizer.hop_samples
    return evaluate_semantic(ids, tokenizer.clusters, rate_hz)


def check_judged(judged: TokenStore, store: TokenStore) -> None:
    """InputError unless the held-out clips of a store can judge models that learnt from another."""
    name = f"--judged-tokens {judged.directory}"
    if judged.provenance.tokenizers() != store.provenance.tokenizers():
        other = f"written by other tokenizers than {store.directory}"
        raise InputError(f"{name}: {other}; tokenize with those of the bundle")
    if not judged.num_records("heldout"):
        raise InputError(f"{name}: holds no held-out clip; hold some out (--data.heldout-percent)")
    if judged.provenance.dataset == store.provenance.dataset:
        known = set(judged.clip_ids("heldout")) & set(store.clip_ids("train"))
        if known:
            clips = f"{len(known)} clips, such as {min(known)}, are training data"
            raise InputError(f"{name}: {clips} in {store.directory}; take other recordings")


def measure_likelihood(stage: StageModel, store: TokenStore, judged: TokenStore) -> StageLikelihood:
    """Loss of a stage on the held-out clips of `judged` beside their unigram entropy, n-grams of
    the training tokens of `store`, and its loss when it is told what others say."""
    config = stage.config.stage
    trainer = program(portable(stage.config), StageTrainConfig(softmax="legal"), optax.identity())
    _, params = load_decoder(stage.config, stage.folder.arrays)
    state = TrainState(jnp.zeros((), jnp.int32), params, {}, (), {})
    evaluate = functools.partial(jax.jit(trainer.evaluate), state)
    losses, counts = _mean_losses(
        evaluate, heldout_batches(TokenMixture([judged]), config, _BATCH)()
    )
    exchanged, _ = _mean_losses(evaluate, _exchanged_batches(judged, config))
    names = {name: f"loss/{name}" for name in config.level_names if counts[f"loss/{name}"]}
    likelihood = stage_likelihood(
        config,
        store.sequences("train", config),
        judged.sequences("heldout", config),
        {name: losses[key] for name, key in names.items()},
        {name: counts[key] for name, key in names.items()},
        {name: exchanged[key] for name, key in names.items()} if exchanged else None,
    )
    row = likelihood.total
    beside = {
        "unigram entropy": row.unigram_nats,
        "bigram": row.bigram_nats,
        "5-gram": row.fivegram_nats,
        "told of another recording": row.exchanged_nats,
    }
    words = ", ".join(f"{name} {nats:.3f}" for name, nats in beside.items() if nats is not None)
    logger.info("%s: %.3f nats per held-out token; %s", config.name, row.model_nats, words)
    return likelihood


def _mean_losses(
    evaluate: Callable[[TokenBatch], Sums], batches: Iterable[TokenBatch]
) -> tuple[dict[str, float], dict[str, float]]:
    """The mean of each metric, and the tokens behind it."""
    totals, counts = defaultdict[str, float](float), defaultdict[str, float](float)
    for batch in batches:
        sums = jax.device_get(evaluate(batch))
        for name, value in sums.totals.items():
            totals[name] += float(value)
            counts[name] += float(sums.counts[name])
    return {name: totals[name] / counts[name] for name in totals if counts[name]}, counts


def _exchanged_batches(judged: TokenStore, stage: StageConfig) -> Iterator[TokenBatch]:
    """The held-out windows, each with the condition of the one half of all further on, repeated or
    cut to its length; none for a stage that is told nothing, or if there is no other window."""
    if stage.name != "fine" and not (stage.name == "coarse" and stage.reads_semantic):
        return
    own = list(judged.windows("heldout", stage))
    if len(own) < 2:
        return
    windows: list[Window | None] = []
    for place, (clusters, codes, is_end) in enumerate(own):
        others, other_codes, _ = own[(place + len(own) // 2) % len(own)]
        levels = stage.coarse_levels if stage.name == "fine" else 0
        told = np.concatenate(
            [np.resize(other_codes[:, :levels], (len(codes), levels)), codes[:, levels:]], axis=1
        )
        windows.append((np.resize(others, len(clusters)), told, is_end))
    for first in range(0, len(windows), _BATCH):
        some = windows[first : first + _BATCH]
        yield shifted(build_sequences([*some, *[None] * (_BATCH - len(some))], stage))
