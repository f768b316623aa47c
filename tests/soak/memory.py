#!/usr/bin/env python3
"""Runs jobs over inputs ten times as large as their memory limit and looks at what they really take.

usage: memory.py LUABATCH [--limits 64,128,512] [--factor 10] [--jobs sort,window] [--slower 4] [--data DIR]

Each job runs with each limit and with all memory. Both must give the same bytes; the peak resident memory may be
at most 1.1 times the limit plus 64 MB, the processor time (and so the time on a quiet machine) --slower times that in
memory. Inputs are made by bench/generate.c in --data (default: a folder that is removed afterwards).
"""
import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time

from tally import Tally

HERE = os.path.dirname(os.path.abspath(__file__))
LINE_BYTES = 44  # of purchases, about

# What each job does with `a` (purchases), `h` (purchases, nine of ten by one user) and `u` (users); `out` is where to.
JOBS = {
    "sort": 'lb.csv(a):order_by(lb.desc "amount", "purchase_id"):save_csv(out)',
    "sort_lines": "lb.text(a):sort_by():save_text(out)",
    "group": 'lb.csv(a):group_by("purchase_id"):agg{ n = lb.count(), total = lb.sum "amount" }:save_csv(out)',
    "group_lists": 'lb.csv(a):group_by("user_id"):agg{ m = lb.median "amount", d = lb.count_distinct "category" }:save_csv(out)',
    "distinct": 'lb.csv(a):select("user_id", "amount"):distinct():save_csv(out)',
    "join": 'lb.csv(h):join(lb.csv(u), { on = "user_id" }):select("purchase_id", "amount", "city"):save_csv(out)',
    "join_both": '''lb.csv(a):join(lb.csv(h):select("purchase_id", { other = "amount" }), { on = "purchase_id" })
        :select("purchase_id", "amount", "other"):save_csv(out)''',
    "join_pairs": '''local function pair(l) local id, user = l:match "^(%d+),(%d+)" return user or "", id or l end
      lb.text(h):map(pair):join(lb.text(u):map(function(l) return (l:match "^(%d+)") or "", l end))
        :map(function(k, left, right) return k .. "\\t" .. left .. "\\t" .. right end):save_text(out)''',
    "window": '''lb.csv(a):window({ partition_by = "user_id", order_by = { "ts", "purchase_id" }, n = lb.row_number(),
        running = lb.sum "amount" }):select("purchase_id", "n", "running"):save_csv(out)''',
    "top_k": 'lb.csv(a):order_by(lb.desc "amount", "purchase_id"):limit(100):save_csv(out)',
    "tables": '''lb.text(a):map(function(l) local t = {} for x in l:gmatch "[^,]+" do t[#t + 1] = x end return t[2] or "", t end)
        :group_by_key():map(function(k, list) local n = 0 for _, t in ipairs(list) do n = n + #t end return k .. " " .. n end)
        :save_text(out)''',
    "reducer": '''lb.text(a):map(function(l) local user, amount = l:match "^%d+,(%d+),[^,]*,([%d.]+)" return user or "", tonumber(amount) or 0 end)
        :reduce_groups(function(k, values, emit) local n, s = 0, 0 for v in values do n, s = n + 1, s + v end emit(k, { n = n, s = s }) end)
        :save_json(out)''',
}


def generator(data):
    program = os.path.join(data, "generate")
    if not os.path.exists(program):
        source = os.path.join(HERE, "..", "..", "bench", "generate.c")
        subprocess.run(["cc", "-O2", "-std=c11", "-D_GNU_SOURCE", "-o", program, source, "-lm"], check=True)
    return program


def make(data, kind, count):
    path = os.path.join(data, f"{kind}-{count}.csv")
    if not os.path.exists(path):
        with open(path + ".new", "wb") as out:
            subprocess.run([generator(data), kind, str(count)], stdout=out, check=True)
        os.rename(path + ".new", path)
    return path


def digest(path):
    sum_ = hashlib.blake2b()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            sum_.update(block)
    return sum_.hexdigest()


def run(arguments, data, memory, job, inputs):
    """Digest of the output, seconds, processor seconds, peak MB; or the message of a job that failed."""
    out = os.path.join(data, "out")
    text = f"local a, h, u, out = {', '.join(map(repr, inputs))}, {out!r} ".replace("'", '"') + JOBS[job]
    command = [arguments.luabatch, "--quiet", "--memory", memory, "--tmp", data, "-e", text]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    message = process.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        return f"exit status {process.returncode}: {message.strip()}"
    result = digest(out), seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    os.unlink(out)
    return result


def check(arguments, data, limit, job, inputs):
    small, large = run(arguments, data, f"{limit}M", job, inputs), run(arguments, data, "1T", job, inputs)
    if isinstance(small, str) or isinstance(large, str):
        return small if isinstance(small, str) else "in memory: " + large
    allowed, slower = limit * 1.1 + 64, small[2] / max(large[2], 0.05)
    figures = f"{small[1]:.1f} s, {small[2]:.1f} s processor ({slower:.2f} of {large[2]:.1f}), {small[3]:.0f} MB of {allowed:.0f}"
    print(f"{job:12} {limit:4} MB: {figures}", flush=True)
    if small[0] != large[0]:
        return "other bytes than in memory"
    if small[3] > allowed:
        return f"{small[3]:.0f} MB of memory instead of {allowed:.0f}"
    return f"{slower:.2f} times slower than in memory" if slower > arguments.slower else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("luabatch", type=os.path.abspath)
    parser.add_argument("--limits", default="64,128,512")
    parser.add_argument("--factor", type=float, default=10)
    parser.add_argument("--jobs", default=",".join(JOBS))
    parser.add_argument("--slower", type=float, default=4)
    parser.add_argument("--data")
    arguments = parser.parse_args()
    tally, jobs = Tally(), arguments.jobs.split(",")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as own:
        data = arguments.data or own
        for limit in map(int, arguments.limits.split(",")):
            count = int(limit * arguments.factor * (1 << 20) / LINE_BYTES)
            inputs = make(data, "purchases", count), make(data, "purchases_hot", count), make(data, "users", count // 10)
            for job in jobs:
                tally.take(f"{job} with {limit} MB", check(arguments, data, limit, job, inputs))
            if not arguments.data:
                for path in inputs:
                    os.unlink(path)
    return tally.end()


if __name__ == "__main__":
    sys.exit(main())
