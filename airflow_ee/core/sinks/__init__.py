"""Where pixels go: files that are written whole or not at all."""
