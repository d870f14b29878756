"""What the configs of this folder share: two hours of five voices, 2 CPU cores."""

from audiolm_jax.data.sources import AudioDataConfig

DATA = AudioDataConfig(
    source="data/asterisk_voices",
    dataset="asterisk_voices",
    exclude=("*/beep*.*", "*-2tone.*", "*/silence/*", "*/tt-monkeys.*"),  # no speech
)
# Synthetic speech with known phones: ./launch/flite.sh
FLITE = {
    "audio_dir": "data/flite",
    "items": "data/flite/triphones.item",
    "alignments": "data/flite/alignments.tsv",
}
