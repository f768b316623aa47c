"""What the benchmark measures: the inputs, the commands of luabatch and of its peers, the targets."""
import collections
import os

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
DATA = os.environ.get("BENCH_DATA", os.path.join(HERE, "data"))
LUABATCH = os.environ.get("LUABATCH", os.path.join(ROOT, "build/release/luabatch"))
# The build for LuaJIT (make LUAJIT=1), beside the other: it runs the jobs of Lua functions too when it is there.
ON_LUAJIT = os.path.join(os.path.dirname(LUABATCH) + "-luajit", "luabatch")
PYTHON = os.path.join(DATA, "venv/bin/python")
DUCK = [PYTHON, os.path.join(HERE, "peers/duck.py")]
THREADS = "2"

# Input files: kind and number of records at scale 1.
INPUTS = {
    "words": ("words", 80_000_000),
    "log": ("log", 5_000_000),
    "lines": ("lines", 5_000_000),
    "pairs": ("pairs", 10_000_000),
    "lines_1g": ("lines", 10_900_000),
    "pairs_1g": ("pairs", 62_000_000),
    "groups": ("groups", 10_000_000),
    "users": ("users", 1_000_000),
    "purchases": ("purchases", 10_000_000),
    "purchases_hot": ("purchases_hot", 10_000_000),
    "events": ("events", 2_000_000),
}

# In commands {in} and {in2} stand for the inputs, {out} for the file that is written.
# compare: "lines" as a set of lines, "numbers" as a set of lines of which floats may differ in the last
# digits, "bytes" in order, None not at all. target: (factor, peers): the best of these peers must take
# `factor` times as long. limit: (figure, what) that ours must not exceed. near: (factor, workload): ours must
# take at most `factor` times as long as ours of that workload.
Workload = collections.namedtuple("Workload", "name title inputs compare ours peers target limit near",
                                  defaults=(None, None, None))

# The geometric mean of the ratios between the best of `peers` and ours must be `factor`, the least ratio `least`.
Mean = collections.namedtuple("Mean", "title workloads peers factor least")


def job(name, *arguments):
    return [LUABATCH, "--quiet", "--threads", THREADS, *arguments,
            os.path.join(HERE, "jobs", name), "{in}"]


def lua(interpreter, name):
    return [interpreter, os.path.join(HERE, "peers", name), "{in}"]


def gnu_sort(*arguments):
    return ["sort", "--parallel=" + THREADS, *arguments, "-T", DATA, "-o", "{out}", "{in}"]


COUNT_WORDS = '{for (i = 1; i <= NF; i++) c[$i]++} END {for (w in c) print w "\\t" c[w]}'
COUNT_URLS = ("mawk '{c[$7]++} END {for (u in c) print u \"\\t\" c[u]}' \"$1\" "
              "| sort -t '\t' -k 2,2nr -k 1,1 | head -n 5")
WORD_PEERS = {
    "mawk": ["mawk", COUNT_WORDS, "{in}"],
    "luajit": lua("luajit", "word_count.lua"),
    "lua5.4": lua("lua5.4", "word_count.lua"),
    "DuckDB": [*DUCK, "words", "{in}", "{out}"],
}
URL_PEERS = {
    "mawk": ["sh", "-c", COUNT_URLS, "sh", "{in}"],
    "luajit": lua("luajit", "top_urls.lua"),
    "lua5.4": lua("lua5.4", "top_urls.lua"),
    "DuckDB": [*DUCK, "urls", "{in}", "{out}"],
}

TEXT = [
    Workload("words_lua", "word count, Lua mapper, combiner, reducer", ["words"], "lines",
             job("word_count.lua"), WORD_PEERS, (2.5, ["mawk"])),
    Workload("words_native", "word count, words():value_counts()", ["words"], "lines",
             job("word_count_native.lua"), WORD_PEERS, (3, ["DuckDB"])),
    Workload("urls_lua", "top 5 URLs, Lua match", ["log"], "bytes",
             job("top_urls.lua"), URL_PEERS, (1, ["mawk"])),
    Workload("urls_native", "top 5 URLs, field(7)", ["log"], "bytes",
             job("top_urls_native.lua"), URL_PEERS, (3, list(URL_PEERS))),
    Workload("sort", "sort lines, file to file", ["lines"], "bytes", [*job("sort.lua"), "{out}"],
             {"sort": gnu_sort(), "sort -S 64M": gnu_sort("-S", "64M"),
              "DuckDB": [*DUCK, "sort", "{in}", "{out}"]},
             (2.5, ["sort", "sort -S 64M", "DuckDB"])),
    Workload("sort_128m", "the same, --memory 128M", ["lines"], "bytes",
             [*job("sort.lua", "--memory", "128M"), "{out}"],
             {"sort -S 128M": gnu_sort("-S", "128M"),
              "DuckDB, 128M": [*DUCK, "sort", "{in}", "{out}", "128MB"]},
             (1, ["sort -S 128M"])),
    Workload("group", "group pairs for a Lua reducer", ["pairs"], "lines", job("group.lua"),
             {"lua5.4": lua("lua5.4", "group.lua"), "luajit": lua("luajit", "group.lua")},
             (3, ["lua5.4"])),
    Workload("start", "start: -e 'return 1'", [], None, [LUABATCH, "-e", "return 1"],
             {"lua5.4": ["lua5.4", "-e", "return 1"]}, None, (0.015, "seconds")),
    Workload("sort_1g", "peak memory: sort 1 GB, --memory 128M", ["lines_1g"], "bytes",
             [*job("sort.lua", "--memory", "128M"), "{out}"],
             {"sort -S 128M": gnu_sort("-S", "128M")}, None, (205, "MB")),
    Workload("group_1g", "peak memory: group 1 GB, --memory 128M", ["pairs_1g"], "bytes",
             job("group.lua", "--memory", "128M"), {"luabatch, no limit": job("group.lua")},
             None, (205, "MB")),
]




def rows_job(script, *arguments, flags=()):
    return [LUABATCH, "--quiet", "--threads", THREADS, *flags,
            os.path.join(HERE, "jobs", script), *arguments]


def rows_peers(question, inputs, *arguments):
    peers = {"DuckDB": [PYTHON, os.path.join(HERE, "peers/duck_rows.py"), question, inputs, "{out}", *arguments]}
    if not arguments:
        peers["Polars"] = [PYTHON, os.path.join(HERE, "peers/polars_rows.py"), question, inputs, "{out}"]
    return peers


GROUP_QUESTIONS = {
    "q1": "sum v1 by id1 (100 groups)",
    "q2": "sum v1 by id1, id2 (10 k groups)",
    "q3": "sum v1, avg v3 by id3 (100 k groups)",
    "q4": "avg v1, v2, v3 by id4 (100 groups)",
    "q5": "sum v1, v2, v3 by id6 (100 k groups)",
    "q6": "median, stddev v3 by id4, id5 (10 k groups)",
    "q7": "max v1 - min v2 by id3 (100 k groups)",
    "q8": "the two largest v3 by id6 (100 k groups)",
    "q9": "square of corr(v1, v2) by id2, id4 (10 k groups)",
    "q10": "count, sum v3 by six columns (10 M groups)",
}
# A question without an aggregate has no place for a function.
FUNCTION_QUESTIONS = [question for question in GROUP_QUESTIONS if question != "q8"]

SUM_BY_ID1 = "NR > 1 {sum[$1] += $7} END {for (id in sum) print id \",\" sum[id]}"
MAWK = {
    "q1": {"mawk": ["mawk", "-F", ",", SUM_BY_ID1, "{in}"]},
    "filter": {"mawk": ["mawk", "-F", ",", "NR > 1 && $7 >= 3 {n++} END {print n}", "{in}"]},
}


def group_workloads():
    """The questions of the db-benchmark, by name of a column and by Lua function."""
    for question, title in GROUP_QUESTIONS.items():
        yield Workload(f"groups_{question}", f"CSV: {title}", ["groups"], "numbers",
                       rows_job("groups.lua", question, "{in}", "{out}"),
                       {**rows_peers(question, "{in}"), **MAWK.get(question, {})}, (1, ["DuckDB"]))
    for question in FUNCTION_QUESTIONS:
        yield Workload(f"functions_{question}", f"Lua functions: {GROUP_QUESTIONS[question]}", ["groups"],
                       "numbers", rows_job("groups.lua", question, "{in}", "{out}", "functions"),
                       rows_peers(question, "{in}", "functions"), (1 / 1.5, ["DuckDB"]))
    yield Workload("filter", "CSV: filter by a Lua function, count", ["groups"], "lines",
                   rows_job("groups.lua", "filter", "{in}"),
                   {**rows_peers("filter", "{in}"), **MAWK["filter"]}, (1, ["DuckDB"]))


def purchase_workload(name, question, title, purchases="purchases", target=None, near=None):
    return Workload(name, title, [purchases, "users"], "numbers",
                    rows_job("purchases.lua", question, "{in}", "{in2}", "{out}"),
                    rows_peers(question, "{in},{in2}"), target, None, near)


BOTH = ["DuckDB", "Polars"]
ROWS = [
    *group_workloads(),
    purchase_workload("join_sum", "join_sum", "purchases join users: sum by age", target=(2, BOTH)),
    purchase_workload("join_csv", "join_csv", "the same join, written as CSV", target=(2, BOTH)),
    purchase_workload("by_user", "by_user", "purchases: count, sum by user"),
    purchase_workload("join_hot", "join_sum", "join, 90 % of the purchases by one user", "purchases_hot",
                      near=(1.3, "join_sum")),
    purchase_workload("by_user_hot", "by_user", "group, 90 % of the purchases by one user", "purchases_hot",
                      near=(1.3, "by_user")),
    purchase_workload("top_ten", "top_ten", "purchases: top 10 of each category", target=(2, ["DuckDB"])),
    purchase_workload("moving_average", "moving_average", "purchases: average of 8 rows of a user",
                      target=(2, ["DuckDB"])),
    Workload("json", "JSON lines: sum by user", ["events"], "numbers", rows_job("events.lua", "{in}", "{out}"),
             rows_peers("events", "{in}"), (1, ["DuckDB"])),
]


def limited(work):
    """The same with little memory: the same bytes must come out."""
    return Workload(f"{work.name}_128m", f"{work.title}, --memory 128M", work.inputs, "bytes",
                    [LUABATCH, "--memory", "128M", *work.ours[1:]], {"luabatch, no limit": work.ours},
                    None, (205, "MB"))


RUNS_LUA = ["words_lua", "urls_lua", "group", "filter", *(f"functions_{question}" for question in FUNCTION_QUESTIONS)]


def with_luajit(work):
    """The same, run by the build for LuaJIT too when that is there and the workload is one of Lua functions."""
    if work.name not in RUNS_LUA or not os.path.exists(ON_LUAJIT):
        return work
    return work._replace(peers={"luabatch on LuaJIT": [ON_LUAJIT, *work.ours[1:]], **work.peers})


WORKLOADS = [*map(with_luajit, [*TEXT, *ROWS]), *(limited(work) for work in ROWS if not work.name.startswith("functions_"))]
MEANS = [
    Mean("ten group-by questions", [f"groups_{question}" for question in GROUP_QUESTIONS], ["DuckDB"], 2.5, 1),
    Mean("the same, Lua functions", [f"functions_{question}" for question in FUNCTION_QUESTIONS], ["DuckDB"],
         1 / 1.5, 0),
]
