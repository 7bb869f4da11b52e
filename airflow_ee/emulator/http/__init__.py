"""Sockets, requests and answers. Knows methods by name only; what they do is in ``api``."""
