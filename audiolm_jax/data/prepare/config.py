"""How recordings are cut into clips, as a config; `data.prepare.run` does it."""

import dataclasses

from audiolm_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class PrepareConfig:
    """Where recordings are cut, and what is done to the sound."""

    max_seconds: float = 30.0
    """No clip is longer."""
    min_seconds: float = 1.0
    """Shorter clips are dropped."""
    margin_seconds: float = 0.2
    """Of the silence before and after the speech of a clip so much is kept."""
    pause_seconds: float = 0.2
    """So long must there be no speech for a cut to be no hard one."""
    max_pause_seconds: float = 1.5
    """A longer silence always ends a clip, and is dropped but for the margins."""
    sample_rate_hz: int = 16_000
    """Rate of the clips; mono."""
    level_db: float | None = -26.0
    """Level that the speech of each recording is brought to by one gain, RMS in dB below full scale
    (-26 is usual for speech); less where its loudest sample would clip. None leaves it."""
    drop_music: bool = False
    """Drop clips of which more than half is music or singing, also below speech."""

    def __post_init__(self) -> None:
        if not 0.1 <= self.min_seconds < self.max_seconds / 2:
            raise InputError(
                f"--min-seconds = {self.min_seconds}: expected 0.1 or more, and less than half of "
                f"--max-seconds = {self.max_seconds}"
            )
        if not 0 <= self.margin_seconds < self.max_seconds / 4:
            raise InputError(
                f"--margin-seconds = {self.margin_seconds}: expected 0 or more, and less than a "
                f"quarter of --max-seconds = {self.max_seconds}"
            )
        if not 0.03 <= self.pause_seconds <= self.max_pause_seconds:
            raise InputError(
                f"--pause-seconds = {self.pause_seconds}: expected 0.03 or more, and at most "
                f"--max-pause-seconds = {self.max_pause_seconds}"
            )
        if not 4_000 <= self.sample_rate_hz <= 192_000:
            raise InputError(f"--sample-rate-hz = {self.sample_rate_hz}: expected 4000 to 192000")
        if self.level_db is not None and not -60 <= self.level_db < 0:
            raise InputError(f"--level-db = {self.level_db}: expected -60 to below 0, or None")
