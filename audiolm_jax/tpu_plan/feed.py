"""What a step asks of the hosts that feed it, beside what a loader was measured to give, on two
shared cores of an AMD EPYC; other CPUs differ (docs/guide/tpu.md)."""

import dataclasses

# Token examples a CPU second through SeqIO, the paper's three stages in batches of 256, the slowest
# and the fastest (benchmarks/data.py). One interpreter lock: of a host hardly more a second.
EXAMPLES_PER_SECOND = (3198.0, 3866.0)
# CPU seconds of a crop by its length in seconds, out of a pack of clips of 60 s at the model's own
# rate (benchmarks/crops.py); of most other files a clip is decoded whole, 0.03 to 0.1 of them.
CROP_CPU_SECONDS = {3.0: 0.0054, 16.0: 0.0107}


@dataclasses.dataclass(frozen=True)
class Feed:
    """Of one host and second: the least and the most that was measured, beside the need."""

    unit: str
    needed: float
    given: tuple[float, float]  # by a CPU second
    is_shared: bool  # whether threads read, on as many CPUs as there are

    @property
    def cores(self) -> tuple[float, float]:
        """Least and most CPUs of a host that the feed takes, threads taken to scale ideally."""
        least, most = (self.needed / given for given in reversed(self.given))
        return least, most

    @property
    def idle(self) -> tuple[float, float] | None:
        """Least and most share of the time that the chips wait for data, 0 if there is enough; None
        if the CPUs of the host decide."""
        if self.is_shared:
            return None
        least, most = (max(0.0, 1 - given / self.needed) for given in reversed(self.given))
        return least, most


def feed_of(
    units: tuple[str, float], batch_size: int, rows_per_host: int, step_seconds: float
) -> Feed | None:
    """The feed of a step; None for units that no loader was measured with."""
    name, amount = units
    needed = rows_per_host / step_seconds
    if name == "tokens":
        return Feed("examples", needed, EXAMPLES_PER_SECOND, is_shared=False)
    if name != "audio_seconds":
        return None
    (short, fast), (long, slow) = CROP_CPU_SECONDS.items()
    length = amount / batch_size
    cpu = fast + (slow - fast) * (length - short) / (long - short)
    return Feed("seconds of audio", needed * length, (length / cpu,) * 2, is_shared=True)
