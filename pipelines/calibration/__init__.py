"""The error rates of the whole gauntlet, measured on worlds whose truth is known."""
