"""Searches for candidates as commands: what is asked for, what is kept, what is shown of them."""
