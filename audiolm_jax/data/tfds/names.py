"""Where a prepared dataset of TFDS lies: by the name that TFDS itself takes, or a folder.

    tfds:NAME[/CONFIG][:VERSION][/OPTION=VALUE[,OPTION=VALUE]]

as in `tfds.load`, with the options `data_dir` and `sample_rate`, the rate of sound whose dataset
names none.
"""

import contextlib
import dataclasses
import json
import os
import re
from pathlib import Path

from audiolm_jax.artifacts.storage import at
from audiolm_jax.audio.names import shown
from audiolm_jax.errors import InputError

PREFIX = "tfds:"
INFO, FEATURES = "dataset_info.json", "features.json"
_OPTIONS = ("data_dir", "sample_rate")
_NAME = re.compile(
    r"(?P<name>[a-zA-Z]\w*)(/(?P<config>[\w+.-]+))?(:(?P<version>(\d+|\*)(\.(\d+|\*)){2}))?"
    r"(/(?P<options>\w+=[^,]+(,\w+=[^,]+)*))?"
)
_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclasses.dataclass(frozen=True)
class Place:
    """Of a prepared dataset."""

    folder: Path
    sample_rate_hz: int | None = None  # as the name has it


def is_dataset(source: str) -> bool:
    """Whether a source is a name, or the folder of a prepared dataset."""
    if source.startswith(PREFIX):
        return True
    return all((at(source) / name).is_file() for name in (INFO, FEATURES))


def place_of(source: str) -> Place:
    """The folder that a source means; InputError, with what to do, if nothing is prepared there."""
    if not source.startswith(PREFIX):
        return Place(at(source))
    found = _NAME.fullmatch(source.removeprefix(PREFIX))
    options = dict(pair.split("=", 1) for pair in ((found and found["options"]) or "").split(",")
                   if pair)  # fmt: skip
    rate = options.get("sample_rate", "1")
    if found is None or set(options) - set(_OPTIONS) or not rate.isdecimal():
        raise InputError(
            f"--data.source = {shown(source)}: expected tfds:NAME, tfds:NAME/CONFIG:1.2.3 or, "
            f"after another /, {' or '.join(f'{name}=...' for name in _OPTIONS)}"
        )
    root = os.path.expanduser(
        options.get("data_dir") or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    )
    top = at(root) / found["name"]
    config = found["config"] or _default_config(top)
    fit = _versions(top / config if config else top, found["version"] or "*.*.*")
    if not fit:
        raise _unprepared(source, found, root, "data_dir" in options)
    return Place(fit[-1], int(rate) if "sample_rate" in options else None)


def _default_config(top: Path) -> str:
    """As TFDS noted it when it prepared one."""
    try:
        return str(json.loads((top / ".config/metadata.json").read_text())["default_config_name"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _versions(folder: Path, pattern: str) -> list[Path]:
    """The prepared versions in a folder that are meant, the newest last."""
    try:
        names = [path.name for path in folder.iterdir() if _VERSION.fullmatch(path.name)]
    except OSError:
        return []
    wanted = re.compile(r"\.".join(p.replace("*", r"\d+") for p in pattern.split(".")))
    names = [name for name in names if wanted.fullmatch(name)]
    names.sort(key=lambda name: [int(part) for part in name.split(".")])
    return [folder / name for name in names if (folder / name / FEATURES).is_file()]


def _unprepared(source: str, found: re.Match[str], root: str, is_given: bool) -> InputError:
    configs = [at(root) / found["name"]]
    with contextlib.suppress(OSError):
        configs += sorted(path for path in configs[0].iterdir() if path.is_dir())
    there = [str(path.relative_to(at(root))) for top in configs for path in _versions(top, "*.*.*")]
    what = f" (there are {', '.join(there)})" if there else ""
    name = found["name"] + (f"/{found['config']}" if found["config"] else "")
    name += f":{found['version']}" if found["version"] else ""
    where = f", data_dir='{shown(root)}'" if is_given else ""
    return InputError(
        f"--data.source = {shown(source)}: not prepared in {shown(root)}{what}; nothing is "
        f'downloaded here: python -c "import tensorflow_datasets as tfds; tfds.builder('
        f"'{name}', file_format='array_record'{where}).download_and_prepare()\" does"
    )
