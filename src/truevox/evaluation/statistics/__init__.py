"""Statistics of paired scores: tests, intervals by patient, effects, equivalence, agreement."""
