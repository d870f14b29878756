"""The smallest run that learns from recordings, by the real loop."""

import dataclasses

import jax
import jax.numpy as jnp

from audiolm_jax.artifacts.model_folder import load_model
from audiolm_jax.audio.files import write_wav
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiments.audio import AudioExperiment
from audiolm_jax.training.config import LoopConfig
from audiolm_jax.training.state import Sums, TrainProgram, TrainState
from support.tiny_models import voice

LOOP = LoopConfig(4, log_every=1, evaluate_every=2, checkpoint_every=2, tensorboard=False)


@dataclasses.dataclass(frozen=True)
class Level:
    unit: str = "of full scale"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loudness(AudioExperiment):
    """Learns how loud recordings are."""

    kind = "loudness"
    model: Level = Level()
    loop: LoopConfig = LOOP
    batch_size: int = 2
    crop_seconds: float = 0.1

    def program(self):
        def init(key):
            params = {"level": jax.random.uniform(key)}
            return TrainState(jnp.int32(0), params, {}, (), {})

        def step(state, batch, key):
            error = state.params["level"] - jnp.abs(batch.samples).mean()
            params = {"level": state.params["level"] - 0.1 * error}
            return TrainState(state.step + 1, params, {}, (), {}), {"loss": error**2}

        def evaluate(state, batch):
            level = state.params["level"] - jnp.abs(batch.samples).mean()
            return Sums({"loss": level**2}, {"loss": jnp.ones(())})

        return TrainProgram(init, step, evaluate, lambda s: jax.device_get(s.params))

    def is_left_alone(self, caplog):
        caplog.clear()
        self.run()
        return "nothing to do" in caplog.text


def speak(folder, first):
    folder.mkdir(parents=True)
    for i in range(6):
        write_wav(folder / f"{i}.wav", voice(0.5, 100 + i, first + i), 16000, None)
    return folder


def loudness(folder, steps=4, **changes):
    loop = dataclasses.replace(LOOP, steps=steps)
    data = AudioDataConfig(str(folder / "data"), heldout_percent=30)
    fields = {"directory": str(folder / "run"), "data": data, "loop": loop} | changes
    return Loudness(**fields)


def outcome(directory):
    """All that a run is made for."""
    model = load_model(directory / "model")
    arrays = {name: array.tobytes() for name, array in model.arrays.items()}
    return (directory / "metrics.jsonl").read_bytes(), model.fingerprint, arrays
