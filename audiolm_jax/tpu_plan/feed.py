"""What a step asks of the hosts that feed it, beside what a loader was measured to give, on two
shared cores of an AMD EPYC; other CPUs differ (docs/guide/tpu.md)."""

import dataclasses

# Token examples a CPU second through SeqIO, the paper's three stages in batches of 256, the slowest
# and the fastest (benchmarks/data.py). One interpreter lock: of a host hardly more a second.
EXAMPLES_PER_SECOND = (3198.0, 3866.0)
# CPU seconds of a crop by its length in seconds, out of FLAC clips of 60 s at the model's own rate
# (benchmarks/crops.py); at other rates and of most formats clips are decoded whole, 0.05 or more.
CROP_CPU_SECONDS = {3.0: 0.0077, 16.0: 0.0275}
_THREADS = 4  # of a host's, as many as its CPUs, that are taken to scale ideally


@dataclasses.dataclass(frozen=True)
class Feed:
    """Of one host and second: the least and the most that was measured, beside the need."""

    unit: str
    needed: float
    given: tuple[float, float]

    @property
    def idle(self) -> tuple[float, float]:
        """Least and most share of the time that the chips wait for data; 0 if there is enough."""
        least, most = (max(0.0, 1 - given / self.needed) for given in reversed(self.given))
        return least, most


def feed_of(
    units: tuple[str, float], batch_size: int, rows_per_host: int, step_seconds: float
) -> Feed | None:
    """The feed of a step; None for units that no loader was measured with."""
    name, amount = units
    needed = rows_per_host / step_seconds
    if name == "tokens":
        return Feed("examples", needed, EXAMPLES_PER_SECOND)
    if name != "audio_seconds":
        return None
    (short, fast), (long, slow) = CROP_CPU_SECONDS.items()
    cpu = fast + (slow - fast) * (amount / batch_size - short) / (long - short)
    return Feed("crops", needed, (_THREADS / cpu,) * 2)
