"""The benchmark's queries in DuckDB, each in the fastest of the idiomatic forms that were tried.

Usage: duck.py words|urls|sort INPUT OUTPUT [MEMORY]
"""
import sys

import duckdb


def lines(path):
    """Whole lines: CSV with one column and a separator that does not occur."""
    return (f"read_csv('{path}', columns={{'line': 'VARCHAR'}}, header=false, delim='\x01', "
            "quote='', escape='', auto_detect=false)")


def log_fields(path):
    """A line of the log cut at blanks; only the columns that a query names are made."""
    names = ", ".join(f"'f{i}': 'VARCHAR'" for i in range(1, 11))
    return (f"read_csv('{path}', columns={{{names}}}, header=false, delim=' ', quote='', escape='', "
            "auto_detect=false)")


QUERIES = {
    "words": lambda path: "SELECT word, count(*) FROM (SELECT unnest(string_split(line, ' ')) AS word "
                          f"FROM {lines(path)}) GROUP BY word",
    "urls": lambda path: f"SELECT f7, count(*) AS n FROM {log_fields(path)} "
                         "GROUP BY f7 ORDER BY n DESC, f7 LIMIT 5",
    "sort": lambda path: f"SELECT line FROM {lines(path)} ORDER BY line",
}


def main():
    query, source, target, memory = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
    connection = duckdb.connect()
    connection.execute("SET threads = 2")
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(f"SET temp_directory = '{target}.tmp'")
    if memory:
        connection.execute(f"SET memory_limit = '{memory[0]}'")
    connection.execute(f"COPY ({QUERIES[query](source)}) TO '{target}' "
                       "(FORMAT csv, HEADER false, DELIMITER '\t', QUOTE '', ESCAPE '')")


main()
