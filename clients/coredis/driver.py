"""Driver for coredis: library.py, in the conversation that the drivers in Python share."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "python-driver"))

import conversation  # first of all: it keeps the real stdout for the protocol

import library

if __name__ == "__main__":
    conversation.main(library)
