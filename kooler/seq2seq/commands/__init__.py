"""The commands, one file each: options, what is checked before Keras starts, and what they call."""
