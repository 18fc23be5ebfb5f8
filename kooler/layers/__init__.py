"""The forward seam: tensors and masks on their way through a model."""
