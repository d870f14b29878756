"""How much of the voice is left, of which AudioLM wants semantic tokens to tell little (section
III-A): a linear classifier of the speaker hears a recording as one vector, the mean of its features
or how often each token occurs."""

import dataclasses
from collections import Counter
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

FOLDS = 5


@dataclasses.dataclass(frozen=True)
class SpeakerProbe:
    """Speakers told apart by recordings that the classifier did not learn from."""

    accuracy: float  # share of recordings whose speaker is found
    chance: float  # the same if the commonest speaker is always named
    speakers: int
    recordings: int  # of these speakers
    left_out: int  # recordings of speakers with fewer than five


def probe_speakers(
    vectors: Mapping[str, Float[np.ndarray, " d"]], speakers: Mapping[str, str], seed: int
) -> SpeakerProbe | None:
    """Five-fold cross-validated logistic regression on standardized vectors, one a recording;
    None with fewer than two speakers of at least five recordings."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    counts = Counter(speakers[file] for file in vectors)
    files = sorted(file for file in vectors if counts[speakers[file]] >= FOLDS)
    names = np.array([speakers[file] for file in files])
    if len(set(names)) < 2:
        return None
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    table = np.stack([vectors[file] for file in files]).astype(np.float64)
    predictions = cross_val_predict(model, table, names, cv=folds)
    kept = Counter(names.tolist())
    return SpeakerProbe(
        accuracy=float(np.mean(predictions == names)),
        chance=max(kept.values()) / len(files),
        speakers=len(kept),
        recordings=len(files),
        left_out=len(vectors) - len(files),
    )


def token_shares(ids: Int[np.ndarray, " t"], clusters: int) -> Float[np.ndarray, " k"]:
    """How often each token occurs in a recording, as shares."""
    return np.bincount(ids, minlength=clusters) / max(1, len(ids))
