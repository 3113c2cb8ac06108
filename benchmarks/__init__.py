"""What `make bench` measures: ratios in one run, medians of alternating repetitions, equal results first."""
