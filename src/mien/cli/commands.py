"""The commands of `mien`, in the order of the help."""

from __future__ import annotations

COMMANDS = {
    "predict": "Predict the expression of each face in images.",
    "video": "Track faces in videos and predict their expressions.",
    "people": "Find the same person again in rows of videos.",
    "live": "Predict expressions on a live camera image.",
    "view": "Show results: videos, timelines, people, corrections.",
    "data": "Build, inspect and audit datasets.",
    "train": "Train a network from a recipe.",
    "doctor": "Diagnose a training run and suggest remedies.",
    "study": "Test claims over a grid of trainings.",
    "evaluate": "Evaluate a model, with confidence intervals.",
    "convert": "Convert rows of videos for other software.",
    "session": "Derive the tables of a study of people.",
    "agree": "Measure the agreement of human codings and mien's.",
    "explain": "Show which parts of a face a model relies on.",
    "export": "Export a trained network as one ONNX file.",
    "push": "Upload a model to a Hugging Face hub.",
    "quantize": "Quantize a model to int8.",
    "calibrate": "Set a class prior; calibrate prediction sets.",
    "models": "List the models: size, speed, accuracy, licence.",
    "networks": "List the network architectures and their cost.",
    "serve": "Serve predictions over HTTP, with a web page.",
}
"""Short help of each command; a command is a function, or a group called `app`, in a file of its
name. Each file imports heavy packages only when it is called."""
QUICK = frozenset({"predict"})
"""Commands whose file does not import Typer and whose function returns the exit code; a plain
command line is parsed by `mien.cli.quick`, which takes a sixth of Typer's time."""
