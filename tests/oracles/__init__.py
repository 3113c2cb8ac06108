"""Independent answers, written from the stated rules alone, slow and obvious, to compare the engine with."""
