"""What the doctor of trainings looks at, and the rules by which it names what went wrong."""
