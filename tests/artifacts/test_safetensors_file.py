"""The bytes of the library's own writer, for any names, shapes and dtypes."""

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from audiolm_jax.artifacts.safetensors_file import SafetensorsWriter

DTYPES = "uint64 int64 float64 complex64 float32 uint32 int32 float16 uint16 int16 int8 uint8 bool"


@pytest.mark.parametrize("seed", range(20))
def test_the_file_is_the_library_s(tmp_path, seed):
    rng = np.random.default_rng(seed)
    dtypes = [*map(np.dtype, DTYPES.split()), np.dtype(ml_dtypes.bfloat16)]
    arrays = {}
    for _ in range(rng.integers(0, 30)):
        letters = rng.choice(list('ab.Z_"\\/é日😀\n\x7f 0'), rng.integers(1, 9))
        shape = rng.integers(0, 4, rng.integers(0, 4)).tolist()
        dtype = dtypes[rng.integers(len(dtypes))]
        size = int(np.prod(shape)) * dtype.itemsize
        bits = rng.integers(0, 2 if dtype.kind == "b" else 256, size, np.uint8)
        arrays["".join(letters)] = bits.view(dtype).reshape(shape)
    with (tmp_path / "ours").open("wb") as file:
        writer = SafetensorsWriter(file, arrays)
        for name in rng.permutation(list(arrays)):
            writer.write(name, arrays[name])
    save_file(arrays, tmp_path / "library's")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "library's").read_bytes()


def test_a_dtype_without_a_name_is_refused(tmp_path):
    with (
        (tmp_path / "x").open("wb") as file,
        pytest.raises(ValueError, match="no dtype complex128"),
    ):
        SafetensorsWriter(file, {"x": np.zeros(2, np.complex128)})


def test_what_is_written_is_read(tmp_path):
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.ones(3, np.int32)}
    with (tmp_path / "x").open("wb") as file:
        writer = SafetensorsWriter(file, arrays)
        for name, array in arrays.items():
            writer.write(name, array)
    for name, array in load_file(tmp_path / "x").items():
        np.testing.assert_array_equal(array, arrays[name], strict=True)
