"""Spaces to search in, by name: `keras-densenet search spaces` lists them."""
