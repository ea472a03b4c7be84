"""Pixels: reading images, cropping faces, drawing on images. Used by data, train and predict."""
