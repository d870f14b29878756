"""The codec's sizes from what its publishers write beside the weights."""

from typing import Any

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.acoustic.dac.config import DacConfig

# Field of `DacConfig` -> name in the torch file's metadata, name in config.json.
_NAMES = {
    "sample_rate_hz": ("sample_rate", "sampling_rate"),
    "strides": ("encoder_rates", "downsampling_ratios"),
    "encoder_width": ("encoder_dim", "encoder_hidden_size"),
    "decoder_width": ("decoder_dim", "decoder_hidden_size"),
    "levels": ("n_codebooks", "n_codebooks"),
    "codebook_size": ("codebook_size", "codebook_size"),
    "codebook_width": ("codebook_dim", "codebook_dim"),
}


def config_from_descript(content: Any, where: str) -> DacConfig:
    """From the `metadata` of Descript's torch file."""
    match content:
        case {"metadata": {"kwargs": dict(kwargs)}}:
            derived = ("latent_dim", "decoder_rates")
            return _config(kwargs, 0, derived, f"{where}: metadata.kwargs")
    raise InputError(f"{where}: no metadata.kwargs in it; take the file of Descript's release")


def config_from_transformers(fields: Any, where: str) -> DacConfig:
    """From the config.json of the transformers library."""
    kind = fields.get("model_type") if isinstance(fields, dict) else None
    if kind != "dac":
        raise InputError(f"{where}: model_type = {kind!r}, expected 'dac'")
    return _config(fields, 1, ("hidden_size", "upsampling_ratios"), where)


def _config(source: dict[str, Any], column: int, derived: tuple[str, str], where: str) -> DacConfig:
    fields: dict[str, Any] = {}
    for field, names in _NAMES.items():
        name = names[column]
        value = source.get(name)
        of_levels = field == "codebook_width" and isinstance(value, list)
        is_list = field == "strides" or of_levels
        numbers = _whole_numbers(value if is_list else [value], name, where)
        if of_levels and len(set(numbers)) != 1:
            raise InputError(f"{where}: {name} = {value}: expected the same of every level")
        fields[field] = numbers if field == "strides" else numbers[0]
    width, mirrored = derived
    # Both sources derive these two when they are not written down.
    latent = source.get(width)
    if latent is None:
        latent = fields["encoder_width"] * 2 ** len(fields["strides"])
    (fields["latent_width"],) = _whole_numbers([latent], width, where)
    expected = fields["strides"][::-1]
    if _whole_numbers(source.get(mirrored, list(expected)), mirrored, where) != expected:
        reversed_strides = f"{list(expected)}, the encoder's strides reversed"
        raise InputError(f"{where}: {mirrored} = {source[mirrored]}: expected {reversed_strides}")
    try:
        return DacConfig(**fields)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _whole_numbers(value: Any, name: str, where: str) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not all(type(x) is int for x in value):
        read = value[0] if isinstance(value, list) and len(value) == 1 else value
        raise InputError(f"{where}: {name} = {read}: expected whole numbers")
    return tuple(value)
