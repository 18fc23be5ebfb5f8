"""The update seam: gradients go in, new weights come out."""
