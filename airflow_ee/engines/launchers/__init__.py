"""Files that others start as programs; in a folder of their own, because a program's folder comes first on Python's path."""
