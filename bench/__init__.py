"""What perdure costs beside other stores and the bare driver, measured in one run.

``python -m bench --help``; docs/benchmarks.md says what each row means.
"""
