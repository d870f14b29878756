"""One host of a k-means on several, for tests/tokenizers/semantic/kmeans/test_kmeans_hosts.py."""

from pathlib import Path

import jax

from audiolm_jax.audio.files import write_wav
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiments.kmeans import KmeansExperiment
from audiolm_jax.tokenizers.semantic.kmeans import fit
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig
from audiolm_jax.training.config import MeshConfig
from support.tiny_models import ENCODER, voice, write_w2v_bert


def write_inputs(root):
    (root / "audio").mkdir()
    for i in range(14):
        write_wav(root / "audio" / f"{i}.wav", voice(1 + 0.37 * i, 80 + 15 * i, i), 16000, None)
    write_w2v_bert(root / "encoder", ENCODER)


def run(root, name, own_folders, stop, *fields):
    """Up to the end, or until the state of step `stop`, which is not saved any more."""
    config = KmeansConfig(9, layer="masked_1", iterations=6, block_frames=48, max_frames=1000)
    directory = Path(root, name)
    if own_folders == "own":  # no file of it is seen by another host
        directory = directory / str(jax.process_index())
    experiment = KmeansExperiment(
        directory=str(directory),
        data=AudioDataConfig(str(Path(root, "audio")), heldout_percent=10),
        encoder=str(Path(root, "encoder")),
        kmeans=config,
        mesh=MeshConfig(*(fields or ("dp",))),
        batch_size=2,
    )
    kept = fit._save

    def killed(folder, state):
        if state.step == int(stop):
            raise KeyboardInterrupt
        kept(folder, state)

    fit._save = killed
    try:
        experiment.run()
    except KeyboardInterrupt:
        print("killed", flush=True)
