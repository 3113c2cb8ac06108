"""Look-ahead and warm-up of any Python callable, found by running it on what was known and on other futures."""
