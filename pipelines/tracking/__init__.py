"""MLflow, a mirror for people: campaigns, registered models, and what anchors ledgers of trials.

The only modules that import MLflow, and only inside functions, since that costs seconds. Everything goes
through one `MlflowClient` with an explicit address; MLflow's global state is neither read nor set, but
for its environment variables, which a user's own settings go before.

The truth is on disk: the map, the audit log, the candidates' folders.
"""
