"""Whether an ending has the voice of its prompt's speaker rather than that of any other."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from audiolm_jax.data.index import ClipIndex
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.speaker import Similarity, similarity
from audiolm_jax.evaluation.world.selection import Stretch, by_speaker

SECONDS = 10.0  # of each recording, its first ones: more change little

Embed = Callable[[np.ndarray], np.ndarray | None]


class Voices:
    """Mean embeddings of speakers, of recordings other than the one that is judged."""

    def __init__(self, embed: Embed, indices: Sequence[ClipIndex], most: int):
        """Hears up to `most` recordings of each speaker of the indices who has two or more;
        InputError unless there are two such speakers."""
        self._embed = embed
        chosen = by_speaker(indices, most)
        if len(chosen) < 2:
            raise InputError(
                f"--data.source {indices[0].config.source}: {len(chosen)} speakers of two "
                "recordings or more, expected two: add others (--others.source), or leave voices "
                "out with --no-similarity"
            )
        self.recordings = sum(map(len, chosen.values()))
        self._vectors: dict[str, dict[str, np.ndarray]] = {}
        for speaker, clips in chosen.items():
            own = self._vectors[speaker] = {}
            for place, clip in clips:
                most_samples = round(SECONDS * indices[place].config.sample_rate_hz)
                vector = embed(indices[place].load(clip)[:most_samples])
                if vector is not None:
                    own[clip.sha256] = vector

    @property
    def speakers(self) -> int:
        """How many there are."""
        return len(self._vectors)

    def check(self, stretches: Sequence[Stretch]) -> None:
        """InputError if the speaker of one is nobody known."""
        for stretch in stretches:
            if stretch.clip.speaker not in self._vectors:
                who = stretch.clip.speaker or "nobody known"
                raise InputError(
                    f"{stretch.clip.clip_id}: its speaker, {who}, has no two recordings; add some, "
                    "or leave voices out with --no-similarity"
                )

    def judge(self, samples: Float[np.ndarray, " s"], stretch: Stretch) -> Similarity | None:
        """Of an ending of the stretch; None if it is silent."""
        if (vector := self._embed(samples)) is None:
            return None
        references = {
            speaker: np.stack([v for sha256, v in own.items() if sha256 != stretch.clip.sha256])
            for speaker, own in self._vectors.items()
        }
        return similarity(vector, stretch.clip.speaker, references)
