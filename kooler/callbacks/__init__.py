"""The loop seam after a step: what is shown, measured and kept between steps."""
