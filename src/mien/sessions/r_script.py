"""A script for R that fits a mixed model to a study's windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SCRIPT = """\
# A mixed model of this study's windows: Rscript model.R, in the folder of the tables.
# install.packages("lme4") once; on Debian: apt-get install r-cran-lme4
library(lme4)
if (file.exists("windows-wide.feather") && requireNamespace("arrow", quietly = TRUE)) {{
  windows <- as.data.frame(arrow::read_feather("windows-wide.feather"))
}} else {{
  windows <- read.csv("windows-wide.csv", na.strings = "")
}}
# The change from each participant's own rest where there is a baseline, else the log-odds.
has_baseline <- !all(is.na(windows$change_{label}))
windows$y <- if (has_baseline) windows$change_{label} else windows$log_odds_{label}
windows <- windows[!is.na(windows$y), ]
windows$condition <- factor(ifelse(is.na(windows$condition), "none", windows$condition))
# Neighboring windows are nearly copies of one another: one mean for each {block_s:g} s.
windows$block <- floor(windows$start_s / {block_s:g})
blocks <- aggregate(y ~ participant + session + condition + block, data = windows, FUN = mean)
blocks$participant <- factor(blocks$participant)
blocks$condition <- droplevels(blocks$condition)
# Add your own variables (columns of windows-wide) and random slopes: (condition | participant).
fixed <- if (nlevels(blocks$condition) > 1) "condition" else "1"
random <- if (nlevels(blocks$participant) > 1) "(1 | participant)" else "(1 | block)"
model <- lmer(as.formula(paste("y ~", fixed, "+", random)), data = blocks)
print(summary(model))
cat("\\n95% intervals (Wald)\\n")
print(confint(model, method = "Wald", parm = "beta_"))
"""
BLOCK_S = 5.0
"""Seconds of a block: several times the smoothing of rows; blocks are then nearly independent."""


def r_script(labels: Sequence[str], conditions: Sequence[str]) -> str:
    """Return the script.

    Args:
        labels: of the model; the first one is fitted.
        conditions: of the study, which the script's head names.
    """
    named = ", ".join(one for one in conditions if one)
    head = f"# Conditions: {named}.\n" if named else ""
    return head + SCRIPT.format(label=labels[0], block_s=BLOCK_S)
