"""Where audio comes from, said without a library of audio, so that a config is read at once."""

import dataclasses
import re
from typing import Literal

from audiolm_jax.artifacts.identity import Place, PlaceOrName
from audiolm_jax.errors import InputError

Split = Literal["train", "heldout"]
SPLITS: tuple[Split, ...] = ("train", "heldout")


@dataclasses.dataclass(frozen=True)
class AudioDataConfig:
    """Which recordings to use and how to read them."""

    source: PlaceOrName
    """Folder of wav, w64, flac, mp3, ogg, opus, m4a or g722 files, searched in depth; a pack of
    them (`audiolm pack`), which gives the same clips, to the bit; a dataset that TFDS has prepared,
    tfds:librispeech/lazy_decode:2.1.2 or its folder (docs/guide/corpora.md); or a corpus of yours,
    mypackage.corpus:open_corpus (docs/guide/extending.md)."""
    dataset: str = "audio"
    """Short name of the corpus, part of task names and token stores."""
    heldout_percent: int | float = 10  # an int stays one: hashes of configs tell 10 from 10.0
    """Share of the files, 0 to 99, that training never sees, such as 0.1; chosen by content. Files
    that are added move no others."""
    heldout_minutes: float | None = None
    """Minutes that training never sees, in place of heldout_percent: whole files in the order of
    their hashes until so much is reached. Files that are added may move the last of them."""
    split_by: int | str = "file"
    """What is held out as a whole: a "file"; a "speaker", named by the corpus, by metadata.tsv or
    by the first folder below source; the first so many folders, such as 2 for speaker/book; or
    all that has the same entry in a column of metadata.tsv, such as "story", or a field of a
    dataset of TFDS; each chosen by its name. "time": the end of each long file, for few files.
    "official": what a corpus calls dev or test; heldout_percent and heldout_minutes then count for
    nothing."""
    min_seconds: float = 0.3
    """Shorter files are refused and listed as bad."""
    max_seconds: float = 60.0
    """Longer files are read as consecutive clips of equal length, none longer."""
    exclude: tuple[str, ...] = ()
    """Patterns of paths below source to leave out, such as "*/beep.*", and to list as bad."""
    sample_rate_hz: int = 16_000
    """Rate that everything is converted to; mono."""
    resampler: Literal["soxr_hq"] = "soxr_hq"  # of `audio.resample.Resampler`
    """Named recipe of the conversion, part of the data fingerprint."""
    index: Place | None = None
    """Folder of the index of source (`audiolm index`), which tells what is in the files without
    decoding them; None: .audiolm_index in source, of module:attribute a place in the user's cache
    folder, or nowhere if that cannot be written."""

    def __post_init__(self) -> None:
        if not 0 <= self.heldout_percent <= 99:
            raise InputError(f"--data.heldout-percent = {self.heldout_percent}: expected 0 to 99")
        if self.heldout_minutes is not None and not self.heldout_minutes > 0:
            raise InputError(f"{self.heldout_flag}: expected more than 0, or None")
        unit = self.split_by
        if unit < 1 if isinstance(unit, int) else not unit.strip():
            raise InputError(
                f"--data.split-by = {unit}: expected file, speaker, time, official, the name of a "
                "column of metadata.tsv, 1, 2 ..."
            )
        if not 0 < self.min_seconds < self.max_seconds / 2:
            raise InputError(
                f"--data.min-seconds = {self.min_seconds}: expected more than 0 and less than half "
                f"of --data.max-seconds = {self.max_seconds}"
            )
        if not 4_000 <= self.sample_rate_hz <= 192_000:
            raise InputError(
                f"--data.sample-rate-hz = {self.sample_rate_hz}: expected 4000 to 192000"
            )
        if not re.fullmatch(r"\w+", self.dataset, re.ASCII):  # it becomes part of a SeqIO name
            raise InputError(f"--data.dataset = {self.dataset!r}: expected letters, digits and _")

    @property
    def heldout_flag(self) -> str:
        """The option that says how much is held out, with its value."""
        if self.heldout_minutes is not None:
            return f"--data.heldout-minutes = {self.heldout_minutes}"
        return f"--data.heldout-percent = {self.heldout_percent}"


@dataclasses.dataclass(frozen=True)
class NoiseConfig:
    """Which noise is mixed in, how often and how loud (Paper: SoundStream IV-A)."""

    data: AudioDataConfig
    """Recordings of noise, at the rate of the speech; their held-out files serve evaluation."""
    probability: float = 0.5
    """Of noise in a crop; the others stay clean."""
    gain_db: tuple[float, float] = (-30.0, 0.0)
    """Lowest and highest dB of the noise's peak over the speech's, uniform (paper: -30 to 0)."""
    denoise_probability: float = 0.5
    """Of the switch being on, with noise and without."""

    def __post_init__(self) -> None:
        for name in ("probability", "denoise_probability"):
            if not 0 <= getattr(self, name) <= 1:
                flag = f"--noise.{name.replace('_', '-')}"
                raise InputError(f"{flag} = {getattr(self, name)}: expected 0 to 1")
        if not self.gain_db[0] <= self.gain_db[1] < float("inf"):
            raise InputError(f"--noise.gain-db = {self.gain_db}: expected the lower level first")
