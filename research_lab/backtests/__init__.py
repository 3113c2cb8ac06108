"""The bridge to vectorbt: cross-checks on an independent portfolio engine."""
