"""What the configs of this folder share: the synthetic stories of ./launch/stories.sh."""

from audiolm_jax.data.sources import AudioDataConfig

# 24 hours of 16 voices; three more voices, and one story in twenty, are in folders beside it.
DATA = AudioDataConfig(
    audio_dir="data/stories/train",
    dataset="stories",
    heldout_percent=1,  # to watch the training by; what is reported comes from the other folders
)
