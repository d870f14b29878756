"""How fast a codec trains, encodes, decodes and streams, as multiples of real time.

python benchmarks/codec.py                                  paper size, random weights
python benchmarks/codec.py --size demo --json out.json
python benchmarks/codec.py --codec runs/demo/codec/model    a trained codec, without the training
python benchmarks/codec.py --codec DIR --torch-dac DIR      beside transformers' DacModel

What is compared takes turns, so that other work on the machine slows all of it; every figure is a
median over rounds, after one call that compiles. "times real time" is seconds of audio for each
second of computation: more is better, below 1 a stream falls behind. A chunk's latency is the time
from its last sample to its codes (or from its codes to its samples); to it comes the wait until a
chunk is full. `--torch-dac` takes a model folder of the transformers library, which it needs with
torch.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx

from audiolm_jax.records import AcousticTokenizer, AudioBatch, StreamingTokenizer
from audiolm_jax.runtime.weights import flatten_state
from audiolm_jax.tokenizers.soundstream.codec import SoundStreamCodec
from audiolm_jax.tokenizers.soundstream.model import SoundStreamConfig
from audiolm_jax.tokenizers.soundstream.rvq import QuantizerConfig
from audiolm_jax.tokenizers.soundstream.train import (
    CODEBOOKS,
    SoundStreamTrainConfig,
    build_generator,
    program,
)

SIZES = {
    "paper": SoundStreamConfig(quantizer=QuantizerConfig(revival_threshold=0.05)),
    "demo": SoundStreamConfig(
        channels=8,
        width_multipliers=(1, 2, 8, 16, 32),
        embedding_width=128,
        quantizer=QuantizerConfig(levels=8, codebook_size=256, revival_threshold=0.2),
    ),
}
CHUNKS = (1, 8, 128)  # frames


def random_codec(config: SoundStreamConfig) -> SoundStreamCodec:
    """A codec whose weights mean nothing; its speed is that of a trained one."""
    model = jax.jit(lambda key: build_generator(config, key))(jax.random.key(0))
    shape = (config.quantizer.levels, config.quantizer.codebook_size, config.embedding_width)
    vectors = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    arrays = flatten_state(nnx.state(model, nnx.Param)) | {CODEBOOKS: vectors}
    return SoundStreamCodec(config, arrays, "0" * 64)


def noise(seconds: float, rate_hz: int, seed: int = 0) -> np.ndarray:
    """float32 [s]."""
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(round(seconds * rate_hz))).astype(np.float32)


def codec_calls(codec: AcousticTokenizer, seconds: float) -> dict[str, Callable[[], Any]]:
    """Encoding and decoding of one recording."""
    audio = AudioBatch.from_clips([noise(seconds, codec.sample_rate_hz)])
    tokens = codec.encode(audio)
    return {"encode": lambda: codec.encode(audio), "decode": lambda: codec.decode(tokens)}


def torch_dac_calls(folder: Path, seconds: float) -> dict[str, Callable[[], Any]]:
    """The same for transformers' DacModel."""
    import torch
    from transformers import DacModel

    model = DacModel.from_pretrained(folder).eval()
    samples = noise(seconds, model.config.sampling_rate)
    hop = model.config.hop_length
    audio = torch.from_numpy(samples[: len(samples) // hop * hop])[None, None]
    with torch.no_grad():
        codes = model.encode(audio).audio_codes

    def without_gradients(function: Callable[[], Any]) -> Callable[[], Any]:
        return torch.no_grad()(function)

    return {
        "encode": without_gradients(lambda: model.encode(audio)),
        "decode": without_gradients(lambda: model.decode(audio_codes=codes)),
    }


def take_turns(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of each call."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def streaming(codec: StreamingTokenizer, frames: int, chunks: int) -> dict[str, float]:
    """Latency of chunks of so many frames, milliseconds, and multiples of real time."""
    chunk = frames * codec.hop_samples
    samples = noise((chunks + 1) * chunk / codec.sample_rate_hz, codec.sample_rate_hz)
    encoder, decoder = codec.open_encoder(frames), codec.open_decoder(frames)
    times: dict[str, list[float]] = {"encode": [], "decode": []}
    for start in range(0, (chunks + 1) * chunk, chunk):
        begin = time.perf_counter()
        codes = encoder.push(samples[start : start + chunk])
        middle = time.perf_counter()
        decoder.push(codes)
        times["encode"].append(middle - begin)
        times["decode"].append(time.perf_counter() - middle)
    audio = chunk / codec.sample_rate_hz
    result = {"wait_ms": 1000 * audio}
    for name, values in times.items():
        late = sorted(values[1:])  # the first one compiles
        result[f"{name}_ms"] = 1000 * statistics.median(late)
        result[f"{name}_ms_95th"] = 1000 * late[int(0.95 * (len(late) - 1))]
        result[f"{name}_times_real_time"] = audio / statistics.median(late)
    return result


def training(config: SoundStreamConfig, batch: int, seconds: float, rounds: int) -> dict[str, Any]:
    """The whole GAN step, discriminators included."""
    trainer = program(config, SoundStreamTrainConfig(), optax.adam(1e-4), optax.adam(1e-4))
    state = jax.jit(trainer.init)(jax.random.key(0))
    step = jax.jit(trainer.step, donate_argnums=0)
    rate = config.sample_rate_hz
    audio = AudioBatch.from_clips([noise(seconds, rate, seed) for seed in range(batch)])
    times = []
    for i in range(rounds + 2):  # the first compiles, the second has k-means behind it
        start = time.perf_counter()
        state, metrics = step(state, audio, jax.random.key(i))
        jax.block_until_ready(metrics)
        times.append(time.perf_counter() - start)
    median = statistics.median(times[2:])
    return {
        "batch": batch,
        "crop_seconds": seconds,
        "step_seconds": median,
        "times_real_time": batch * seconds / median,
        "first_step_seconds": times[0],
    }


def main() -> None:
    """Prints the figures, and writes them if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="paper", help="of a random codec")
    parser.add_argument("--codec", type=Path, help="model folder to measure instead")
    parser.add_argument("--torch-dac", type=Path, help="folder of transformers' DacModel")
    parser.add_argument("--seconds", type=float, default=20.0, help="of the recording")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--chunks", type=int, default=50, help="of a stream, for each size")
    parser.add_argument("--train-batch", type=int, default=4, help="crops of 1 s; 0: no training")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    codec = SoundStreamCodec.load(options.codec) if options.codec else None
    codec = codec or random_codec(SIZES[options.size])
    calls = {("ours", k): call for k, call in codec_calls(codec, options.seconds).items()}
    if options.torch_dac:
        theirs = torch_dac_calls(options.torch_dac, options.seconds)
        calls |= {("torch_dac", k): call for k, call in theirs.items()}
    figures: dict[str, Any] = {
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "devices": [device.device_kind for device in jax.devices()],
        "codec": str(options.codec or options.size),
        "seconds": options.seconds,
    }
    for (name, verb), seconds in take_turns(calls, options.rounds).items():
        figures[f"{name}_{verb}_times_real_time"] = options.seconds / seconds
    if isinstance(codec, StreamingTokenizer):
        figures["streaming"] = {
            f"{frames}_frames": streaming(codec, frames, options.chunks) for frames in CHUNKS
        }
    if options.train_batch and not options.codec:
        figures["training"] = training(SIZES[options.size], options.train_batch, 1.0, 3)
    print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
