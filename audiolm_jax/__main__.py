"""`python -m audiolm_jax` is the same as `audiolm`."""

from audiolm_jax.cli.main import program

if __name__ == "__main__":
    program()
