"""A bundle as a page on this machine: a prompt recorded or dropped in, its continuation heard while
it is made."""

LOOPBACK = ("127.0.0.1", "::1", "localhost")  # names by which a machine calls itself
