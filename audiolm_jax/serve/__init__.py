"""A bundle as a page on this machine: a prompt recorded or dropped in, its continuation heard while
it is made."""
