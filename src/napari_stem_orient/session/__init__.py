"""What is open and chosen in one viewer, as data: one state, one signal that it changed, and rules about it."""
