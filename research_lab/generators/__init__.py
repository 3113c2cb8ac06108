"""Where candidates come from: grammar, evolution, language models; and the archive of the best and most diverse."""
