"""The contract of every engine: what each feature does, on all of them, async and sync.

Run by `perdure.testing.check_engine(url)`, and by pytest in perdure's own suite.
"""
