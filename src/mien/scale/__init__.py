"""Work on several processes or machines: engines, and the datasets that they write."""
