"""Minimal pairs: which of two utterances a language model of semantic tokens finds likelier."""
