"""All measurements of a bundle on held-out recordings, collected for the report."""

from collections.abc import Sequence

import jax
import numpy as np
import optax
from flax import nnx
from jax import numpy as jnp

from audiolm_jax.data.index import ClipIndex, ClipInfo
from audiolm_jax.data.tokens.loader import heldout_batches
from audiolm_jax.data.tokens.sequences import stage_sequences
from audiolm_jax.data.tokens.store import TokenStore
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.codec import CodecReport, evaluate_codec
from audiolm_jax.evaluation.measures.likelihood import StageLikelihood, stage_likelihood
from audiolm_jax.evaluation.measures.semantic import SemanticReport, evaluate_semantic
from audiolm_jax.evaluation.page.listening import AudioClip, Example
from audiolm_jax.generation.bundle import Bundle, StageModel
from audiolm_jax.generation.pipeline import Generated, Generator
from audiolm_jax.lm.decoder import load_decoder
from audiolm_jax.lm.train import StageTrainConfig, program
from audiolm_jax.training.state import TrainState
from audiolm_jax.types import AcousticTokens, AudioBatch

_BATCH = 8  # sequences judged at once


def choose_prompts(index: ClipIndex, count: int, seconds: float) -> list[ClipInfo]:
    """The longest held-out clips, at least `seconds` long.

    Raises:
      InputError: there is none.
    """
    rate = index.config.sample_rate_hz
    long = [clip for clip in index.of("heldout") if clip.num_samples >= seconds * rate]
    if not long:
        raise InputError(
            f"{index.config.audio_dir}: no held-out clip of {seconds} s; lower prompt_seconds "
            "or raise data.heldout_percent"
        )
    return sorted(long, key=lambda clip: (-clip.num_samples, clip.clip_id))[:count]


def continue_clips(
    generator: Generator,
    index: ClipIndex,
    clips: Sequence[ClipInfo],
    prompt_seconds: float,
    continuation_seconds: float,
    seeds: Sequence[int],
) -> tuple[list[Example], list[list[Generated]]]:
    """Continues the beginning of each clip once for each seed.

    Returns:
      What to listen to (prompt, true ending, codec round trip, continuations), and the results
      [clip][seed].
    """
    rate = generator.sample_rate_hz
    prompt_samples = round(prompt_seconds * rate)
    total = prompt_samples + round(continuation_seconds * rate)
    recordings = [index.load(clip)[:total] for clip in clips]
    results = generator.continue_audio(
        [samples[:prompt_samples] for samples in recordings for _ in seeds],
        continuation_seconds,
        [seed for _ in recordings for seed in seeds],
    )
    grouped = [results[i * len(seeds) : (i + 1) * len(seeds)] for i in range(len(clips))]
    examples = []
    for clip, samples, made in zip(clips, recordings, grouped, strict=True):
        examples.append(
            Example(
                title=clip.clip_id,
                transcript=clip.text or None,
                clips=(
                    AudioClip("Prompt", samples[:prompt_samples]),
                    AudioClip("True ending", samples, prompt_seconds),
                    AudioClip("Codec round trip", _roundtrip(generator.bundle, samples)),
                    *(
                        AudioClip(f"Continuation, seed {seed}", one.samples, prompt_seconds)
                        for seed, one in zip(seeds, made, strict=True)
                    ),
                ),
            )
        )
    return examples, grouped


def measure_codec(bundle: Bundle, index: ClipIndex) -> CodecReport:
    """The codec on every held-out clip, whole and at half its levels."""
    clips = ((clip.clip_id, index.load(clip)) for clip in index.of("heldout"))
    levels = bundle.codec.levels
    prefixes = [n for n in (1, levels // 2) if 0 < n < levels]
    return evaluate_codec(bundle.codec, clips, sorted(set(prefixes)))


def measure_semantic(bundle: Bundle, store: TokenStore) -> SemanticReport:
    """Cluster use on the held-out clips of a token store."""
    ids = (record.clusters for record in store.records("heldout"))
    rate = bundle.semantic_tokenizer.sample_rate_hz / bundle.semantic_tokenizer.hop_samples
    return evaluate_semantic(ids, bundle.semantic_tokenizer.clusters, rate)


def measure_likelihood(stage: StageModel, store: TokenStore) -> StageLikelihood:
    """Held-out loss of a stage beside unigram entropy and a bigram model of the training tokens."""
    config = stage.config.stage
    judge = program(stage.config, StageTrainConfig(), optax.identity())
    graphdef_and_params = load_decoder(stage.config, stage.folder.arrays)
    params: nnx.State = graphdef_and_params[1]
    state = TrainState(jnp.zeros((), jnp.int32), params, {}, (), {})
    evaluate = jax.jit(judge.evaluate)
    totals: dict[str, float] = {}
    counts: dict[str, float] = {}
    for batch in heldout_batches(store.directory, config, _BATCH)():
        sums = jax.device_get(evaluate(state, batch))
        for name, value in sums.totals.items():
            totals[name] = totals.get(name, 0.0) + float(value)
            counts[name] = counts.get(name, 0.0) + float(sums.counts[name])
    present = [name for name in config.level_names if counts[f"loss/{name}"]]
    return stage_likelihood(
        config,
        stage_sequences(store, config, "train"),
        stage_sequences(store, config, "heldout"),
        {name: totals[f"loss/{name}"] / counts[f"loss/{name}"] for name in present},
        {name: counts[f"loss/{name}"] for name in present},
    )


def _roundtrip(bundle: Bundle, samples: np.ndarray) -> np.ndarray:
    tokens: AcousticTokens = bundle.codec.encode(AudioBatch.from_clips([samples]))
    return np.asarray(bundle.codec.decode(tokens).samples)[0, : len(samples)]
