"""Commands of this repository that are no part of the distribution: the local stack, ``make up`` and ``make demo``."""
