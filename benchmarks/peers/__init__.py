"""Scripts that do work A in a peer's own environment; they import nothing of ours."""
