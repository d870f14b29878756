"""What a batch was made of: for each row its position in the stream, its recording and its crop.

Nothing is read but tables of lengths: position p alone decides the rest, see `crops` and `tasks`.
"""

from collections.abc import Callable

from audiolm_jax.data.crops import AudioCrops
from audiolm_jax.data.noise import NoiseConfig, draw_mixture, noise_seed
from audiolm_jax.data.sources import ClipIndex
from audiolm_jax.data.tokens.store import TokenStore
from audiolm_jax.stages import StageConfig


def describe_audio(
    index: ClipIndex, crop_seconds: float, batch_size: int, seed: int
) -> Callable[[int], list[str]]:
    """Completed steps -> one line for each row of the next batch of `AudioCrops`, all hosts'.

    Args:
      index: clips of a folder; the stream is that of the split "train".
      crop_seconds: length of each crop.
      batch_size: crops in a batch over all hosts.
      seed: of the stream.
    """
    clips, rate = index.of("train"), index.config.sample_rate_hz
    crops = AudioCrops(index, "train", crop_seconds, batch_size, seed)

    def describe(step: int) -> list[str]:
        rows = []
        for position in range(step * batch_size, (step + 1) * batch_size):
            number, start, stop = crops.locate(position)
            rows.append(
                f"position {position}: {clips[number].clip_id}, "
                f"{start / rate:.3f} to {stop / rate:.3f} s"
            )
        return rows

    return describe


def describe_noisy_audio(
    index: ClipIndex,
    noise_index: ClipIndex,
    crop_seconds: float,
    batch_size: int,
    seed: int,
    config: NoiseConfig,
) -> Callable[[int], list[str]]:
    """`describe_audio` for the batches of `NoisyCrops`, with level and crop of the noise."""
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
    store: TokenStore, stage: StageConfig, batch_size: int, seed: int
) -> Callable[[int], list[str]]:
    """Completed steps -> one line for each row of the next batch of `token_batches`, all hosts'.

    Args:
      store: the tokens; the stream is that of the split "train".
      stage: decides the length of the crops.
      batch_size: examples of a step over all hosts.
      seed: of the stream.
    """

    def describe(step: int) -> list[str]:
        from audiolm_jax.data.tokens.tasks import TokenWindows

        windows, rows = TokenWindows(store, stage), []
        for position in range(step * batch_size, (step + 1) * batch_size):
            record, start, stop = windows.locate("train", position, True, seed)
            rows.append(
                f"position {position}: {store.record('train', record).clip_id} (record {record}), "
                f"semantic frames {start} to {stop}"
            )
        return rows

    return describe
