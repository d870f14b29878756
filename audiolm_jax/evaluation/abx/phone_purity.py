"""How well discrete tokens and aligned phones tell of each other, by their joint histogram: HuBERT
(Hsu et al. 2021), section IV-G."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from fractions import Fraction

import numpy as np
from jaxtyping import Int

from audiolm_jax.data.alignments import AlignedPhone
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.histograms import entropy


@dataclasses.dataclass(frozen=True)
class PhonePurity:
    """Agreement of tokens with phones; pauses are phones too."""

    phone_purity: float  # share of frames whose phone is the commonest one of their token
    cluster_purity: float  # share of frames whose token is the commonest one of their phone
    normalized_mutual_information: float | None  # over the phones' entropy (PNMI); None for 1 phone
    used: int  # tokens that occur
    frames: int  # frames with a phone


def phone_purity(
    codes_by_file: Mapping[str, Int[np.ndarray, " t"]],
    rate_hz: Fraction,
    phones: Iterable[AlignedPhone],
) -> PhonePurity:
    """Counts the token of every frame with the phone, if any, at its time (i + 1/2) / rate; a phone
    holds its onset and not its offset."""
    names: dict[str, int] = {}
    labels, codes = [], []
    half = Fraction(1, 2)
    for phone in phones:
        if phone.file not in codes_by_file:
            raise InputError(f"{phone.file}: has phones but no tokens")
        times = phone.onset, phone.offset
        first, end = (math.ceil(Fraction(time) * rate_hz - half) for time in times)
        own = codes_by_file[phone.file][first:end]
        codes.append(own)
        labels.append(np.full(len(own), names.setdefault(phone.phone, len(names))))
    if not sum(map(len, codes)):
        raise InputError("no frame lies within a phone: expected phones of these files")
    pairs = np.concatenate(labels), np.concatenate(codes)
    histogram = np.zeros([int(column.max()) + 1 for column in pairs], np.int64)
    np.add.at(histogram, pairs, 1)
    return purity_of(histogram)


def purity_of(histogram: Int[np.ndarray, "p c"]) -> PhonePurity:
    """The measures of a joint histogram that is not empty."""
    frames = int(histogram.sum())
    phones, codes = histogram.sum(axis=1), histogram.sum(axis=0)
    information = entropy(phones) + entropy(codes) - entropy(histogram.reshape(-1))
    are_several = np.count_nonzero(phones) > 1
    return PhonePurity(
        phone_purity=float(histogram.max(axis=0).sum() / frames),
        cluster_purity=float(histogram.max(axis=1).sum() / frames),
        normalized_mutual_information=information / entropy(phones) if are_several else None,
        used=int(np.count_nonzero(codes)),
        frames=frames,
    )
