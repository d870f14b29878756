"""`python -m audiolm_jax` is the same as `audiolm`."""

import sys

from audiolm_jax.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
