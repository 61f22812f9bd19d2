"""The version of the product; setup.py reads it too."""

VERSION = "0.1.0"
