"""Long-running operations: their life, their files, their memory across restarts."""
