"""Fitted models: from a file of features and a target to a causal score, one for every bar."""
