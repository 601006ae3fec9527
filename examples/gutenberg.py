#!/usr/bin/env python3
"""Thirteen books from a Project Gutenberg mirror, read in a thread pool.

    gutenberg.py FOLDER [ID ...]

FOLDER is a mirror of Project Gutenberg, mounted or copied. For each book, its
folder is listed, the best of its text files picked, the licence around the text
stripped, and the words counted.
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BOOKS = [11, 74, 76, 84, 98, 345, 1080, 1184, 1342, 1661, 2701, 4300, 5200]

# A book's text comes in several encodings; the first found is taken.
FORMS = [("{}-0.txt", "utf-8-sig"), ("{}.txt", "utf-8-sig"), ("{}-8.txt", "iso-8859-1")]


def folder_of(mirror: Path, book: int) -> Path:
    """Where a mirror keeps a book: 1342 is in 1/3/4/1342, and 7 in 0/7."""
    digits = str(book)
    return mirror.joinpath(*(digits[:-1] or "0"), digits)


def text_of(folder: Path) -> str:
    """The text of the book in a folder."""
    there = {path.name: path for path in folder.iterdir()}
    for form, encoding in FORMS:
        path = there.get(form.format(folder.name))
        if path is not None:
            return path.read_text(encoding)
    raise FileNotFoundError(f"no text among {sorted(there)}")


def strip_licence(text: str) -> str:
    """What stands between the START and END lines, or all where they are missing."""
    lines = text.splitlines()
    start = next((i + 1 for i, line in enumerate(lines) if line.startswith("*** START OF")), 0)
    end = next((i for i, line in enumerate(lines) if line.startswith("*** END OF")), len(lines))
    return "\n".join(lines[start:end]).strip()


def read_book(mirror: Path, book: int) -> str:
    text = strip_licence(text_of(folder_of(mirror, book)))
    title = next((line for line in text.splitlines() if line.strip()), "(no title)")
    return f"{len(text.split()):8} words  {title.strip()}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a mirror of Project Gutenberg")
    parser.add_argument("ids", type=int, nargs="*", default=BOOKS, help="the books, by number")
    args = parser.parse_args()

    failed = 0
    with ThreadPoolExecutor(max_workers=len(args.ids)) as pool:
        results = [(book, pool.submit(read_book, args.folder, book)) for book in args.ids]
    for book, result in results:
        try:
            print(f"{book:6}  {result.result()}")
        except (OSError, UnicodeError) as error:
            failed += 1
            print(f"{book:6}  failed: {error}", file=sys.stderr)
    print(f"{len(results) - failed} of {len(results)} books")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
