"""TTIR text read into ops, and rewrites of them before anything is lowered."""
