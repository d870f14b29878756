"""Each row of a batch in words, to name a bad one: position in the stream, recording and crop.

Each function returns (completed steps -> a line for each row of the next batch, all hosts').
"""

from collections.abc import Callable

from audiolm_jax.data.crops import AudioCrops
from audiolm_jax.data.index import ClipIndex
from audiolm_jax.data.noise import draw_mixture, noise_seed
from audiolm_jax.data.sources import NoiseConfig
from audiolm_jax.data.tokens.store import TokenStore
from audiolm_jax.stages import StageConfig

Describe = Callable[[int], list[str]]


def describe_audio(index: ClipIndex, crop_seconds: float, batch_size: int, seed: int) -> Describe:
    """Batches of `AudioCrops` of the split "train"."""
    clips, rate = index.of("train"), index.config.sample_rate_hz
    crops = AudioCrops(index, "train", crop_seconds, batch_size, seed)

    def row(position: int) -> str:
        number, start, stop = crops.locate(position)
        where = f"{clips[number].clip_id}, {start / rate:.3f} to {stop / rate:.3f} s"
        return f"position {position}: {where}"

    return lambda step: [row(p) for p in range(step * batch_size, (step + 1) * batch_size)]


def describe_noisy_audio(
    index: ClipIndex,
    noise_index: ClipIndex,
    crop_seconds: float,
    batch_size: int,
    seed: int,
    config: NoiseConfig,
) -> Describe:
    """Batches of `NoisyCrops` of the split "train", with level and crop of the noise."""
    of_speech = describe_audio(index, crop_seconds, batch_size, seed)
    of_noise = describe_audio(noise_index, crop_seconds, batch_size, noise_seed(seed))

    def describe(step: int) -> list[str]:
        rows = []
        for row, (speech, noise) in enumerate(zip(of_speech(step), of_noise(step), strict=True)):
            mixture = draw_mixture(config, seed, step * batch_size + row)
            level = "" if mixture.gain_db is None else f", {mixture.gain_db:.1f} dB of {noise}"
            rows.append(f"{speech}{level}, switch {'on' if mixture.denoise else 'off'}")
        return rows

    return describe


def describe_tokens(
    store: TokenStore, stage: StageConfig, batch_size: int, seed: int, edge_share: float
) -> Describe:
    """Batches of `token_batches` of the split "train"."""

    def describe(step: int) -> list[str]:
        from audiolm_jax.data.tokens.tasks import TokenWindows

        windows, rows = TokenWindows(store, stage, edge_share=edge_share), []
        for position in range(step * batch_size, (step + 1) * batch_size):
            record, start, stop = windows.crop_at("train", position, seed)
            rows.append(
                f"position {position}: {store.record('train', record).clip_id} (record {record}), "
                f"semantic frames {start} to {stop}"
            )
        return rows

    return describe
