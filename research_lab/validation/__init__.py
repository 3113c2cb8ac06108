"""Can the result be believed: look-ahead, walk-forward and overfitting statistics."""
