"""How fast an imported encoder runs beside the transformers library with the same random weights.

python benchmarks/semantic.py                          w2v-BERT 2.0, 2 of its 24 layers, 10 s
python benchmarks/semantic.py --encoder hubert --layers 12 --json out.json

Needs torch and transformers. Ours goes from samples to the features of the last layer, pooled to
25 a second; torch from samples (its feature extractor included) and, as "torch_model", from
features that were extracted before. The "step" of both is forward, gradient of the mean square of
the last hidden states with respect to all weights, and Adam's update; ours from samples, torch's
from extracted features. They take turns, so that other work on the machine slows all of them; every
figure is a median over rounds, after one call that compiles: seconds of audio for each second of
computation. "difference" is that of the last hidden states, relative to torch's.
"""

import argparse
import functools
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from turns import take_turns

from audiolm_jax.artifacts.model_folder import ModelFolder
from audiolm_jax.tokenizers.semantic.frame_encoder import ModuleEncoder
from audiolm_jax.tokenizers.semantic.hubert.reader import read_hubert
from audiolm_jax.tokenizers.semantic.tokenizer import make_encoder
from audiolm_jax.tokenizers.semantic.w2v_bert2.reader import read_w2v_bert2
from audiolm_jax.types import AudioBatch

READERS = {"w2v-bert-2": read_w2v_bert2, "hubert": read_hubert, "hubert-large": read_hubert}
LARGE = {
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "conv_bias": True,
    "do_stable_layer_norm": True,
}
RATE_HZ = 16000


def sounds(batch: int, seconds: float) -> list[np.ndarray]:
    """Noise of speech's loudness."""
    rng = np.random.default_rng(0)
    size = round(seconds * RATE_HZ)
    return [(0.1 * rng.standard_normal(size)).astype(np.float32) for _ in range(batch)]


def torch_model(encoder: str, layers: int) -> tuple[Any, Any]:
    """A model of the published layout with random weights, and its feature extractor."""
    import torch
    import transformers

    torch.manual_seed(0)
    if encoder == "w2v-bert-2":
        config = transformers.Wav2Vec2BertConfig(num_hidden_layers=layers)
        extractor = transformers.SeamlessM4TFeatureExtractor()
    else:
        fields = LARGE if encoder == "hubert-large" else {}
        config = transformers.HubertConfig(num_hidden_layers=layers, **fields)
        extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True)
    return transformers.AutoModel.from_config(config).eval(), extractor


def same_weights(encoder: str, model: Any) -> ModuleEncoder:
    """Ours with the weights of torch's."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        content: ModelFolder = READERS[encoder](Path(folder), 25, None)
    return make_encoder(content, encoder)


def difference(ours: ModuleEncoder, audio: AudioBatch, theirs: np.ndarray) -> float:
    """Of the last block's outputs [b, t, d]."""
    layers = ours.config.layers
    run = jax.jit(lambda params, audio: ours.module(params).hidden_states(audio, layers)[0][-1])
    found = np.asarray(run(ours.params, audio))[:, : theirs.shape[1]]
    theirs = theirs[:, : found.shape[1]]
    return float(np.sqrt(np.square(found - theirs).sum() / np.square(theirs).sum()))


def our_step(ours: ModuleEncoder, audio: AudioBatch, layer: str) -> Callable[[], Any]:
    """Trains a copy of the weights by one step."""
    optimizer = optax.adam(1e-6)

    def loss_of(params: Any, audio: AudioBatch) -> jax.Array:
        return jnp.square(ours.traceable(params, audio, layer)).mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Any, state: Any, audio: AudioBatch) -> tuple[Any, Any]:
        updates, state = optimizer.update(jax.grad(loss_of)(params, audio), state)
        return optax.apply_updates(params, updates), state

    trained = jax.tree.map(jnp.copy, ours.params)
    held = [(trained, optimizer.init(trained))]

    def run() -> None:
        held[0] = jax.block_until_ready(step(*held[0], audio))

    return run


def torch_step(model: Any, inputs: Any) -> Callable[[], Any]:
    """The same for torch, in place: rates too low to matter."""
    import torch

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-6)

    def step() -> None:
        optimizer.zero_grad()
        model(**inputs).last_hidden_state.square().mean().backward()
        optimizer.step()

    return step


def main() -> None:
    """Prints the figures, and writes them if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", choices=READERS, default="w2v-bert-2")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each recording")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model, extractor = torch_model(options.encoder, options.layers)
    ours = same_weights(options.encoder, model)
    clips = sounds(options.batch, options.seconds)
    audio, layer = AudioBatch.from_clips(clips), f"layer_{options.layers}"

    def extract() -> Any:
        return extractor(clips, sampling_rate=RATE_HZ, padding=True, return_tensors="pt")

    inputs = extract()

    @torch.no_grad()
    def run(make_inputs: Callable[[], Any]) -> Any:
        return model(**make_inputs(), output_hidden_states=True).hidden_states[-1].numpy()

    expected = run(lambda: inputs)
    calls = {
        "ours": lambda: ours.features(audio, layer),
        "torch": lambda: run(extract),
        "torch_model": lambda: run(lambda: inputs),
        "our_step": our_step(ours, audio, layer),
        "torch_step": torch_step(model, inputs),
    }
    seconds = take_turns(calls, options.rounds)
    figures = {
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "encoder": options.encoder,
        "layers": options.layers,
        "batch": options.batch,
        "seconds": options.seconds,
        "difference": difference(ours, audio, expected),
    }
    for name, value in seconds.items():
        figures[f"{name}_times_real_time"] = options.batch * options.seconds / value
    for one, other in (("ours", "torch"), ("ours", "torch_model"), ("our_step", "torch_step")):
        figures[f"{one}_to_{other}"] = seconds[other] / seconds[one]
    print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
