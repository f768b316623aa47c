--- Jobs whose outputs must not depend on threads and memory: for each a name and a function(d, out, seed), d the paths of data.lua,
-- out a folder that is there and empty, ending in "/". What it writes there is what is compared.
local lb = require "luabatch"

local jobs = {}

local function job(name, f) jobs[#jobs + 1] = { name = name, run = f } end

-- What is no dataset, as a file.
local function write(path, ...)
  local file = assert(io.open(path, "wb"))
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    file:write(type(value) == "table" and table.concat(value, " ") or tostring(value), "\n")
  end
  file:close()
end

local function orders(d) return lb.csv(d.orders) end
local function users(d) return lb.csv(d.users) end
local function add(a, b) return a + b end
local function pairs_of(d) return orders(d):map(function(r) return r.user_id, r.qty end) end

-- Text, records, pairs.

job("words", function(d, out)
  lb.text(d.text):words():value_counts():save_csv(out .. "counts.csv")
end)
job("grep", function(d, out)
  lb.text(d.text):grep("w%d+"):lower():save_text(out .. "lines.txt.gz")
end)
job("fields", function(d, out)
  local n = lb.counter "soak words"
  local before = n:value()
  lb.text(d.text):fields():map(function(a, b) n:add(1) return b, a end):filter(function(k) return k ~= nil end)
    :save_json(out .. "fields.json")
  write(out .. "counter", n:value() - before)
end)
job("field", function(d, out)
  lb.text(d.text):field(2):value_counts():sort_by(function(w, n) return { -n, w or "" } end):save_text(out .. "second")
end)
job("classic job", function(d, out)
  lb.job({
    mapper = function(_, line, emit) for w in line:gmatch "%a+" do emit(w:lower(), 1) end end,
    combiner = function(w, ones, emit) local n = 0 for one in ones do n = n + one end emit(w, n) end,
    reducer = function(w, ones, emit) local n = 0 for one in ones do n = n + one end emit(w, n) end,
    reducers = 7,
  }):dataset(d.text):save_text(out .. "parts/")
end)
job("job with tasks", function(d, out)
  lb.job({ steps = {
    {
      mapper_init = function(task) task.n = {} end,
      mapper = function(_, line, _, task) for w in line:gmatch "%w+" do task.n[w] = (task.n[w] or 0) + 1 end end,
      mapper_final = function(emit, task)
        local words = {}
        for w in pairs(task.n) do words[#words + 1] = w end
        table.sort(words)
        for _, w in ipairs(words) do emit(w, task.n[w]) end
      end,
      reducer = function(w, ns, emit) local n = 0 for one in ns do n = n + one end emit(#w, { w, n }) end,
    },
    {
      reducer = function(size, values, emit) local all = {} for v in values do all[#all + 1] = v end emit(size, #all, all[1]) end,
      sort_values = true,
    },
  } }):dataset(d.text):save_json(out .. "sizes.json")
end)
job("reduce_by_key", function(d, out)
  pairs_of(d):reduce_by_key(add):save_text(out .. "sums")
  pairs_of(d):reduce_by_key(function(a, b) return math.max(a, b) end, { salt = 3 }):save_text(out .. "greatest")
end)
job("fold and aggregate", function(d, out)
  pairs_of(d):fold_by_key(0, add):save_text(out .. "fold")
  pairs_of(d):aggregate_by_key({ 0, 0 }, function(s, v) return { s[1] + v, s[2] + 1 } end,
    function(a, b) return { a[1] + b[1], a[2] + b[2] } end):save_json(out .. "aggregate")
  pairs_of(d):combine_by_key(function(v) return { v } end, function(s, v) return { math.max(s[1], v) } end,
    function(a, b) return { math.max(a[1], b[1]) } end):save_json(out .. "combine")
end)
job("float sums by key", function(d, out)
  orders(d):map(function(r) return r.item, r.x or 0.0 end):reduce_by_key(add):save_json(out .. "sums")
  write(out .. "sum", orders(d):map(function(r) return r.x or 0.0 end):sum())
end)
job("group_by_key", function(d, out)
  pairs_of(d):group_by_key():save_json(out .. "lists/")
end)
job("reduce_groups", function(d, out)
  pairs_of(d):reduce_groups(function(k, values, emit)
    local n, last = 0, nil
    for v in values do
      if v ~= last then emit(k, v) end
      n, last = n + 1, v
    end
    emit(k, -n)
  end, { sort_values = true }):save_text(out .. "groups")
end)
job("joins of pairs", function(d, out)
  local left = pairs_of(d):filter(function(k) return k ~= 7 end)
  local right = users(d):map(function(r) return r.id, r.country end)
  left:full_join(right):save_json(out .. "full")
  left:anti_join(right):save_json(out .. "anti")
  left:semi_join(right):count_by_key()
  left:cogroup(right):map(function(k, a, b) return k, #a, #b end):save_json(out .. "cogroup")
end)
job("skewed join of pairs", function(d, out)
  local right = users(d):map(function(r) return r.id, r.name end)
  pairs_of(d):join(right, { salt = function(k) return k == 7 and 5 or nil end }):save_text(out .. "salted")
  pairs_of(d):join(right):save_text(out .. "auto")
end)
job("sets", function(d, out)
  local a, b = orders(d):map(function(r) return r.user_id end), lb.range(3, d.n_users, 2)
  a:distinct():save_text(out .. "distinct")
  a:intersection(b):save_text(out .. "intersection")
  b:subtract(a):save_text(out .. "subtract")
  a:union(b):save_text(out .. "union")
end)
job("sort_by", function(d, out)
  orders(d):map(function(r) return { r.qty, r.id } end):sort_by(function(v) return v[1] end):save_json(out .. "stable")
  lb.text(d.text):sort_by(nil, { desc = true }):save_text(out .. "lines")
  pairs_of(d):sort_by_key():save_text(out .. "keys")
end)
job("places", function(d, out)
  lb.text(d.text):zip_with_index():save_text(out .. "index")
  lb.text(d.text):repartition(5):save_text(out .. "five/")
  lb.range(d.n):partition_by(4, function(n) return n % 7 end):save_text(out .. "four/")
  lb.range(d.n):limit(math.floor(d.n / 2)):coalesce(1):save_text(out .. "one/")
end)
job("sample", function(d, out, seed)
  lb.text(d.text):sample(0.3, seed):save_text(out .. "lines")
  orders(d):sample(0.1, seed + 1):save_csv(out .. "orders.csv")
end)
job("map_partitions", function(d, out)
  lb.text(d.text):map_partitions(function(lines, emit, index)
    local n = 0
    for line in lines do n = n + #line end
    emit(index, n)
  end):save_text(out .. "sizes")
end)
job("cartesian", function(d, out)
  lb.range(60):cartesian(lb.text(d.text):limit(40)):save_text(out .. "pairs")
end)
job("actions", function(d, out)
  local n = lb.text(d.text):map(function(s) return #s end)
  local stats = n:stats()
  write(out .. "actions", n:count(), n:sum(), n:mean(), n:min(), n:max(), stats.variance, stats.sample_stddev, n:top(5), n:take_ordered(5),
    n:take(7), n:reduce(math.max), (select(2, n:histogram(4))), n:fold(3, add), pairs_of(d):hot_keys(3)[1])
end)
job("pipe", function(d, out)
  lb.text(d.text):coalesce(1):pipe("tr a-z A-Z | cut -c 1-20"):save_text(out .. "upper")
end)
job("cache", function(d, out)
  local kept = lb.text(d.text):words():map(function(w) return #w, w end):cache()
  kept:reduce_by_key(function(a, b) return a < b and b or a end):save_text(out .. "longest")
  kept:value_counts():save_json(out .. "counts")
  kept:uncache()
end)

-- Rows.

job("groups", function(d, out)
  orders(d):group_by("user_id"):agg {
    n = lb.count(), sum = lb.sum "qty", money = lb.sum "price * qty", avg = lb.avg "price", least = lb.min "ts", most = lb.max "item",
  }:save_csv(out .. "users.csv")
end)
job("float aggregates", function(d, out)
  local all = { s = lb.sum "x", a = lb.avg "x", v = lb.variance "x", d = lb.stddev "price", c = lb.corr("price", "x"), m = lb.median "x" }
  orders(d):group_by("item"):agg(all):save_json(out .. "items.json")
  orders(d):agg(all):save_json(out .. "all.json")
end)
job("distinct aggregates", function(d, out)
  orders(d):group_by("item", "qty"):agg {
    n = lb.count_distinct "user_id", approx = lb.approx_count_distinct "id", mode = lb.mode "note", q = lb.quantile("price", 0.9),
  }:save_json(out .. "groups.json")
end)
job("lists", function(d, out)
  orders(d):group_by("user_id"):agg {
    all = lb.collect_list "id", set = lb.collect_set "item", first = lb.first "note", last = lb.last "note", any = lb.any_value "ts",
    best = lb.max_by("id", "price"), worst = lb.min_by("id", "x"), some = lb.bool_or "qty > 8", every = lb.bool_and "price > 1",
  }:save_json(out .. "lists.json")
end)
job("own aggregate", function(d, out)
  local longest = lb.aggregate {
    init = function() return { 0, "" } end,
    step = function(s, item, qty) if qty > s[1] or (qty == s[1] and item > s[2]) then return { qty, item } end return s end,
    merge = function(a, b) if b[1] > a[1] or (b[1] == a[1] and b[2] > a[2]) then return b end return a end,
    finish = function(s) return s[2] end,
  }
  orders(d):group_by("user_id"):agg({ best = longest("item", "qty"), n = lb.count() }, { salt = 4 }):save_csv(out .. "best.csv")
end)
job("order_by", function(d, out)
  orders(d):order_by("item", lb.desc "qty"):save_csv(out .. "orders.csv")
  orders(d):order_by(lb.desc "x"):select("x", "id"):save_csv(out .. "x.csv")
  orders(d):order_by("price"):limit(25):save_json(out .. "cheap.json")
end)
job("drop_duplicates", function(d, out)
  orders(d):drop_duplicates("item", "qty"):save_csv(out .. "first.csv")
  orders(d):select("item"):distinct():save_csv(out .. "items.csv")
end)
for _, how in ipairs { "inner", "left", "right", "full", "semi", "anti" } do
  job(how .. " join", function(d, out)
    for _, strategy in ipairs { "auto", "broadcast", "hash", "merge" } do
      orders(d):drop("note"):join(users(d), { on = { left = "user_id", right = "id" }, how = how, strategy = strategy })
        :save_csv(out .. strategy .. ".csv")
    end
  end)
end
job("join of many with many", function(d, out)
  local heavy = orders(d):where("user_id = 7"):select("user_id", "id"):limit(300)
  heavy:join(heavy:rename { id = "other" }, { on = "user_id", strategy = "hash", salt = 4 }):save_csv(out .. "pairs.csv")
  heavy:join(orders(d):select("user_id", "qty"), { on = "user_id", strategy = "merge" }):agg { n = lb.count(), s = lb.sum "qty" }
    :save_csv(out .. "merged.csv")
end)
job("combining join", function(d, out)
  orders(d):join(users(d), {
    on = { left = function(r) return "u" .. tostring(r.user_id) end, right = function(r) return "u" .. r.id end }, how = "left",
    combine = function(o, u) return o.id, u and u.name or "?" end,
  }):save_text(out .. "names")
end)
job("windows of rows", function(d, out)
  orders(d):window {
    partition_by = "user_id", order_by = { "ts", "id" }, n = lb.row_number(), rank = lb.rank(), before = lb.lag("id", 1, 0),
    running = lb.sum "x", share = lb.percent_rank(), bucket = lb.ntile(4),
  }:save_csv(out .. "running.csv")
end)
job("windows of frames", function(d, out)
  orders(d):window {
    partition_by = "item", order_by = "id", rows = { -7, 2 }, avg = lb.avg "x", least = lb.min "price", n = lb.count_distinct "qty",
    own = lb.over(function(frame) return #frame * 1000 + frame[1].qty end),
  }:save_csv(out .. "frames.csv")
  orders(d):window { order_by = "ts", range = { -86400, 0 }, n = lb.count(), s = lb.sum "price" }:select("id", "n", "s")
    :save_csv(out .. "day.csv")
end)
job("first of each", function(d, out)
  orders(d):window { partition_by = "item", order_by = lb.desc "price", n = lb.row_number() }:where("n <= 3"):save_csv(out .. "top.csv")
end)
job("windows of time", function(d, out)
  orders(d):group_by(lb.tumble("ts", "1 day"), "item"):agg { n = lb.count(), s = lb.sum "x" }:save_csv(out .. "days.csv")
  orders(d):group_by(lb.slide("ts", "2 days", "1 day")):agg { n = lb.count() }:save_csv(out .. "slides.csv")
  orders(d):group_by("user_id", lb.session("ts", "6 hours")):agg { all = lb.collect_list "id" }:save_json(out .. "sessions.json")
end)
job("pivot", function(d, out)
  orders(d):pivot { index = "user_id", columns = "qty", values = { s = lb.sum "x", n = lb.count() }, fill = 0 }:save_csv(out .. "pivot.csv")
end)
job("expressions", function(d, out)
  orders(d):where("note is not null and (item like 't%' or qty between 2 and 5) and not (price > 40)"):select("id", {
    day = "date_trunc('day', ts)", code = "upper(regexp_replace(item, '[0-9]+', '-\\0'))", x2 = "round(coalesce(x, 0.0) / 3, 2)",
    kind = "case when qty < 0 then 'back' when qty = 0 then 'none' else concat('n', qty) end", h = "md5(note)",
  }):save_csv(out .. "rows.csv")
end)
job("Lua columns", function(d, out)
  orders(d):with_columns({ both = function(r) return { r.item, r.qty } end, even = "id % 2 = 0" }):rename({ note = "remark" })
    :fill_nil({ x = 0.0 }):drop_nil("user_id"):drop("ts"):save_json(out .. "rows.json")
end)
job("JSON", function(d, out)
  local events = lb.json(d.events)
  events:explode("tags"):group_by("tags"):agg { n = lb.count(), u = lb.count_distinct "user" }:save_json(out .. "tags.json")
  events:select("id", "late", { n = "at.n", page = "at.page" }):save_csv(out .. "flat.csv")
end)
job("trees", function(d, out)
  orders(d):with_columns({ month = "month(ts)" }):save_csv(out .. "tree/", { partition_by = { "month", "item" } })
  orders(d):save_json(out .. "parts/", { partition_by = "qty", compression = "gzip" })
end)
job("native files", function(d, out)
  orders(d):save(out .. "orders.lbb")
  lb.read(out .. "orders.lbb"):map(function(r) return r.user_id or -1, r.x end):save(out .. "parts/", { compression = "zstd" })
end)
job("bad records", function(d, out)
  lb.csv(d.bad, { types = { id = "integer", a = "integer", b = "integer" }, on_bad = { to = out .. "bad.jsonl" } })
    :group_by("b"):agg { n = lb.count(), s = lb.sum "a" }:save_csv(out .. "good.csv")
end)
job("skipped records", function(d, out)
  lb.text(d.text):map(function(line)
    if #line % 11 == 3 then error("no " .. #line) end
    return #line, line
  end, { on_error = { to = out .. "errors.jsonl" } }):filter(function(n) return n % 2 == 0 end)
    :map_values(function(line) return line:sub(1, 1) .. (#line % 7 > 0 and "" or nil) end, { on_error = "skip" })
    :save_text(out .. "rest")
end)
job("describe", function(d, out)
  orders(d):describe():save_csv(out .. "columns.csv")
  orders(d):union(orders(d):limit(50)):group_by("item"):count():order_by(lb.desc "count", "item"):save_csv(out .. "counts.csv")
end)

return jobs
