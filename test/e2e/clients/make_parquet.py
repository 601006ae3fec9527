"""Writes the parquet files of the fixture into a folder: make_parquet.py DIR"""

import sys

import pyarrow as pa
import pyarrow.parquet as pq

UFS = ["SP", "RJ", "MG", "ES", "BA", "PE", "AM", "RS"]

for part in range(4):
    rows = range(part * 50_000, (part + 1) * 50_000)
    table = pa.table({
        "id": pa.array(rows, pa.int64()),
        "uf": pa.array([UFS[i * 7 % 8] for i in rows]).dictionary_encode(),
        "value": pa.array([(i * 2654435761 % 1_000_003) / 7 for i in rows], pa.float64()),
        "name": pa.array([f"município {i * 40503 % 99991}" for i in rows]),
    })
    pq.write_table(table, f"{sys.argv[1]}/part-{part}.parquet", row_group_size=10_000)
