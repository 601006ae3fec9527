"""Reads tables below a folder by one of the ways people do, and prints what came.

tables.py WAY DIR
"""

import hashlib
import sys
import zipfile
from pathlib import Path


def digest(frame):
    """One number for a data frame: its columns, types and every value."""
    import pandas as pd

    h = hashlib.sha256(repr(list(zip(frame.columns, map(str, frame.dtypes)))).encode())
    h.update(pd.util.hash_pandas_object(frame, index=True).to_numpy().tobytes())
    print(frame.shape, h.hexdigest())


def pandas_csv(root):
    import pandas as pd

    digest(pd.read_csv(root / "table.csv"))
    digest(pd.read_csv(root / "table.csv", engine="python", nrows=500))
    digest(pd.read_csv(root / "table.csv", memory_map=True))
    for chunk in pd.read_csv(root / "table.csv", chunksize=50_000, usecols=["id", "value"]):
        digest(chunk)


def pandas_parquet(root):
    import pandas as pd

    for path in sorted(root.glob("*.parquet")):
        digest(pd.read_parquet(path))
    digest(pd.read_parquet(root / "part-2.parquet", columns=["value"]))


def pyarrow_read(root):
    import pyarrow.parquet as pq

    for path in sorted(root.glob("*.parquet")):
        digest(pq.read_table(path, memory_map=False).to_pandas())


def pyarrow_memory_map(root):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in sorted(root.glob("*.parquet")):
        digest(pq.read_table(path, memory_map=True).to_pandas())
        with pa.memory_map(str(path)) as source:
            print(path.name, hashlib.sha256(source.read_buffer()).hexdigest())
            digest(pq.ParquetFile(source).read_row_group(3).to_pandas())


def duckdb_glob(root):
    import duckdb

    for query in (
        "SELECT uf, count(*), sum(id), sum(round(value)), min(name), max(name) FROM '{}/part-*.parquet' GROUP BY uf ORDER BY uf",
        "SELECT count(*), sum(id), sum(round(value)), count(DISTINCT name) FROM read_csv('{}/*.csv')",
        "SELECT parse_filename(filename), count(*) FROM read_parquet('{}/part-*.parquet', filename=true) GROUP BY 1 ORDER BY 1",
    ):
        for row in duckdb.sql(query.format(root)).fetchall():
            print(row)


def zip_members(root):
    with zipfile.ZipFile(root / "bundle.zip") as bundle:
        print(bundle.testzip())
        for member in bundle.infolist():
            print(member.filename, member.file_size, hashlib.sha256(bundle.read(member)).hexdigest())


def pyreaddbc(root):
    """Prints the sum of each table, as decoded and with the header's last byte 0,
    as it is in some files that DATASUS publishes and as decoders repair it."""
    import tempfile

    from pyreaddbc import dbc2dbf

    for path in sorted(root.glob("*.dbc")):
        with tempfile.TemporaryDirectory() as work:
            out = Path(work) / "out.dbf"
            dbc2dbf(str(path), str(out))
            table = bytearray(out.read_bytes())
        print(path.stem, hashlib.sha256(table).hexdigest(), end=" ")
        table[int.from_bytes(table[8:10], "little") - 1] = 0
        print(hashlib.sha256(table).hexdigest())


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
