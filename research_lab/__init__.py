"""From bars to evidence: data, language, engine, scoring and validation."""
