"""Kills jobs at random moments and looks at what is there afterwards.

Usage: kill.py PROGRAM [--kills N] [--signals N] [--calls N|all] [--seed S] [--jobs NAME,...]

Each job runs once undisturbed; that gives its outputs, and how long it takes. Then it runs again and again from the same
beginnings, and is sent a signal at a random moment:

SIGKILL         every output has its old bytes or the complete new ones, TMPDIR is empty. Hidden temporaries that are there a second
                later are counted: their number is told, and must be small. Then the job runs again (with --resume where it has checkpoints) and
                must leave exactly what the undisturbed run left, no temporary included. No checkpoint whose line was in the journal is computed
                again.
SIGINT, SIGTERM, SIGHUP
                likewise, and the program ends within a second, with status 130, 143 or 129, and leaves no temporary at all.

With --calls, which needs a build with fault points, the process also dies just before a call of the system (base/fault.h): as many of them,
chosen at random, or all; each once alone, and once with no janitor that could clear up. What must hold is what must hold for SIGKILL.

Prints the seed and a line for each job; the last line is `N passed, N failed, N skipped`, of moments.
"""
import argparse
import glob
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROWS = """
local lb = require "luabatch"
local function rows() return lb.csv("in.csv", { types = { n = "integer" }, on_bad = "skip" }) end
"""

# name: (script, outputs, options, arguments). What a job finds when it begins is in `beginnings`.
JOBS = {
    "file": (ROWS + 'rows():map(function(r) return r.n, r.word end):save_text("out.txt")', ["out.txt"], [], []),
    "overwrite": (ROWS + 'rows():order_by("word", "n"):save_csv("old.csv", { mode = "overwrite" })', ["old.csv"], ["--memory", "4M"], []),
    "append": (ROWS + 'rows():save_json("old.json", { mode = "append" })', ["old.json"], [], []),
    "gzip": (ROWS + 'rows():save_csv("out.csv.gz", { mode = "overwrite" })', ["out.csv.gz"], [], []),
    "directory": (ROWS + 'rows():repartition(20):save_text("out/")', ["out"], [], []),
    "directory over": (ROWS + 'rows():repartition(9):save_json("old/", { mode = "overwrite" })', ["old"], [], []),
    "directory append": (ROWS + 'rows():repartition(9):save_text("old/", { mode = "append", compression = "zstd" })', ["old"], [], []),
    "folders": (ROWS + 'rows():save_csv("tree/", { partition_by = "m", mode = "overwrite" })', ["tree"], [], []),
    "folders append": (ROWS + 'rows():save_csv("tree/", { partition_by = "m", mode = "append" })', ["tree"], [], []),
    "left out": ("""
local lb = require "luabatch"
lb.csv("in.csv", { types = { n = "integer" }, on_bad = { to = "bad.jsonl" } })
  :map(function(r) if r.n % 10 == 3 then error "three" end return r.n end, { on_error = { to = "failed.jsonl" } })
  :save_text("out.txt", { mode = "overwrite" })
""", ["out.txt", "bad.jsonl", "failed.jsonl"], [], []),
    "reports": (ROWS + 'return rows():group_by("word"):count()', ["t.json", "r.html", "out.csv"],
                ["--trace", "t.json", "--report", "r.html", "--output", "out.csv"], []),
    "native": (ROWS + 'rows():map(function(r) return r.word, r.n end):group_by_key():save("out.lbb")', ["out.lbb"], [], []),
    "checkpoints": ("""
local lb = require "luabatch"
local computed = lb.counter "computed"
local rows = lb.csv("in.csv", { types = { n = "integer" }, on_bad = { to = "bad.jsonl" } })
  :filter(function(r) computed:add(1) return r.n % 5 ~= 0 end):checkpoint("rows")
local pairs_ = rows:map(function(r) return r.word, { r.n, r.m } end):checkpoint("pairs")
local sums = pairs_:map_values(function(t) return t[1] end):reduce_by_key(function(a, b) return a + b end):checkpoint("sums")
rows:save_csv("out.csv")
sums:save_text("out/")
pairs_:count()
sums:save_json("old.json", { mode = "overwrite" })
print(computed:value())
""", ["out.csv", "out", "old.json", "bad.jsonl"], ["--stats=json"], []),
    "checkpoints append": ("""
local lb = require "luabatch"
local rows = lb.csv("in.csv", { types = { n = "integer" }, on_bad = "skip" }):checkpoint("rows")
rows:save_json("old.json", { mode = "append" })
rows:select("n", "word"):save_text("old/", { mode = "append" })
rows:select("word"):save_json("old.json", { mode = "append" })
rows:save_json("new.json", { mode = "overwrite" })
rows:save_json("new.json", { mode = "append" })
print(rows:save_text("old/", { mode = "append" }))
""", ["old.json", "old", "new.json"], ["--stats=json"], []),
    "steps": ("""
local lb = require "luabatch"
return lb.job { checkpoint = true, steps = {
  { mapper = function(_, line, emit) for w in line:gmatch("%w+") do emit(w, 1) end end,
    reducer = function(w, ones, emit) local n = 0 for one in ones do n = n + one end emit(w, n) end },
  { mapper = function(w, n, emit) emit(#w, n) end,
    reducer = function(size, ns, emit) local sum = 0 for n in ns do sum = sum + n end emit(size, sum) end },
} }
""", ["out.txt"], ["--stats=json", "--output", "out.txt"], ["in.csv"]),
}
RESUMED = {"checkpoints", "checkpoints append", "steps"}
# What tells of times is another in every run.
TIMED = {"t.json", "r.html"}
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
HIDDEN = re.compile(r"^\..*\.luabatch-[a-z0-9]{6}$")


def make_inputs(place, rng, n):
    with open(f"{place}/in.csv", "w", encoding="utf-8") as file:
        file.write("n,m,word\n")
        for i in range(n):
            number = "bad" if i % 500 == 250 else str(rng.randrange(1000))
            file.write(f"{number},{rng.randrange(12)},word{rng.randrange(300)}\n")
    for name, text in {"old.csv": "n,m,word\n1,2,old\n", "old.json": '{"old":1}\n'}.items():
        with open(f"{place}/{name}", "w", encoding="utf-8") as file:
            file.write(text)
    for name in ["old", "tree/m=1"]:
        os.makedirs(f"{place}/{name}")
        with open(f"{place}/{name}/part-00000." + ("csv" if "=" in name else "txt"), "w", encoding="utf-8") as file:
            file.write("n,word\n1,old\n" if "=" in name else "old\n")
    for name in ["old", "tree"]:
        with open(f"{place}/{name}/_SUCCESS", "w", encoding="utf-8"):
            pass


def digest(path):
    """What is at a path, whatever it is."""
    if not os.path.lexists(path):
        return "nothing"
    if os.path.isdir(path):
        parts = [f"{name}:{digest(os.path.join(path, name))}" for name in sorted(os.listdir(path))]
        return "folder of " + hashlib.sha256("|".join(parts).encode()).hexdigest()
    if os.path.basename(path) in TIMED:
        with open(path, "rb") as file:
            text = file.read()
        whole = text.rstrip().endswith(b"</html>") if path.endswith("html") else is_json(text)
        return "whole" if whole else "torn"
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def is_json(text):
    try:
        json.loads(text)
        return True
    except ValueError:
        return False


class Bench:
    def __init__(self, options):
        self.options = options
        self.program = os.path.abspath(options.program)
        self.rng = random.Random(options.seed)
        self.base = tempfile.mkdtemp(prefix="lb-kill-")
        self.begin, self.place, self.tmp = (f"{self.base}/{name}" for name in ("begin", "place", "tmp"))
        os.makedirs(self.begin)
        os.makedirs(self.tmp)
        make_inputs(self.begin, self.rng, options.rows)
        self.passed = self.failed = self.left = 0
        self.problems = []

    def restore(self):
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.begin, self.place, copy_function=shutil.copy2)

    def start(self, name, resume=False, fault=None):
        script, _, options, arguments = JOBS[name]
        with open(f"{self.place}/job.lua", "w", encoding="utf-8") as file:
            file.write(script)
        environment = dict(os.environ, TMPDIR=self.tmp, PWD=self.place)
        if fault:
            environment["LUABATCH_FAULT"] = fault
        self.output = open(f"{self.base}/stdout", "w+b")
        self.errors = open(f"{self.base}/stderr", "w+b")
        return subprocess.Popen([self.program, "--threads", "2", *options, *(["--resume"] if resume else []), "job.lua", *arguments],
                                cwd=self.place, env=environment, stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.errors)

    def said(self):
        """What the last run has written to standard output and to standard error."""
        texts = []
        for file in (self.output, self.errors):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
            file.close()
        return texts

    def names(self):
        return {name for name in os.listdir(self.place)}

    def check(self, good, what):
        if not good:
            self.problems.append(what)

    def leftovers(self, name, known):
        return [entry for entry in self.names() - known - {".luabatch-checkpoints"}
                if entry not in JOBS[name][1]]

    def finished(self):
        """The names of the checkpoints that the journal tells of as finished."""
        found = set()
        root = f"{self.place}/.luabatch-checkpoints"
        for folder in os.listdir(root) if os.path.isdir(root) else []:
            try:
                with open(f"{root}/{folder}/journal", "rb") as file:
                    text = file.read()
            except OSError:
                continue
            for line in text.split(b"\n")[:-1]:
                try:
                    value = json.loads(line[17:])
                except ValueError:
                    continue
                if value["kind"] == "checkpoint":
                    found.add(value["name"])
                # A job that was killed after its end has no finished checkpoints any more, and may have removed some of their data.
                elif value["kind"] == "end":
                    found.clear()
        return found

    def run_again(self, name, wanted, known):
        """After a kill: the rerun leaves what the undisturbed run left."""
        outputs = JOBS[name][1]
        finished = self.finished() if name in RESUMED else set()
        has_journal = bool(glob.glob(f"{self.place}/.luabatch-checkpoints/*/journal"))
        # A job that was killed when its checkpoints were removed has ended in all but name.
        if name not in RESUMED or not has_journal:
            if all(digest(f"{self.place}/{path}") == wanted[path] for path in outputs):
                # An append would add again, and some modes would refuse.
                if name in ("append", "directory append", "folders append", "file", "directory", "native", "checkpoints",
                            "checkpoints append"):
                    if not self.leftovers(name, known):
                        return
                    for path in outputs:
                        self.put_back(path)
        process = self.start(name, resume=name in RESUMED)
        status = process.wait(60)
        output, errors = self.said()
        self.check(status == 0, f"rerun: status {status}: {errors[-400:]}")
        for path in outputs:
            self.check(digest(f"{self.place}/{path}") == wanted[path], f"rerun: {path} differs")
        left = self.leftovers(name, known) + os.listdir(self.tmp)
        self.check(not left, f"rerun: left {left}")
        if name in RESUMED:
            self.check(not os.path.exists(f"{self.place}/.luabatch-checkpoints"), "rerun: checkpoints are left")
            self.check(output == self.printed, f"rerun: printed {output!r}")
            for line in errors.split("\n"):
                run = json.loads(line) if line.startswith("{") else {"action": ""}
                again = run["action"].startswith("checkpoint ") and not run.get("resumed")
                self.check(not (again and run["action"][11:] in finished), f"rerun: {run['action']} was computed again")
            self.resumed += len(finished)

    def put_back(self, path):
        """Makes an output what it was in the beginning."""
        now, before = f"{self.place}/{path}", f"{self.begin}/{path}"
        if os.path.isdir(now):
            shutil.rmtree(now)
        elif os.path.exists(now):
            os.remove(now)
        if os.path.isdir(before):
            shutil.copytree(before, now)
        elif os.path.exists(before):
            shutil.copy2(before, now)

    def moment(self, name, sig, seconds, wanted, known, fault=None):
        self.restore()
        old = {path: digest(f"{self.place}/{path}") for path in JOBS[name][1]}
        process = self.start(name, fault=fault)
        wait = self.rng.uniform(0, seconds * 1.15)
        if not fault:
            time.sleep(wait)
            process.send_signal(sig)
        sent = time.monotonic()
        try:
            status = process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        took = time.monotonic() - sent
        _, errors = self.said()
        self.problems = []
        for path in JOBS[name][1]:
            now = digest(f"{self.place}/{path}")
            # What several saves write to is whole after each.
            self.check(now in (old[path], wanted[path]) or "append" in name and name in RESUMED, f"{path} is neither old nor new")
        self.check(not os.listdir(self.tmp), f"TMPDIR holds {os.listdir(self.tmp)}")
        left = self.leftovers(name, known)
        if sig == signal.SIGKILL:
            # The janitor of a hidden directory needs a moment.
            deadline = time.monotonic() + 1
            while left and time.monotonic() < deadline:
                time.sleep(0.01)
                left = self.leftovers(name, known)
            self.check(all(HIDDEN.match(entry) for entry in left), f"left {left}")
            self.left += len(left) > 0
            self.killed += status == -signal.SIGKILL
            self.run_again(name, wanted, known)
        else:
            self.check(not left, f"left {left}")
            # Before the program looks at signals these end it by themselves: the shell says the same status.
            self.check(status in (0, STATUS[sig], -sig), f"status {status}: {errors[-300:]}")
            self.check(took <= 1 * self.options.slow, f"took {took:.2f} s")
            self.slowest = max(self.slowest, took)
        if self.problems:
            self.failed += 1
            print(f"not ok {name}: {fault or sig.name + f' after {wait:.4f} s'}: " + "; ".join(self.problems), flush=True)
        else:
            self.passed += 1

    def n_calls(self, name):
        """How many calls of the system a job makes, or a little more."""
        self.restore()
        self.start(name, fault=f"count={self.base}/count").wait(60)
        self.said()
        with open(f"{self.base}/count", encoding="ascii") as file:
            return int(re.search(r" kill (\d+)", file.read()).group(1)) + 3

    def calls(self, name, wanted, known):
        """The job dies before calls of the system."""
        n = self.n_calls(name)
        count = n if self.options.calls == "all" else min(n, int(self.options.calls))
        chosen = range(1, n + 1) if count == n else sorted(self.rng.sample(range(1, n + 1), count))
        self.killed = self.left = 0
        for call in chosen:
            for more in ("", ",fork:1+"):
                self.moment(name, signal.SIGKILL, 0, wanted, known, f"kill:{call}{more}")
        print(f"{name}: dies {self.killed} times before one of {n} calls, {self.left} times it left a temporary that the rerun removed",
              flush=True)

    def job(self, name, kills, signals):
        self.killed = self.left = self.resumed = 0
        self.slowest = 0.0
        seconds = []
        for _ in range(2):
            self.restore()
            known = self.names() | {"job.lua"}
            begin = time.monotonic()
            status = self.start(name).wait(60)
            seconds.append(time.monotonic() - begin)
            self.printed, errors = self.said()
            if status != 0:
                sys.exit(f"{name}: status {status}: {errors}")
        wanted = {path: digest(f"{self.place}/{path}") for path in JOBS[name][1]}
        left = self.leftovers(name, known)
        if left:
            sys.exit(f"{name}: the undisturbed run leaves {left}")
        tries = 0
        while self.killed < kills and tries < 4 * kills:
            tries += 1
            self.moment(name, signal.SIGKILL, min(seconds), wanted, known)
        for i in range(signals):
            self.moment(name, list(STATUS)[i % 3], min(seconds), wanted, known)
        print(f"{name}: takes {min(seconds):.3f} s; {self.killed} of {tries} killed before the end, {self.left} left a temporary"
              f" that the rerun removed" + (f", {self.resumed} finished checkpoints" if name in RESUMED else "")
              + (f"; {signals} other signals, ended after at most {self.slowest:.3f} s" if signals else ""), flush=True)
        numbers = self.killed, self.left
        if self.options.calls != "0":
            self.calls(name, wanted, known)
        return numbers


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--kills", type=int, default=600, help="in all, of running jobs")
    parser.add_argument("--signals", type=int, default=300, help="in all")
    parser.add_argument("--calls", default="0", help="for each job")
    parser.add_argument("--rows", type=int, default=20000)
    parser.add_argument("--slow", type=float, default=1, help="how much slower than a release build on a quiet machine")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("LB_SEED") or time.time()))
    parser.add_argument("--jobs", default=",".join(JOBS))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    bench = Bench(options)
    names = options.jobs.split(",")
    killed = left = 0
    try:
        for i, name in enumerate(names):
            share = [n // len(names) + (i < n % len(names)) for n in (options.kills, options.signals)]
            numbers = bench.job(name, *share)
            killed, left = killed + numbers[0], left + numbers[1]
    finally:
        shutil.rmtree(bench.base, ignore_errors=True)
    print(f"{killed} of {options.kills} kills hit a running job, {left} left a temporary")
    if left > max(2, killed // 20):
        bench.failed += 1
        print("not ok that is too often")
    print(f"{bench.passed} passed, {bench.failed} failed, 0 skipped")
    sys.exit(bench.failed > 0)


main()
