"""Candidates from a language model: asked in words, answered in text that is read as anybody's."""
