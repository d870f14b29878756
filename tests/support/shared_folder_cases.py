"""What hosts of tests/training/test_shared_folder.py call."""

import os
from pathlib import Path

import jax

from audiolm_jax.errors import InputError
from audiolm_jax.training.shared_folder import check_shared


def check_each(*requests):
    """`check`, once for each request: its words with spaces between them."""
    for request in requests:
        check(*request.split(" "))


def check(root, patience, *apart):
    """Checks runs/x from a working folder of `root`: process i's is named i if that is in `apart`,
    else all share one. Prints that it is seen, or what was refused."""
    number = str(jax.process_index())
    own = Path(root) / (f"disk{number}" if number in apart else "disk")
    own.mkdir(exist_ok=True)
    os.chdir(own)
    try:
        check_shared(Path("runs/x"), float(patience))
        print("seen by all")
    except InputError as error:
        print(error)
