"""Benchmarks: each case runs in a process of its own, beside what it is compared with. ``make bench`` runs them all."""
