"""For whom it works worse: what other evaluations measured, split by who speaks and how."""
