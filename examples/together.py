#!/usr/bin/env python3
"""Many threads and asyncio tasks read different files at once.

    together.py FOLDER [--files N] [--threads N] [--tasks N]

A program that shares one FTP connection among threads hangs or mixes up files
when it does this. Here every file below FOLDER (the first N) is read once by a
thread and once by an asyncio task, all at the same time, in pieces of odd sizes.
Both readings must agree, and with the size that the folder shows. Prints a
SHA-256 for each file.
"""

import argparse
import asyncio
import hashlib
import itertools
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def files_below(folder: Path):
    """Every file below a folder, in order."""
    for where, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(where, name)


def checksum(path: Path, piece: int) -> tuple[int, str]:
    total, digest = 0, hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while data := file.read(piece):
            total += len(data)
            digest.update(data)
    return total, digest.hexdigest()


async def checksum_task(path: Path, limit: asyncio.Semaphore, pool: ThreadPoolExecutor) -> tuple[int, str]:
    """The same, a piece at a time, giving way to other tasks between pieces."""
    loop = asyncio.get_running_loop()
    total, digest = 0, hashlib.sha256()
    async with limit:
        file = await loop.run_in_executor(pool, lambda: open(path, "rb", buffering=0))
        try:
            while data := await loop.run_in_executor(pool, file.read, 50_021):
                total += len(data)
                digest.update(data)
        finally:
            file.close()
    return total, digest.hexdigest()


async def read_all(paths: list[Path], threads: int, tasks: int):
    """Every file by a thread and by a task, at once; failures are results too."""
    loop = asyncio.get_running_loop()
    limit = asyncio.Semaphore(tasks)
    with ThreadPoolExecutor(threads) as readers, ThreadPoolExecutor(tasks) as pieces:
        by_thread = [loop.run_in_executor(readers, checksum, path, 10_007) for path in reversed(paths)]
        by_task = [asyncio.create_task(checksum_task(path, limit, pieces)) for path in paths]
        first = await asyncio.gather(*by_thread, return_exceptions=True)
        second = await asyncio.gather(*by_task, return_exceptions=True)
    return list(reversed(first)), second


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a mounted or copied folder")
    parser.add_argument("--files", type=int, default=200, help="read so many at most")
    parser.add_argument("--threads", type=int, default=32)
    parser.add_argument("--tasks", type=int, default=32)
    args = parser.parse_args()

    paths = list(itertools.islice(files_below(args.folder), args.files))
    first, second = asyncio.run(read_all(paths, args.threads, args.tasks))
    failed = 0
    for path, one, other in zip(paths, first, second):
        name = path.relative_to(args.folder)
        error = next((r for r in (one, other) if isinstance(r, BaseException)), None)
        if error is not None:
            failed += 1
            print(f"{name}: {error}", file=sys.stderr)
        elif one != other or one[0] != path.stat().st_size:
            failed += 1
            print(f"{name}: a thread read {one}, a task {other}, its size is {path.stat().st_size}", file=sys.stderr)
        else:
            print(f"{one[1]}  {one[0]:9}  {name}")
    print(f"{len(paths) - failed} of {len(paths)} files")
    return 1 if failed or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
