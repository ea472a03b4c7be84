"""Pixels: reading pictures, cropping faces, drawing on pictures. Used by data, train, predict."""
