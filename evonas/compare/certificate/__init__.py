"""Certificates: the gain of a layer over a baseline on a ladder of sizes, and what may be claimed of it."""
