"""The shipped models: ONNX files, each with its model card beside it."""
