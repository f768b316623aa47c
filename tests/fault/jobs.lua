--- The jobs that are made to fail: every reader, verb and writer. Each runs in an empty directory beside `in`, which holds the
-- inputs that `setup` makes; what stands in `old` lies there before.
-- Fields: name, script; flags and stdin (of the command line); old (file or folder/ = content: outputs there before);
-- recovers (from any one error of a read or a look at a file, before or in the run);
-- loose (files with times in them are not compared); is_two (outputs, of which the first may stand when the second fails).
local jobs = {}

--- The script that makes the inputs; run without faults, in the directory that becomes `in`.
jobs.setup = [[
local lb = require "luabatch"
local words = { "the", "cat", "sat", "on", "a", "mat", "while", "dogs-and-very-long-words", "slept", "x" }
local function word(i) return words[(i * i + i // 7) % #words + 1] end
local n = 240
local lines = lb.range(n):map(function(i) return word(i) .. " " .. word(i * 3) .. "  " .. word(i + 1) .. "," .. i end)
lines:save_text "lines.txt"
for _, extension in ipairs { "gz", "zst", "lz4", "bz2" } do lines:save_text("lines." .. extension) end
local function put(path, head, n_rows, row)
  local file = assert(io.open(path, "w"))
  file:write(head, "\n")
  for i = 1, n_rows do file:write(row(i), "\n") end
  file:close()
end
put("rows.csv", "id,user,country,amount,at,note", n, function(i)
  return ("%d,%s,%s,%s,%d,%s"):format(i, word(i), i % 3 == 0 and "SE" or "NO", i * 0.25, i * 40,
    i % 5 == 0 and '"a ""quoted""\nnote"' or "plain")
end)
put("users.csv", "user,age", 60, function(i) return word(i) .. "," .. i end)
lb.csv("rows.csv"):save_json "rows.json"
lb.csv("rows.csv"):save "rows.lb"
lb.from({ "id,n", "1,2", "2,x", "3,4,5", "4,5" }):save_text "bad.csv"
lb.range(3):flat_map(function(i) return { i, i } end):save_text "many/"
]]

-- The words used in most scripts.
local head = [[
local lb = require "luabatch"
local lines = lb.text "../in/lines.txt"
local rows = lb.csv("../in/rows.csv")
local users = lb.csv("../in/users.csv")
local pairs_of = lines:flat_map(function(line, emit) for w in line:gmatch("%a+") do emit(w, #line) end end)
]]

local function job(name, script, more)
  local made = more or {}
  made.name, made.script = name, head .. script
  jobs[#jobs + 1] = made
end

-- Readers.
job("nothing", "return 1")
job("read_text", [[lines:save_text "out.txt"]])
job("read_csv", [[rows:save_csv "out.csv"]])
job("read_json", [[lb.json("../in/rows.json"):save_json "out.json"]])
job("read_native", [[lb.read("../in/rows.lb"):save_csv "out.csv"]])
job("read_gzip", [[lb.text("../in/lines.gz"):save_text "out.txt"]])
job("read_zstd", [[lb.text("../in/lines.zst"):save_text "out.txt"]])
job("read_lz4", [[lb.text("../in/lines.lz4"):save_text "out.txt"]])
job("read_bzip2", [[lb.text("../in/lines.bz2"):save_text "out.txt"]])
job("read_files", [[lb.files("../in/many"):map(function(path, text) return #text end):save_text "out.txt"]])
job("read_glob", [[
print(lb.text("../in/{many,lines.t*}"):count(), lb.text("../in/**/p*"):count())
lb.text("../in/many/"):save_text "out.txt"]])
job("looks", [[
print(rows:count(), lb.json("../in/rows.json"):count(), lb.read("../in/rows.lb"):count(), lb.text("../in/**/p*"):count())]],
  { recovers = true })
job("stdin_stdout", [[return lb.stdin():map(function(line) return line:upper() end)]], { stdin = "../in/lines.txt" })
job("stdin_csv", [[lb.csv("-"):select("user", "amount"):save_csv "-"]], { stdin = "../in/rows.csv" })

-- Records.
job("words", [[lines:words():value_counts():save_text "out.txt"]])
job("grep_fields", [[lines:grep("cat"):field(2):lower():save_text "out.txt"]])
job("map_filter", [[
lines:map(function(s) return #s, { s = s, n = { #s } } end)
  :filter(function(n) return n % 2 == 0 end):save_json "out.json"]])
job("flat_map", [[pairs_of:save_csv "out.csv"]])
job("map_partitions", [[
lines:map_partitions(function(each, emit) for s in each do emit(s:rep(3)) end end)
  :save_text "out.txt"]])
job("sort_by", [[
lines:sort_by(function(s) return s:reverse() end):save_text("out.txt", { mode = "overwrite" })]],
  { old = { ["out.txt"] = "old\n" } })
job("distinct", [[lines:words():distinct():save_text "out.txt"]])
job("sets", [[lines:words():intersection(lb.from{"cat", "mat"}):union(lb.from{"x"}):subtract(lb.from{"mat"}):save_text "out.txt"]])
job("top_take", [[
print(lines:top(3, function(s) return #s end)[1]) print(#lines:take(5), #lines:take_ordered(5), lines:first())]])
job("sample_index", [[lines:sample(0.5, 7):zip_with_index():save_csv "out.csv"]])
job("actions", [[
local n = lines:map(function(s) return #s end)
print(n:sum(), n:reduce(function(a, b) return a > b and a or b end), n:fold(0, function(a, b) return a + b end))
print(n:aggregate(0, function(a, v) return a + v end, function(a, b) return a + b end), n:min(), n:max(), n:count())
local k = 0 for _ in lines:iterate() do k = k + 1 end print(k, #lines:collect())]])
job("cache", [[
local kept = pairs_of:cache() print(kept:count()) kept:map(function(w, n) return w .. n end):save_text "out.txt" kept:uncache()]])
job("foreach_counter", [[
local c = lb.counter "long" lines:foreach(function(s) if #s > 20 then c:add(1) end end) print(c:value())]])
job("pipe", [[lines:pipe("sort"):save_text "out.txt"]])
job("cartesian", [[lb.range(30):cartesian(lb.range(20)):save_csv "out.csv"]])
job("repartition", [[lines:repartition(3):save_text "out/"]])

-- Keys.
job("reduce_by_key", [[pairs_of:reduce_by_key(function(a, b) return a + b end):save_csv "out.csv"]])
job("reduce_own", [[pairs_of:reduce_by_key(function(a, b) return (a * 31 + b * 31) % 1000003 + #tostring(a) * 0 end):count_by_key()
  pairs_of:fold_by_key(0, function(a, b) return math.max(a, b) end):save_csv "out.csv"]])
job("group_by_key", [[pairs_of:group_by_key():save_json "out.json"]])
job("reduce_groups", [[
pairs_of:reduce_groups(function(k, values, emit) local t = {} for v in values do t[#t + 1] = v end emit(k, #t, t[#t]) end,
  { sort_values = true }):save_csv "out.csv"]])
job("aggregate_by_key", [[
pairs_of:aggregate_by_key({}, function(t, v) t[1], t[2] = (t[1] or 0) + 1, (t[2] or "") < tostring(v) and tostring(v) or t[2] return t end,
  function(a, b) return { a[1] + b[1], a[2] < b[2] and b[2] or a[2] } end)
  :map_values(function(t) return t[1] .. t[2] end):save_csv "out.csv"]])
job("job", [[
return lb.job { steps = {
  { mapper = function(_, line, emit) for w in line:gmatch("%a+") do emit(w, 1) end end,
    combiner = function(w, counts, emit) local n = 0 for c in counts do n = n + c end emit(w, n) end,
    reducer = function(w, counts, emit) local n = 0 for c in counts do n = n + c end emit(w, n) end },
  { mapper = function(w, n, emit) emit(n % 3, w) end,
    reducer = function(k, ws, emit) local t = {} for w in ws do t[#t + 1] = w end table.sort(t) emit(k, t) end } } }]],
  { args = "../in/lines.txt" })
job("join_pairs", [[pairs_of:join(lb.from_pairs{{"cat", 1}, {"mat", {2}}, {"x", 3}}):save_csv "out.csv"]])
job("full_join", [[
local right = lb.range(200):map(function(i) return ("x"):rep(i % 9), i end)
lb.range(300):map(function(i) return ("x"):rep(i % 11), i end):full_join(right):save_csv "out.csv"]])
job("cogroup", [[pairs_of:cogroup(lb.from_pairs{{"cat", 1}, {"none", 2}}):save_json "out.json"]])

-- Rows.
job("where_select", [[
rows:where "amount > 5 and country = 'SE' and user like '%a%'"
  :select("id", { v = "upper(user) || id", r = "regexp_replace(note, 'a.', 'b')" }):save_csv "out.csv"]])
job("lua_columns", [[rows:with_columns{ d = function(r) return r.user:rep(2) end }:drop("note"):save_json "out.json"]])
job("order_by", [[
rows:order_by("country", lb.desc "amount"):save_csv("out.csv", { mode = "overwrite" })]],
  { old = { ["out.csv"] = "old\n" } })
job("group_by", [[
rows:group_by("user"):agg{ n = lb.count(), s = lb.sum "amount", m = lb.median "amount", d = lb.count_distinct "note",
  l = lb.collect_list "id", a = lb.approx_count_distinct "id", first = lb.min_by("id", "amount") }:save_json "out.json"]])
job("group_by_many", [[rows:group_by("id", "note"):agg{ s = lb.sum "amount" }:save_csv "out.csv"]])
job("lua_aggregate", [[
local mine = lb.aggregate{ init = function() return {} end, step = function(t, v) t[#t + 1] = v return t end,
  merge = function(a, b) for _, v in ipairs(b) do a[#a + 1] = v end return a end, finish = function(t) return #t end }
rows:group_by("user"):agg{ n = mine "amount" }:save_csv "out.csv"]])
job("join_rows", [[rows:join(users, { on = "user" }):save_csv "out.csv"]])
job("join_merge", [[rows:join(users, { on = "user", how = "full", strategy = "hash" }):select("id", "age"):save_csv "out.csv"]])
job("join_lua", [[
rows:join(users, { on = { left = function(r) return r.id % 40 end, right = "age" }, combine = function(l, r) return { l.id, r.user } end })
  :save_json "out.json"]])
job("window", [[
rows:window{ partition_by = "user", order_by = "id", rows = { -3, 0 }, s = lb.sum "amount", m = lb.max "amount",
  n = lb.row_number(), p = lb.lag("id", 1, 0), mine = lb.over(function(f) local n = 0 for r in f do n = n + r.id end return n end) }
  :save_csv "out.csv"]])
job("window_on_error", [[
rows:window{ partition_by = "user", order_by = "id", rows = { -3, 0 },
  s = lb.sum(function(r) if r.id % 9 == 0 then error("nine") end return r.amount end),
  a = lb.over(function(f) if f[#f].id % 5 == 0 then error("five") end return #f end),
  b = lb.over(function(f) return f[#f].id % 7 > 0 and f[1].id or print end), on_error = { to = "bad.jsonl" } }
  :save_csv "out.csv"]], { is_two = true })
job("window_long", [[
rows:window{ order_by = "at", range = { -400, 0 }, a = lb.avg "amount", d = lb.count_distinct "user", r = lb.rank() }:save_csv "out.csv"]])
job("pivot", [[rows:pivot{ index = "user", columns = "country", values = lb.sum "amount" }:save_csv "out.csv"]])
job("time_windows", [[
rows:group_by(lb.tumble("at", 3600), "country"):agg{ n = lb.count() }:save_csv "tumble.csv"
rows:group_by(lb.session("at", 100), "user"):agg{ n = lb.count() }:save_csv "session.csv"]], { is_two = true })
job("explode", [[
lb.json("../in/rows.json"):with_columns{ list = function(r) return { r.id, r.id + 1 } end }
  :explode("list"):drop_duplicates("list"):save_csv "out.csv"]])

-- Writers.
job("write_directory", [[
rows:save_csv("out/", { mode = "overwrite" })]],
  { old = { ["out/part-00000.csv"] = "old\n", ["out/_SUCCESS"] = "" } })
job("write_append", [[
lines:save_text("out/", { mode = "append" }) lines:save_text("out.txt", { mode = "append" })]],
  { old = { ["out/part-00000"] = "old\n", ["out/_SUCCESS"] = "", ["out.txt"] = "old\n" },
    is_two = true })
job("write_folders", [[rows:save_csv("out/", { partition_by = { "country", "user" } })]])
job("write_gzip", [[lines:save_text "out.txt.gz" lines:save_text "out.bz2"]], { is_two = true })
job("write_zstd", [[lines:save_text "out.zst" lines:save_text "out.lz4"]], { is_two = true })
job("write_native", [[rows:save "out/" rows:save "out.lb"]], { is_two = true })
job("bad_records", [[
lb.csv("../in/bad.csv", { types = { id = "integer", n = "integer" }, on_bad = { to = "bad.jsonl" } })
  :save_csv "out.csv"]], { is_two = true })
job("on_error", [[
lines:map(function(s) if #s % 3 == 0 then error("no") end return #s end,
  { on_error = { to = "bad.jsonl" } }):save_text "out.txt"]], { is_two = true })
job("on_error_objects", [[
local told = { __tostring = function(e) return "error number " .. e.code .. " of " .. ("y"):rep(50) end }
lines:map(function(s)
    if #s % 3 == 0 then error { code = #s, list = { "a", true, { x = 1.5 } } } end
    if #s % 5 == 0 then error(setmetatable({ code = #s }, told)) end
    if #s % 7 == 0 then error { print } end
    return #s
  end, { on_error = { to = "bad.jsonl" } }):save_text "out.txt"]], { is_two = true })
job("on_error_values", [[
local bad = { on_error = { to = "bad.jsonl" } }
rows:with_columns({ b = "cast(case when id % 9 > 0 then id else note end as integer)",
    c = "case when id % 7 > 0 then id else note end > 5" }, bad)
  :map(function(r) return { id = r.id, list = { r.id % 5 == 0 and { [r.user] = print } or r.id } } end, { on_error = { to = "bad.jsonl" } })
  :save_json "out.json"]], { is_two = true })
job("observed", [[rows:order_by("user"):group_by("user"):agg{ n = lb.count() }:save_csv "out.csv"]],
  { flags = "--stats=json --trace trace.json --report report.html", loose = { "trace.json", "report.html" } })
job("show", [[rows:show(3) rows:print_schema() pairs_of:hot_keys(2) return rows:group_by("user"):count()]])

return jobs
