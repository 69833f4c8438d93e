"""The pieces that panels are put together from."""
