"""Scoring of candidates, and the trial ledger that counts every look."""
