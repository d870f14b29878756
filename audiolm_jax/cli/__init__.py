"""The verbs of the command line, one module each; a verb is imported only when it is called."""
