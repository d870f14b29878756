"""How fast a codec trains, encodes, decodes and streams, as multiples of real time.

python benchmarks/codec.py                                  paper size, random weights
python benchmarks/codec.py --size demo --json out.json
python benchmarks/codec.py --codec runs/demo/codec/model    another codec, without the training
python benchmarks/codec.py --codec DIR --torch-dac DIR      beside transformers' DacModel
python benchmarks/codec.py --random-dac DIR                 writes DIR/transformers and DIR/model,
                                                            random weights of the 16 kHz layout

What is compared takes turns, so that other work on the machine slows all of it; every figure is a
median over rounds, after one call that compiles. "times real time" is seconds of audio for each
second of computation: more is better, below 1 a stream falls behind. A chunk's milliseconds are the
computation from its last sample to its codes (or from its codes to its samples); the wait comes
before it, until the chunk and the frames that the codec sees ahead are there.

`--torch-dac` is the folder of the transformers library that the codec was imported from: the share
of equal codes, printed with the ratios, says that both run the same weights. It needs
`pip install 'audiolm_jax[parity]'`; torch runs without gradients on as many threads as there are
CPUs.
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
from turns import take_turns

from audiolm_jax.nn.state_arrays import flatten_state
from audiolm_jax.tokenizers.acoustic.load import load_acoustic_tokenizer
from audiolm_jax.tokenizers.acoustic.soundstream.codec import SoundStreamCodec
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    QuantizerConfig,
    SoundStreamConfig,
    SoundStreamTrainConfig,
)
from audiolm_jax.tokenizers.acoustic.soundstream.model import CODEBOOKS, build_generator
from audiolm_jax.tokenizers.acoustic.soundstream.train import program
from audiolm_jax.types import AudioBatch, StreamingTokenizer

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


def codec_calls(
    codec: StreamingTokenizer, samples: np.ndarray
) -> tuple[dict[str, Callable[[], Any]], np.ndarray]:
    """Encoding and decoding of one recording, and its codes [t, q]."""
    audio = AudioBatch.from_clips([samples])
    tokens = codec.encode(audio)
    calls = {"encode": lambda: codec.encode(audio), "decode": lambda: codec.decode(tokens)}
    return calls, tokens.codes[0]


def torch_dac_calls(
    folder: Path, samples: np.ndarray
) -> tuple[dict[str, Callable[[], Any]], np.ndarray]:
    """The same for transformers' DacModel; the samples are whole frames."""
    import torch
    from transformers import DacModel

    torch.set_grad_enabled(False)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = DacModel.from_pretrained(folder).eval()
    audio = torch.from_numpy(samples)[None, None]
    codes = model.encode(audio).audio_codes
    calls = {
        "encode": lambda: model.encode(audio),
        "decode": lambda: model.decode(audio_codes=codes),
    }
    return calls, codes[0].T.numpy()


def write_random_dac(folder: Path) -> None:
    """Random weights of the codec's 16 kHz layout, as transformers saves them and as our import."""
    import torch
    from transformers import DacConfig, DacModel

    from audiolm_jax.tokenizers.acoustic.dac.reader import import_dac

    torch.manual_seed(0)
    fields = {"sampling_rate": 16000, "downsampling_ratios": [2, 4, 5, 8], "n_codebooks": 12}
    DacModel(DacConfig(**fields)).save_pretrained(folder / "transformers")
    import_dac(folder / "transformers", folder / "model")


def streaming(codec: StreamingTokenizer, frames: int, chunks: int) -> dict[str, float]:
    """Latency of chunks of so many frames, milliseconds, and multiples of real time."""
    chunk = frames * codec.hop_samples
    encoder, decoder = codec.open_encoder(frames), codec.open_decoder(frames)
    times: dict[str, list[float]] = {"encode": [], "decode": []}
    seed = 0
    while len(times["decode"]) <= chunks:
        samples, seed = noise(chunk / codec.sample_rate_hz, codec.sample_rate_hz, seed), seed + 1
        begin = time.perf_counter()
        codes = encoder.push(samples)
        middle = time.perf_counter()
        heard = decoder.push(codes)
        end = time.perf_counter()
        # While a codec that sees ahead has not seen enough, nothing is computed.
        times["encode"] += [middle - begin] * bool(len(codes))
        times["decode"] += [end - middle] * bool(len(heard))
    audio = chunk / codec.sample_rate_hz
    result = {}
    for name, stream in (("encode", encoder), ("decode", decoder)):
        result[f"{name}_wait_ms"] = 1000 * stream.latency_frames * audio / frames
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
    parser.add_argument("--codec", type=Path, help="model folder of a codec to measure instead")
    parser.add_argument("--torch-dac", type=Path, help="folder of transformers' DacModel")
    parser.add_argument("--random-dac", type=Path, help="folder to write weights to, no measuring")
    parser.add_argument("--seconds", type=float, default=20.0, help="of the recording")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--chunks", type=int, default=50, help="of a stream, for each size")
    parser.add_argument("--train-batch", type=int, default=4, help="crops of 1 s; 0: no training")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.random_dac:
        write_random_dac(options.random_dac)
        return
    codec: StreamingTokenizer = (
        load_acoustic_tokenizer(options.codec)
        if options.codec
        else random_codec(SIZES[options.size])
    )
    frames = round(options.seconds * codec.sample_rate_hz / codec.hop_samples)
    seconds = frames * codec.hop_samples / codec.sample_rate_hz
    samples = noise(seconds, codec.sample_rate_hz)
    ours, codes = codec_calls(codec, samples)
    calls = {("ours", verb): call for verb, call in ours.items()}
    figures: dict[str, Any] = {
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "devices": [device.device_kind for device in jax.devices()],
        "codec": str(options.codec or options.size),
        "seconds": seconds,
    }
    if options.torch_dac:
        theirs, expected = torch_dac_calls(options.torch_dac, samples)
        calls |= {("torch_dac", verb): call for verb, call in theirs.items()}
        figures["equal_codes"] = float((codes == expected).mean())
    times = take_turns(calls, options.rounds)
    for (name, verb), taken in times.items():
        figures[f"{name}_{verb}_times_real_time"] = seconds / taken
        if name != "ours":
            figures[f"{verb}_faster_than_{name}"] = taken / times["ours", verb]
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
