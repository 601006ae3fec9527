#!/usr/bin/env python3
"""Twenty small images from a mirror, read in a thread pool and counted by outcome.

    images.py FOLDER [PATH ...] [--threads N]

Without PATHs, the covers of twenty books on a Project Gutenberg mirror. Prints
the size of each image in pixels, each failure with its reason, and how many came
out how.
"""

import argparse
import struct
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BOOKS = [11, 16, 35, 46, 55, 64, 74, 76, 84, 98, 120, 174, 345, 844, 1080, 1184, 1342, 1661, 2701, 4300]
COVERS = [f"cache/epub/{book}/pg{book}.cover.small.jpg" for book in BOOKS]


def pixels(data: bytes) -> str:
    """Width and height of a JPEG, from its frame header."""
    if data[:2] != b"\xff\xd8" or data[-2:] != b"\xff\xd9":
        raise ValueError("not a whole JPEG")
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], struct.unpack(">H", data[at + 2 : at + 4])[0]
        if marker in (0xC0, 0xC1, 0xC2):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return f"{width}x{height}"
        at += 2 + length
    raise ValueError("a JPEG without a frame")


def look(path: Path) -> tuple[str, str]:
    """The outcome for one image, and what there is to say."""
    try:
        data = path.read_bytes()
        return "OK", f"{len(data)} bytes, {pixels(data)}"
    except FileNotFoundError:
        return "NOT FOUND", "no such file"
    except ValueError as error:
        return "DAMAGED", str(error)
    except OSError as error:
        return "ERROR", error.strerror or str(error)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a mounted or copied mirror")
    parser.add_argument("paths", nargs="*", default=COVERS, help="images below it")
    parser.add_argument("--threads", type=int, default=20)
    args = parser.parse_args()

    with ThreadPoolExecutor(args.threads) as pool:
        outcomes = list(pool.map(lambda path: look(args.folder / path), args.paths))
    for path, (outcome, text) in zip(args.paths, outcomes):
        print(f"{outcome:10} {path}: {text}")
    counts = Counter(outcome for outcome, _ in outcomes)
    print(", ".join(f"{outcome}: {n}" for outcome, n in sorted(counts.items())))
    return 0 if counts["OK"] == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
