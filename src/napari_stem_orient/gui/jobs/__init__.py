"""The threads that jobs run in, and the jobs that more than one panel starts."""
