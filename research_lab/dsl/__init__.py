"""The language: text -> typed expression -> program. Nothing is ever evaluated as Python."""
