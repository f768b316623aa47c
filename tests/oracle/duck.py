"""Runs SQL from standard input in DuckDB; a line `--#` stands before each query. See peers.lua for what is printed."""
import struct
import sys

import duckdb


def text(value):
    if value is None:
        return "n"
    if isinstance(value, bool):
        return "b1" if value else "b0"
    if isinstance(value, int):
        return f"i{value}"
    if isinstance(value, float):
        return "f" + struct.pack(">d", value).hex()
    return "s" + value.encode().hex()


def main():
    script = sys.stdin.buffer.read().decode()
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    statements, *queries = script.split("--#\n")
    for statement in statements.split(";\n"):
        if statement:
            connection.execute(statement)
    for query in queries:
        print("#")
        try:
            for row in connection.execute(query).fetchall():
                print("|".join(map(text, row)))
        except duckdb.Error as error:
            sys.exit(f"{error}\n{query}")


main()
