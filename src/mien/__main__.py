"""`python -m mien`: the `mien` command where its script is not on the path."""

from mien.cli.main import run

if __name__ == "__main__":
    run()
