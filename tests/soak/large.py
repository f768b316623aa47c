#!/usr/bin/env python3
"""Runs jobs with few but huge records, or one huge group, and looks at what they really take of memory.

usage: large.py LUABATCH [--limit 64] [--short] [--jobs top,collect] [--safe]

Whatever the job does, the peak resident memory may be at most 1.1 times the limit plus 64 MB. A job that goes through gives what it
gives with all memory; one that cannot ends with status 5 and a message that names --memory. --short: a few of the jobs, smaller.
"""
import argparse
import os
import subprocess
import sys
import tempfile

from tally import Tally

# n records of one MB, by k keys: as pairs and as rows.
HEAD = """local N, big = %d, %r
local function mb(k) return lb.range(N):map(function(i) return i %% k, ("x"):rep(1000000) .. i end) end
local function rows(k) return mb(k):map(function(key, v) return { k = key, n = #v, v = v } end):select("k", "n", "v") end
"""
OK, REFUSED, ANY = "goes through", "is refused", "either"
JOBS = {
    "top": (OK, "local n = 0 for _, s in ipairs(mb(7):values():top(9)) do n = n + #s end return n"),
    "order_limit": (OK, "return rows(7):order_by('v'):limit(N // 2):count()"),
    "sort": (OK, "return rows(7):order_by(lb.desc 'v'):map(function(r) return r.n end):sum()"),
    "cache": (OK, "local c = mb(7):cache() return c:count() + c:count()"),
    "distinct": (OK, "return mb(7):distinct():count()"),
    "aggregates": (OK, "return rows(10):group_by('k'):agg{ a = lb.max 'v', b = lb.first 'v' }:map(function(r) return #r.a + #r.b end):sum()"),
    "reducer": (OK, "return mb(1):reduce_groups(function(k, vs, emit) local n = 0 for v in vs do n = n + #v end emit(k, n) end):values():sum()"),
    "window": (OK, "return rows(7):window{ partition_by = 'k', order_by = { 'v' }, p = lb.row_number() }:map(function(r) return r.p end):sum()"),
    "join": (OK, "return mb(20):join(mb(20)):count()"),
    "repartition": (OK, "return mb(7):repartition(5):count()"),
    "emit": (OK, "return lb.range(3):flat_map(function(i, emit) for j = 1, N do emit(('y'):rep(1000000)) end end):count()"),
    "sql": (OK, "return lb.range(N):map(function(i) return { s = 'x' } end):select('s'):select{ n = \"length(repeat(s, 1000000))\" }"
            ":map(function(r) return r.n end):sum()"),
    "sql_value": (REFUSED, "return lb.range(9):map(function(i) return { s = 'x' } end):select('s'):select{ n = \"length(repeat(s, 700000000))\" }:count()"),
    "collect": (REFUSED, "return #mb(7):collect()"),
    "top_script": (REFUSED, "return #mb(7):top(N)"),
    "script": (REFUSED, "local t = {} for i = 1, 5 * N do t[i] = ('x'):rep(1000000) .. i end return #t"),
    "script_text": (REFUSED, "return #('x'):rep(700000000)"),
    "worker_text": (REFUSED, "return lb.range(3):map(function(i) return #('x'):rep(1000000):gsub('x', ('y'):rep(700)) end):count()"),
    "worker_table": (REFUSED, "local s = ('x'):rep(1000000) return lb.range(3):map(function() local t = {} for j = 1, 700 do t[j] = s end return t end):count()"),
    "collect_list": (REFUSED, "return rows(1):group_by('k'):agg{ a = lb.max 'v', l = lb.collect_list 'v' }:map(function(r) return #r.l end):sum()"),
    "collect_set": (REFUSED, "return rows(1):group_by('k'):agg{ l = lb.collect_set 'v' }:map(function(r) return #r.l end):sum()"),
    "count_distinct": (REFUSED, "return rows(1):group_by('k'):agg{ n = lb.count_distinct 'v' }:map(function(r) return r.n end):sum()"),
    "group_by_key": (REFUSED, "return mb(1):group_by_key():count()"),
    "count_by_value": (REFUSED, "local n = 0 for _ in pairs(mb(7):values():count_by_value()) do n = n + 1 end return n"),
    "text": (REFUSED, "return lb.text(big):count()"),
    "files": (REFUSED, "return lb.files(big):count()"),
    "csv": (REFUSED, "return lb.csv(big):count()"),
    "json": (REFUSED, "return lb.json(big):count()"),
    "window_frame": (ANY, "return rows(1):window{ partition_by = 'k', order_by = { 'v' }, rows = { -9, 0 }, m = lb.collect_list 'v' }:count()"),
    "own_aggregate": (ANY, "return rows(1):group_by('k'):agg{ m = lb.aggregate{ init = function() return '' end, "
                      "step = function(s, r) return s .. r.v end, merge = function(a, b) return a .. b end } }:count()"),
    "reduce": (ANY, "return #mb(1):values():reduce(function(a, b) return a .. b end)"),
    "pivot": (ANY, "return rows(7):pivot{ index = 'k', columns = 'n', values = lb.first 'v' }:count()"),
}
SHORT = ["top", "aggregates", "sql", "sql_value", "collect_list", "files", "json"]


def run(arguments, folder, memory, text):
    """Status, output, message, peak MB."""
    flags = ["--safe", "--allow-read", folder] if arguments.safe else []
    command = [arguments.luabatch, *flags, "--quiet", "--threads", "2", "--memory", memory, "--tmp", folder, "-e", text]
    with tempfile.TemporaryFile(dir=folder) as out, tempfile.TemporaryFile(dir=folder) as err:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        return process.returncode, out.read().decode(), err.read().decode(errors="replace").strip(), usage.ru_maxrss / 1024


def check(arguments, folder, limit, name, head):
    expected, text = JOBS[name]
    status, out, message, peak = run(arguments, folder, f"{limit}M", head + text)
    allowed = limit * 1.1 + 64
    print(f"{name:16} status {status}, {peak:.0f} MB of {allowed:.0f} {message[:200]}", flush=True)
    if peak > allowed:
        return f"{peak:.0f} MB of memory instead of {allowed:.0f}"
    if status == 5:
        if expected is OK:
            return "is refused: " + message
        return None if "--memory" in message else "the message does not say what to do: " + message
    if status != 0 or expected is REFUSED:
        return f"exit status {status}: {message}"
    all_memory = run(arguments, folder, "1T", head + text)
    return None if (status, out) == all_memory[:2] else f"gives {out!r}, with all memory {all_memory}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("luabatch", type=os.path.abspath)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--jobs")
    parser.add_argument("--safe", action="store_true")
    arguments = parser.parse_args()
    jobs = arguments.jobs.split(",") if arguments.jobs else SHORT if arguments.short else list(JOBS)
    limit = arguments.limit or (16 if arguments.short else 64)
    n, tally = 84 if arguments.short else 300, Tally()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        big = os.path.join(folder, "big")
        with open(big, "wb") as file:
            file.write(b'{"a": "')
            for _ in range(n):  # not at once: a child's peak begins with what this process has
                file.write(b"x" * 1000000)
            file.write(b'"}\n')
        for name in jobs:
            tally.take(name, check(arguments, folder, limit, name, (HEAD % (n, big)).replace("'" + big + "'", '"' + big + '"')))
    return tally.end()


if __name__ == "__main__":
    sys.exit(main())
