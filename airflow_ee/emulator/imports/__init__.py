"""Imports: files of Cloud Storage become assets, as a manifest describes them."""
