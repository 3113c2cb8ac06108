"""What `make bench` measures: ratios in one run, medians, with equal results checked first."""
