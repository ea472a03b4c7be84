"""Studies: grids of trainings, statistics over seeds, and a verdict on each claim."""
