"""The one look of every report and plot."""
