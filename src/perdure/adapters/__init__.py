"""Stores of agent frameworks, kept in perdure: one module each, none of them needed by the core."""
