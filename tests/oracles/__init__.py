"""Independent answers: written from the stated rules alone, slow and obvious, to be compared with the engine."""
