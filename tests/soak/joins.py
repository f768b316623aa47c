#!/usr/bin/env python3
"""Runs joins of one hot key, whose rows on both sides are more than the memory limit, to their end.

usage: joins.py LUABATCH [--short] [--shapes many,large] [--jobs inner,pairs_left] [--seed N]

Each job's count and sums must be what arithmetic says (n rows meet m rows n * m times), its peak resident memory at most 1.1 times
the limit plus 64 MB. Beside the hot key both sides have keys of their own and shared ones. Rows are many and small, or so large that
whoever kept all of them would exceed that. --short: fewer rows and jobs.
"""
import argparse
import os
import random
import sys
import tempfile

from large import run
from tally import Tally

HOWS = ["inner", "left", "right", "full", "semi", "anti"]
OPTIONS = {
    "": "",
    "salted": ", salt = 7",
    "salted_by": ", salt = function(key) return key == 'hot' and 5 or nil end",
    "unsalted": ", salt = false",
    "hash": ", strategy = 'hash'",
    "merge": ", strategy = 'merge'",
}
# What a side gives where it is missing counts nothing. An `x` is needed whole on both sides until they have met.
ROWS = """local t = lb.csv(%(a)r):join(lb.csv(%(b)r), { on = "k", how = "%(how)s"%(options)s })
return t:agg{ n = lb.count(), %(sums)s }:map(function(r) return ("%%d %%d %%d %%d"):format(r.n, r.bytes or 0, r.both or 0, r.one or 0) end)"""
SUMS = 'bytes = lb.sum "coalesce(length(x), 0) + coalesce(length(x_right), 0)", both = lb.sum "i * i_right", one = lb.sum "coalesce(i, 0) + coalesce(i_right, 0)"'
ONE_SUMS = 'bytes = lb.sum "length(x)", both = lb.sum "0", one = lb.sum "i"'
PAIRS = """local function pairs_of(path)
  return lb.text(path):filter(function(l) return l:sub(1, 2) ~= "k," end):map(function(l)
    local k, i, x = l:match "^(%%w+),(%%d+),(%%w+)$"
    return k, { i = tonumber(i), x = x }
  end)
end
return pairs_of(%(a)r):%(verb)s(pairs_of(%(b)r)%(options)s):map(function(_, l, r)
  return "all", { 1, (l and #l.x or 0) + (r and #r.x or 0), l and r and l.i * r.i or 0, (l and l.i or 0) + (r and r.i or 0) }
end):fold_by_key({ 0, 0, 0, 0 }, function(s, v) return { s[1] + v[1], s[2] + v[2], s[3] + v[3], s[4] + v[4] } end)
  :map(function(_, s) return ("%%d %%d %%d %%d"):format(s[1], s[2], s[3], s[4]) end)"""


def jobs():
    """Name: (how, text with %(a)r and %(b)r)."""
    all_jobs = {}
    for how in HOWS:
        for name, options in OPTIONS.items():
            if name == "merge" and how in ("semi", "anti"):
                continue
            sums = ONE_SUMS if how in ("semi", "anti") else SUMS
            text = ROWS.replace("%(how)s", how).replace("%(options)s", options).replace("%(sums)s", sums)
            all_jobs["_".join(filter(None, [how, name]))] = how, text
        for name in ("", "salted", "salted_by", "unsalted"):
            verb = "join" if how == "inner" else how + "_join"
            options = OPTIONS[name][1:]
            text = PAIRS.replace("%(verb)s", verb).replace("%(options)s", ", {" + options + "}" if options else "")
            all_jobs["_".join(filter(None, ["pairs", how, name]))] = how, text
    return all_jobs


# Limit in MB, bytes of a row, and how many times the limit the sides are; the second one is for --short. Each row of a side copies those
# of the other: the bytes of both sides multiplied, by the bytes of a row, are the work.
SHAPES = {"many": ((2, 2000, 1.2, 1.3), (1, 2000, 1.2, 1.2)), "large": ((16, 600000, 1.2, 6), (4, 1500000, 1.2, 14))}
SHORT = {"many": ["inner", "pairs_left"], "large": ["full_salted", "semi"]}


def write_side(path, rng, n_hot, size, own):
    """The rows as {key: [(i, length of x)]}."""
    keys = ["hot"] * n_hot + [own + str(i) for i in range(50)] + ["both" + str(i) for i in range(50)]
    rng.shuffle(keys)
    rows = {}
    with open(path, "w") as out:
        out.write("k,i,x\n")
        for i, key in enumerate(keys):
            length = size + rng.randrange(size // 10) if key == "hot" else 5
            out.write(f"{key},{i},{rng.getrandbits(4 * length) | 1 << (4 * length - 1):x}\n")
            rows.setdefault(key, []).append((i, length))
    return rows


def expected(how, left, right):
    """count, bytes, sum of products, sum: what n rows and m rows of a key add to each."""
    total = [0, 0, 0, 0]
    for key in set(left) | set(right):
        ls, rs = left.get(key, []), right.get(key, [])
        n, m = len(ls), len(rs)
        l_i, l_bytes, r_i, r_bytes = (sum(row[i] for row in rows) for rows, i in ((ls, 0), (ls, 1), (rs, 0), (rs, 1)))
        if how in ("semi", "anti"):
            add = [n, l_bytes, 0, l_i] if (m > 0) == (how == "semi") else [0, 0, 0, 0]
        elif n > 0 and m > 0:
            add = [n * m, l_bytes * m + r_bytes * n, l_i * r_i, l_i * m + r_i * n]
        elif n > 0 and how in ("left", "full"):
            add = [n, l_bytes, 0, l_i]
        elif m > 0 and how in ("right", "full"):
            add = [m, r_bytes, 0, r_i]
        else:
            add = [0, 0, 0, 0]
        total = [a + b for a, b in zip(total, add)]
    return " ".join(map(str, total))


def check(arguments, folder, limit, name, text, wanted):
    status, out, message, peak = run(arguments, folder, f"{limit}M", text)
    allowed = limit * 1.1 + 64
    print(f"{name:18} status {status}, {peak:.0f} MB of {allowed:.0f} {message[:200]}", flush=True)
    if status != 0:
        return f"exit status {status}: {message}"
    if out.strip() != wanted:
        return f"gives {out.strip()!r}, {wanted!r} is right"
    return f"{peak:.0f} MB of memory instead of {allowed:.0f}" if peak > allowed else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("luabatch", type=os.path.abspath)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--jobs")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("LB_SEED") or random.randrange(1 << 31)))
    arguments = parser.parse_args()
    arguments.safe = False
    every = jobs()
    tally, rng = Tally(), random.Random(arguments.seed)
    print(f"seed {arguments.seed}")
    for shape in arguments.shapes.split(","):
        limit, size, *times = SHAPES[shape][arguments.short]
        n, m = (int(limit * factor * (1 << 20) / size) for factor in times)
        names = arguments.jobs.split(",") if arguments.jobs else SHORT[shape] if arguments.short else list(every)
        print(f"{shape}: {n} rows of {size} bytes and {m} in {limit} MB", flush=True)
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
            paths = [os.path.join(folder, name) for name in ("a.csv", "b.csv")]
            left, right = write_side(paths[0], rng, n, size, "left"), write_side(paths[1], rng, m, size, "right")
            for name in names:
                how, text = every[name]
                text = text.replace("%(a)r", f'"{paths[0]}"').replace("%(b)r", f'"{paths[1]}"').replace("%%", "%")
                tally.take(f"{name} of {shape} rows", check(arguments, folder, limit, name, text, expected(how, left, right)))
    return tally.end()


if __name__ == "__main__":
    sys.exit(main())
