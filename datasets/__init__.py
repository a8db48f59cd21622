"""Pictures on disk → batches of normalised arrays. Knows nothing of models."""
