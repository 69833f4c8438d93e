"""How runs outlive a crash, and where they happen: journals, the cache of patterns, the process of a training."""
