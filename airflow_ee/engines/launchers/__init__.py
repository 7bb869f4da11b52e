"""Scripts that clusters are handed: of a name that hides no package when they run."""
