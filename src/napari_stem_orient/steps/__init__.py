"""What the program does, one file a step: a choice that is data, and from choice and inputs to a plan and a job."""
