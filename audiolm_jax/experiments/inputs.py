"""What a run reads: recordings, and the trained models it builds on."""

from typing import Any

from audiolm_jax.artifacts.run_folder import MODEL, fingerprint_of, model_folder  # noqa: F401
from audiolm_jax.data.index import scan  # noqa: F401
from audiolm_jax.evaluation.sweep.experiment import SweepExperiment
from audiolm_jax.experiments.experiment import KmeansExperiment, StageExperiment, TokenizeExperiment


def upstream_of(experiment: Any) -> dict[str, str]:
    """Fingerprint by name of every trained model that an experiment builds on.

    Raises:
      InputError: one of them is not finished.
    """
    match experiment:
        case KmeansExperiment() | SweepExperiment():
            return {"encoder": fingerprint_of(experiment.encoder)}
        case StageExperiment() | TokenizeExperiment():
            return {
                "codec": fingerprint_of(experiment.codec),
                "semantic": fingerprint_of(experiment.semantic),
            }
        case _:
            return {}
