"""The watch as a callback of other trainers; each module imports its trainer when it is used."""
