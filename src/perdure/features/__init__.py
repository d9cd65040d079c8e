"""WHAT is kept: each feature is written once, for every engine, in two files: plans and SQL."""
