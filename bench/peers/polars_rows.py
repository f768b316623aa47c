"""The benchmark's questions about rows in Polars: lazy, with the streaming engine.

Usage: polars_rows.py QUESTION INPUT[,INPUT] OUTPUT
"""
import os
import sys

os.environ["POLARS_MAX_THREADS"] = "2"  # read when polars is loaded
import polars as pl  # noqa: E402

col = pl.col


def by(table, keys, *values):
    return table.group_by(keys).agg(*values)


GROUPS = {
    "q1": lambda t: by(t, ["id1"], col("v1").sum()),
    "q2": lambda t: by(t, ["id1", "id2"], col("v1").sum()),
    "q3": lambda t: by(t, ["id3"], col("v1").sum(), col("v3").mean()),
    "q4": lambda t: by(t, ["id4"], col("v1").mean(), col("v2").mean(), col("v3").mean()),
    "q5": lambda t: by(t, ["id6"], col("v1").sum(), col("v2").sum(), col("v3").sum()),
    "q6": lambda t: by(t, ["id4", "id5"], col("v3").median().alias("median"), col("v3").std().alias("stddev")),
    "q7": lambda t: by(t, ["id3"], col("v1").max() - col("v2").min()),
    "q8": lambda t: by(t, ["id6"], col("v3").top_k(2)).explode("v3"),
    "q9": lambda t: by(t, ["id2", "id4"], pl.corr("v1", "v2").fill_nan(None) ** 2),
    "q10": lambda t: by(t, ["id1", "id2", "id3", "id4", "id5", "id6"], pl.len(), col("v3").sum()),
    "filter": lambda t: t.filter(col("v1") >= 3).select(pl.len()),
}


def joined(purchases, users):
    return purchases.join(users, on="user_id")


PURCHASES = {
    "join_sum": lambda p, u: by(joined(p, u), ["age"], col("amount").sum()),
    "join_csv": lambda p, u: joined(p, u).select("purchase_id", "user_id", "amount", "age", "country"),
    "by_user": lambda p, u: by(p, ["user_id"], pl.len(), col("amount").sum()),
    "top_ten": lambda p, u: p.sort("amount", "purchase_id", descending=[True, False]).group_by("category")
    .head(10).select("category", "purchase_id", "amount"),
    "moving_average": lambda p, u: p.sort("ts", "purchase_id").select(
        "purchase_id", "user_id", col("amount").rolling_mean(8, min_samples=1).over("user_id")),
}


def main():
    question, inputs, target = sys.argv[1], sys.argv[2].split(","), sys.argv[3]
    if question in GROUPS:
        result = GROUPS[question](pl.scan_csv(inputs[0]))
    elif question in PURCHASES:
        result = PURCHASES[question](*(pl.scan_csv(path) for path in (inputs[0], inputs[-1])))
    else:
        result = by(pl.scan_ndjson(inputs[0]), ["user"], col("amount").sum())
    result.sink_csv(target, include_header=False, engine="streaming")


main()
