"""The step seam: how often, and on what, the loss is evaluated in one training step."""
