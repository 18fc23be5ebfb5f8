"""The loss seam: what is minimised, and what is reported."""
