"""The loop seam before a step: where batches come from."""
