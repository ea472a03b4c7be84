"""The one look of every report and plot: a palette, a stylesheet, HTML templates, figures."""
