"""The one exception that means "the user can mend this": it is printed as a single line."""


class InputError(ValueError):
    """Bad input from outside: a file, a field of a config, a folder, a flag.

    The message is one line: file or field, what was there, what was expected, what to do. The
    command line prints it on standard error and exits with status 2; any other exception is a bug.
    """
