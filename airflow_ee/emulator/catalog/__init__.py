"""What can be loaded: mounted folders, simulated collections, and assets that exports have made."""
