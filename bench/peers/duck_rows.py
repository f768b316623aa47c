"""The benchmark's questions about rows in DuckDB, each in the fastest of the idiomatic forms that were tried.

Usage: duck_rows.py QUESTION INPUT[,INPUT] OUTPUT [functions]
"""
import sys

import duckdb

TYPES = {
    "groups": {"id1": "VARCHAR", "id2": "VARCHAR", "id3": "VARCHAR", "id4": "BIGINT", "id5": "BIGINT",
               "id6": "BIGINT", "v1": "BIGINT", "v2": "BIGINT", "v3": "DOUBLE"},
    "purchases": {"purchase_id": "BIGINT", "user_id": "BIGINT", "category": "VARCHAR", "amount": "DOUBLE",
                  "ts": "BIGINT"},
    "users": {"user_id": "BIGINT", "name": "VARCHAR", "age": "BIGINT", "country": "VARCHAR",
              "city": "VARCHAR"},
}


def csv(path, kind):
    """Said types spare the sniffer; only the columns that a query names are converted."""
    return (f"read_csv('{path}', auto_detect=false, header=true, delim=',', quote='\"', escape='\"', "
            f"columns={TYPES[kind]})")


# What the groups' questions compute: of the columns, or of their doubles where luabatch calls a function.
GROUPS = {
    "q1": "SELECT id1, sum({v1}) FROM {t} GROUP BY ALL",
    "q2": "SELECT id1, id2, sum({v1}) FROM {t} GROUP BY ALL",
    "q3": "SELECT id3, sum({v1}), avg({v3}) FROM {t} GROUP BY ALL",
    "q4": "SELECT id4, avg({v1}), avg({v2}), avg({v3}) FROM {t} GROUP BY ALL",
    "q5": "SELECT id6, sum({v1}), sum({v2}), sum({v3}) FROM {t} GROUP BY ALL",
    "q6": "SELECT id4, id5, quantile_cont({v3}, 0.5), stddev({v3}) FROM {t} GROUP BY ALL",
    "q7": "SELECT id3, max({v1}) - min({v2}) FROM {t} GROUP BY ALL",
    "q8": "SELECT id6, unnest(max({v3}, 2)) FROM {t} GROUP BY id6",
    # Of constant columns DuckDB gives NaN.
    "q9": "SELECT id2, id4, nullif(pow(corr({v1}, {v2}), 2), 'nan'::DOUBLE) FROM {t} GROUP BY ALL",
    "q10": "SELECT id1, id2, id3, id4, id5, id6, count(*), sum({v3}) FROM {t} GROUP BY ALL",
    "filter": "SELECT count(*) FROM {t} WHERE v1 >= 3",
}
PURCHASES = {
    "join_sum": "SELECT age, sum(amount) FROM {p} AS p JOIN {u} AS u USING (user_id) GROUP BY age",
    "join_csv": "SELECT purchase_id, user_id, amount, age, country FROM {p} AS p JOIN {u} AS u USING (user_id)",
    "by_user": "SELECT user_id, count(*), sum(amount) FROM {p} GROUP BY user_id",
    "top_ten": "SELECT category, purchase_id, amount FROM (SELECT *, row_number() OVER (PARTITION BY category "
               "ORDER BY amount DESC, purchase_id) AS place FROM {p}) WHERE place <= 10",
    "moving_average": "SELECT purchase_id, user_id, avg(amount) OVER (PARTITION BY user_id ORDER BY ts, purchase_id "
                      "ROWS BETWEEN 7 PRECEDING AND CURRENT ROW) FROM {p}",
}


def query(question, inputs, functions):
    if question in GROUPS:
        values = {name: f"{name} * 2" if functions else name for name in ("v1", "v2", "v3")}
        return GROUPS[question].format(t=csv(inputs[0], "groups"), **values)
    if question in PURCHASES:
        return PURCHASES[question].format(p=csv(inputs[0], "purchases"), u=csv(inputs[-1], "users"))
    # Only the columns that are named are looked for in the objects.
    return ('SELECT "user", sum(amount) FROM read_json(\'' + inputs[0] + "', format='newline_delimited', "
            "columns={'user': 'VARCHAR', 'amount': 'DOUBLE'}) GROUP BY \"user\"")


def main():
    question, inputs, target = sys.argv[1], sys.argv[2].split(","), sys.argv[3]
    connection = duckdb.connect()
    connection.execute("SET threads = 2")
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(f"SET temp_directory = '{target}.tmp'")
    text = query(question, inputs, "functions" in sys.argv[4:])
    connection.execute(f"COPY ({text}) TO '{target}' (FORMAT csv, HEADER false)")


main()
