"""Market data: the lake and its zones, quality checks and synthetic worlds."""
