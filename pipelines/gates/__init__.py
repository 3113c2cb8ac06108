"""The gates: what each measures, and how its evidence is judged."""
