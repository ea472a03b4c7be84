"""The doctor's rules, one file for each kind of fault; importing this package registers them."""

# The order of the imports is the order of the findings: the causes before what they lead to.
from mien.doctor.rules import loop, schedule, shapes  # isort: skip  # noqa: F401
from mien.doctor.rules import design, scaling, inputs, encoding  # isort: skip  # noqa: F401
from mien.doctor.rules import criterion, optimizer, progress, constant  # isort: skip  # noqa: F401
from mien.doctor.rules import evaluation, sequences, opponents  # isort: skip  # noqa: F401
from mien.doctor.rules import rates, tiny_steps, steps  # isort: skip  # noqa: F401
from mien.doctor.rules import data, classes, validation  # isort: skip  # noqa: F401
from mien.doctor.rules import reproducibility, fitting, underfitting  # isort: skip  # noqa: F401
