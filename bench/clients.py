"""The FTP clients that people script with today, as bench contenders.

usage: clients.py CLIENT HOST PORT WORKLOAD [ARG...]

Each run is a process of its own: imports, login and work are all in its time
as they are in a user's script.
"""

import asyncio
import ftplib
import os
import queue
import sys
import threading
import traceback


def connect(host, port):
    ftp = ftplib.FTP()
    ftp.connect(host, port)
    ftp.login()
    return ftp


def fetch(ftp, path):
    size = 0

    def count(block):
        nonlocal size
        size += len(block)

    ftp.retrbinary("RETR " + path, count, 1 << 16)
    return size


def walk(ftp, top):
    """Count the non-empty files below top, as `find -type f -size +0` does."""
    lines, found, dirs = [], 0, []
    ftp.cwd(top)
    ftp.retrlines("LIST", lines.append)
    for line in lines:
        fields = line.split(None, 8)
        if line[0] == "d":
            dirs.append(fields[8])
        elif line[0] == "-" and int(fields[4]) > 0:
            found += 1
    return found + sum(walk(ftp, top + "/" + d) for d in dirs)


def walk_threads(host, port, top, n):
    """walk by n threads, each with a session of its own, that share the directories."""
    todo, found = queue.Queue(), []
    todo.put(top)

    def run():
        ftp = connect(host, port)
        while (d := todo.get()) is not None:
            lines = []
            ftp.cwd(d)
            ftp.retrlines("LIST", lines.append)
            for line in lines:
                fields = line.split(None, 8)
                if line[0] == "d":
                    todo.put(d + "/" + fields[8])
                elif line[0] == "-" and int(fields[4]) > 0:
                    found.append(fields[8])
            todo.task_done()
        ftp.quit()

    crew = [threading.Thread(target=run) for _ in range(n)]
    for t in crew:
        t.start()
    todo.join()
    for _ in crew:
        todo.put(None)
    for t in crew:
        t.join()
    return len(found)


def sequential(host, port, paths):
    ftp = connect(host, port)
    total = sum(fetch(ftp, p) for p in paths)
    ftp.quit()
    return total


def threads(host, port, paths, n):
    """n threads, each with a session of its own: what a careful script does."""
    work, sizes = queue.Queue(), []
    for p in paths:
        work.put(p)

    def run():
        ftp = connect(host, port)
        while True:
            try:
                p = work.get_nowait()
            except queue.Empty:
                ftp.quit()
                return
            sizes.append(fetch(ftp, p))

    crew = [threading.Thread(target=run) for _ in range(n)]
    for t in crew:
        t.start()
    for t in crew:
        t.join()
    return sum(sizes)


async def aio(host, port, paths):
    import aioftp

    async def one(p):
        size = 0
        async with aioftp.Client.context(host, port) as client:
            async with client.download_stream(p) as stream:
                async for block in stream.iter_by_block(1 << 16):
                    size += len(block)
        return size

    return sum(await asyncio.gather(*map(one, paths)))


def give_up(failure):
    """One failed thread fails the run, whoever waits for it."""
    traceback.print_exception(failure.exc_value)
    os._exit(1)


def main():
    threading.excepthook = give_up
    client, host, port, workload, *args = sys.argv[1:]
    port = int(port)
    if workload == "walk" and client == "ftplib":
        print(walk(connect(host, port), "/" + args[0]))
    elif workload == "walk":
        print(walk_threads(host, port, "/" + args[0], int(client.rsplit("-", 1)[1])))
    elif client == "ftplib":
        print(sequential(host, port, args))
    elif client.startswith("ftplib-threads-"):
        print(threads(host, port, args, int(client.rsplit("-", 1)[1])))
    elif client == "aioftp":
        print(asyncio.run(aio(host, port, args)))
    else:
        raise SystemExit("unknown client " + client)


main()
