"""The checksum of TFRecord, the format of TensorBoard's event files: a masked CRC-32C."""

from __future__ import annotations

POLYNOMIAL = 0x82F63B78
"""Castagnoli's polynomial, its lowest bit first."""
MASK = 0xA282EAD8


def _remainder(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (POLYNOMIAL if byte & 1 else 0)
    return byte


TABLE = [_remainder(byte) for byte in range(256)]


def masked_crc(content: bytes) -> int:
    """Return the masked CRC-32C of some bytes, as TFRecord stores it: 0 to 2**32 - 1."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    # Rotated and shifted, since the CRC of bytes that contain their own CRC says little.
    return ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF
