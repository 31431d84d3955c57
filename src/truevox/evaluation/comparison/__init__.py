"""Comparison: several methods on the same cases, and their rankings."""
