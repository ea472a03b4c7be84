"""Every writer of model files: export, quantize, calibrate, card."""
