"""File formats of a model, one module each."""
