-- Records for which a user's function fails: left out, counted, and written to a file.
local lb = require "luabatch"
local runtime = require "luabatch.runtime"
local support = require "tests.lua.support"
local error, io, ipairs, math, os, pairs, pcall, tostring, type = error, io, ipairs, math, os, pairs, pcall, tostring, type
local select, setmetatable = select, setmetatable

local function lines_of(path)
  local lines = {}
  for line in io.lines(path) do lines[#lines + 1] = line end
  return lines
end

-- Runs f and gives what runs told of skipped records, and f's result.
local function skipped(f)
  local before, n, first = runtime.settings.on_run, 0, nil
  runtime.settings.on_run = function(_, info)
    n, first = n + info.skipped, first or info.skipped > 0 and require("luabatch.skips").text(info) or nil
  end
  local ok, result = pcall(f)
  runtime.settings.on_run = before
  if not ok then error(result, 0) end
  return n, first, result
end

local function message(f)
  local ok, problem = pcall(f)
  assert.is_false(ok)
  return type(problem) == "table" and problem.message or tostring(problem)
end

describe("on_error (seed " .. support.seed .. ")", function()
  after_each(support.clean)

  it("writes the records of files with their places, for any number of threads", function()
    math.randomseed(support.seed)
    local rows, wanted, offset, n = { "id,word\n" }, {}, 8, 60000
    local path = support.file("", ".csv")
    for i = 1, n do
      local word = ("w"):rep(math.random(0, 40))
      local line = ("%d,%s\n"):format(i, word)
      if i % 7000 == 11 then
        wanted[#wanted + 1] = ('{"byte":%d,"file":"%s","kind":"error","line":%d,"message":"no %d","raw":{"id":%d%s},"verb":"filter"}')
          :format(offset, path, i + 1, i, i, word ~= "" and (',"word":"%s"'):format(word) or "")
      end
      rows[i + 1] = line
      offset = offset + #line
    end
    local file = io.open(path, "wb")
    file:write(table.concat(rows))
    file:close()
    for threads = 1, 4, 3 do
      support.with({ threads = threads }, function()
        local to = support.path(".json")
        local count, first, left = skipped(function()
          return lb.csv(path):filter(function(r)
            if r.id % 7000 == 11 then error("no " .. r.id, 0) end
            return true
          end, { on_error = { to = to } }):count()
        end)
        assert.same(wanted, lines_of(to))
        assert.equal(#wanted, count)
        assert.equal(n - #wanted, left)
        assert.matches("records skipped: %d+ in filter at [^ ]*on_error_spec.lua:%d+ %(no 11; the first at .-:12%)$", first)
      end)
    end
  end)

  it("is an option of all verbs with functions", function()
    local function bad(v)
      if v == 3 then error({ code = v }) end
      return v
    end
    local pairs_ds = lb.from_pairs { { "a", 1 }, { "b", 3 }, { "c", 5 } }
    local rows = lb.from { { v = 1 }, { v = 3 }, { v = 5 } }
    local one = '{"kind":"error","message":"{code=3}","raw":%s,"verb":"%s"}'
    local tests = {
      { "map", "3", function(o) return lb.from { 1, 3, 5 }:map(bad, o) end, { 1, 5 } },
      { "flat_map", "3", function(o) return lb.from { 1, 3, 5 }:flat_map(function(v, emit) emit(bad(v)) end, o) end, { 1, 5 } },
      { "filter", "3", function(o) return lb.from { 1, 3, 5 }:filter(bad, o) end, { 1, 5 } },
      { "key_by", "3", function(o) return lb.from { 1, 3, 5 }:key_by(bad, o):keys() end, { 1, 5 } },
      { "sort_by", "3", function(o) return lb.from { 5, 3, 1 }:sort_by(bad, o) end, { 1, 5 } },
      { "map_values", '["b",3]', function(o) return pairs_ds:map_values(bad, o):values() end, { 1, 5 } },
      { "flat_map_values", '["b",3]', function(o)
        return pairs_ds:flat_map_values(function(v, emit) emit(bad(v)) end, o):values()
      end, { 1, 5 } },
      { "with_columns", '{"v":3}', function(o) return rows:with_columns({ w = function(r) return bad(r.v) end }, o):select("w") end,
        { { w = 1 }, { w = 5 } } },
      { "select", '{"v":3}', function(o)
        return rows:select("v", { w = function(r) return bad(r.v) end }, o.on_error and o):select("w")
      end, { { w = 1 }, { w = 5 } } },
      { "filter", '{"v":3}', function(o) return rows:filter(function(r) return bad(r.v) end, o) end, { { v = 1 }, { v = 5 } } },
      { "join", nil, function(o)
        return rows:join(rows, { on = "v", combine = function(l) return bad(l.v) end, on_error = o.on_error }):sort_by()
      end, { 1, 5 } },
      { "window", '{"v":3}', function(o)
        return rows:window { order_by = "v", w = lb.sum(function(r) return bad(r.v) end), on_error = o.on_error }
      end, { { v = 1, w = 1 }, { v = 5, w = 6 } } },
      { "window", '{"v":3}', function(o)
        return rows:window { order_by = "v", w = lb.over(function(f) return bad(f[#f].v) + #f end), on_error = o.on_error }
      end, { { v = 1, w = 2 }, { v = 5, w = 8 } } },
      { "pivot", '{"v":3}', function(o) -- its value is a column all the same
        return rows:pivot { columns = "v", values = lb.sum(function(r) return bad(r.v) end), name = function(v) return "c" .. v end,
          on_error = o.on_error, fill = 0 }
      end, { { c1 = 1, c3 = 0, c5 = 5 } } },
    }
    for _, test in ipairs(tests) do
      local verb, raw, make, wanted = test[1], test[2], test[3], test[4]
      local to = support.path(".json")
      local n, _, got = skipped(function() return make({ on_error = { to = to } }):collect() end)
      assert.same(wanted, got, verb)
      assert.equal(1, n, verb)
      if raw then assert.same({ one:format(raw, verb) }, lines_of(to), verb) else assert.equal(1, #lines_of(to), verb) end
      assert.equal(1, (skipped(function() return make({ on_error = "skip" }):collect() end)), verb)
      assert.matches("code=3", message(function() return make({}):collect() end), 1, true)
    end
    local to = support.path(".json")
    skipped(function() lb.from({ 1, 3 }):foreach(bad, { on_error = { to = to } }) end)
    assert.same({ one:format("3", "foreach") }, lines_of(to))
  end)

  it("names the key where a group fails, and serves reductions and jobs", function()
    local to = support.path(".json")
    local ds = lb.range(1, 9):map(function(i) return i % 3, i end)
    local n, _, got = skipped(function()
      return ds:reduce_groups(function(k, _, emit)
        if k == 1 then error("one", 0) end
        emit(k)
      end, { on_error = { to = to } }):sort_by():collect()
    end)
    assert.same({ 1, { 0, 2 } }, { n, got })
    assert.same({ '{"key":1,"kind":"error","message":"one","verb":"reduce_groups"}' }, lines_of(to))
    n = skipped(function()
      return ds:reduce_by_key(function(a, b) return a .. {} .. b end, { on_error = { to = to } }):collect()
    end)
    assert.equal(n, #lines_of(to))
    assert.is_true(n > 0)
    local job = lb.job {
      on_error = { to = to },
      mapper = function(_, line, emit)
        if line == "x" then error("bad line", 0) end
        emit(line, 1)
      end,
      reducer = function(key, values, emit)
        local sum = 0
        for v in values do sum = sum + v end
        if key == "b" then error("bad key", 0) end
        emit(key, sum)
      end,
    }
    local path = support.file("a\nx\nb\na\n")
    n, _, got = skipped(function() return job:dataset({ path }):collect_map() end)
    assert.same({ 2, { a = 2 } }, { n, got })
    assert.same({
      ('{"byte":2,"file":"%s","kind":"error","line":2,"message":"bad line","raw":"x","verb":"mapper of step 1"}'):format(path),
      '{"key":"b","kind":"error","message":"bad key","verb":"reducer of step 1"}',
    }, lines_of(to))
  end)

  it("writes nothing when the run fails, an empty file when no record does, one file for several steps", function()
    local to = support.path(".json")
    assert.matches("in map", message(function()
      lb.range(3):filter(function(n) return n > 1 or error("no") end, { on_error = { to = to } })
        :map(function(n) error("yes " .. n) end):count()
    end))
    assert.is_nil(io.open(to))
    lb.range(3):filter(function() return true end, { on_error = { to = to } }):count()
    assert.same({}, lines_of(to))
    for _, fn in ipairs { lb.row_number(), lb.count(), lb.sum "v", lb.over(function(f) return #f end) } do
      local other = support.path(".json")
      lb.from({ { v = 1 } }):window({ n = fn, on_error = { to = other } }):count()
      assert.same({}, lines_of(other))
    end
    local path = support.file("a,b\n1,2\n3\nx,5\n7,8\n", ".csv")
    local n = skipped(function()
      return lb.csv(path, { types = { a = "integer" }, on_bad = { to = to } })
        :map(function(r) return r.a > 1 and error("late", 0) or r.a end, { on_error = { to = to } }):count()
    end)
    assert.equal(3, n)
    local kinds = {}
    for i, line in ipairs(lines_of(to)) do kinds[i] = line:match('"kind":"(%a+)","line":%d') end
    table.sort(kinds)
    assert.same({ "error", "fields", "type" }, kinds)
  end)

  it("leaves out the rows for which an SQL expression fails, as for functions", function()
    local rows, wanted, sum, n_big = {}, 0, 0, 0
    for i = 1, 5000 do
      local is_bad = math.random(9) == 1
      rows[i] = { i = i, v = is_bad and "x" .. i or tostring(i % 100), k = i % 2 }
      if is_bad then wanted = wanted + 1 else sum = sum + i % 100 end
      if not is_bad and i % 100 > 50 then n_big = n_big + 1 end
    end
    local path = support.path()
    lb.from(rows):save_csv(path .. ".csv", { mode = "overwrite" })
    local ds, to = lb.csv(path .. ".csv", { types = { v = "string" } }), support.path()
    for _, threads in ipairs { 1, 3 } do
      runtime.settings.threads = threads
      local n, first, result = skipped(function()
        return ds:with_columns({ n = "cast(v as integer)", i = "i + 1" }, { on_error = { to = to } }):select("n"):map(function(r)
          return r.n
        end):sum()
      end)
      assert.same({ wanted, sum }, { n, result })
      assert.matches("cannot be cast to integer", first)
      assert.equal(wanted, #lines_of(to))
      assert.matches('"kind":"error","line":%d+,"message":".-","raw":{"i":%d+,"k":%d,"v":"x%d+"},"verb":"with_columns"', lines_of(to)[1])
      n, _, result = skipped(function()
        return ds:select("k", { n = "cast(v as integer)" }, { on_error = "skip" }):where("k >= 0"):map(function(r) return r.n end):sum()
      end)
      assert.same({ wanted, sum }, { n, result })
      n, _, result = skipped(function()
        return ds:where("cast(v as integer) > 50", { on_error = "skip" }):where("i > 0"):select("i"):count()
      end)
      assert.same({ wanted, n_big }, { n, result })
      n, _, result = skipped(function()
        return ds:group_by("k"):agg({ s = lb.sum "cast(v as integer)" }, { on_error = "skip" }):map(function(r) return r.s end):sum()
      end)
      assert.same({ wanted, sum }, { n, result })
    end
    runtime.settings.threads = nil
    assert.matches("cannot be cast to integer", message(function() return ds:where("cast(v as integer) > 50"):count() end))
    -- No other condition comes before it, or after.
    local n = skipped(function()
      return ds:with_columns({ z = "k" }):where("cast(v as integer) >= 0", { on_error = "skip" }):where("z = 7 and i > 3"):count()
    end)
    assert.equal(wanted, n)
  end)

  it("leaves out the rows with a value that an aggregate refuses, of all aggregates", function()
    math.randomseed(support.seed)
    local lines, wanted, bad = {}, {}, {}
    for i = 1, 20000 do
      local item, price, q, ok = ("g%d"):format(math.random(0, 40)), tostring(math.random(0, 99)), tostring(i % 9), "true"
      local kind = math.random(12)
      if kind == 1 then price = '"x"' elseif kind == 2 then q = "[1]" elseif kind == 3 then ok = "0" end
      if kind == 4 then price = "null" elseif kind == 5 then price, q = "null", '"no pair"' end
      lines[i] = ('{"i":%d,"item":"%s","ok":%s,"price":%s,"q":%s}'):format(i, item, ok, price, q)
      if kind <= 3 then
        bad[#bad + 1] = { line = i, raw = lines[i], from = kind == 1 and "c: a string" or kind == 2 and "c: a table" or "b: a number" }
      else
        local group = wanted[item] or { item = item, n = 0, b = true, own = 0 }
        wanted[item], group.n, group.own = group, group.n + 1, group.own + i
        if price ~= "null" then group.s = (group.s or 0) + math.floor(price) end
      end
    end
    local ds = lb.json(support.file(table.concat(lines, "\n") .. "\n", ".json"))
    local function total(f) return lb.aggregate { init = function() return 0 end, step = f, merge = function(a, b) return a + b end } end
    local items = {
      s = lb.sum "price", n = lb.count(), b = lb.bool_and "ok", c = lb.corr("price", "q"),
      own = total(function(sum, row) return sum + row.i end),
    }
    for threads = 1, 4, 3 do
      support.with({ threads = threads }, function()
        local to = support.path(".json")
        local n, first, groups = skipped(function()
          return ds:group_by("item"):agg(items, { on_error = { to = to } }):collect()
        end)
        assert.equal(#bad, n)
        assert.matches(bad[1].from .. " where a %a+ is wanted", first)
        for i, line in ipairs(lines_of(to)) do
          assert.same({ tostring(bad[i].line), bad[i].raw }, { line:match('"line":(%d+),.-"raw":({.-}),"verb":"agg"}$') })
        end
        assert.equal(#bad, #lines_of(to))
        local seen = 0
        for _, group in ipairs(groups) do
          group.c, seen = nil, seen + 1
          assert.same(wanted[group.item], group)
        end
        for _ in pairs(wanted) do seen = seen - 1 end
        assert.equal(0, seen)
      end)
    end
    -- Of the columns that are read only; of what a function gives; of one row over all; a group of which no row is left.
    local strings = { { k = 1, v = "x" }, { k = 2, v = 3 } }
    for _, column in ipairs { "v", function(r) return r.v end } do
      for _, name in ipairs { "sum", "avg", "median", "variance", "stddev" } do
        local n, _, rows = skipped(function()
          return lb.from(strings):group_by("k"):agg({ v = lb[name](column), n = lb.count() }, { on_error = "skip" }):collect()
        end)
        assert.same({ 1, 1, 2, 1 }, { n, #rows, rows[1].k, rows[1].n })
      end
      local n, _, rows = skipped(function()
        return lb.from(strings):group_by():agg({ v = lb.sum(column) }, { on_error = "skip" }):collect()
      end)
      assert.same({ 1, { { v = 3 } } }, { n, rows })
      for _, options in ipairs { {}, { on_error = "fail" } } do
        assert.matches("v: a string where a number is wanted", message(function()
          lb.from(strings):group_by("k"):agg({ v = lb.sum(column) }, options):collect()
        end))
      end
    end
    -- A sum of integers that is too large is no record's.
    local most = lb.from({ { v = "9223372036854775807" }, { v = "1" } }):with_columns { v = "cast(v as integer)" }
    assert.matches("the sum does not fit 64 bits", message(function()
      most:group_by():agg({ v = lb.sum "v" }, { on_error = "skip" }):collect()
    end))
  end)

  -- What a window should give of rows and leave out, by a loop: lists of outcomes by id, texts for what is left out.
  local function expect(rows, options, reaches)
    local found, good = {}, {}
    for _, row in ipairs(rows) do
      if row.n == 13 then found[row.id] = "thirteen" elseif row.v == "x" then found[row.id] = "cannot be cast"
      elseif row.q == "x" then found[row.id] = "a string where a number is wanted" else good[#good + 1] = row end
    end
    table.sort(good, function(a, b)
      local x, y = { a.g, options.order_by and a.o or 0, a.id }, { b.g, options.order_by and b.o or 0, b.id }
      for i = 1, 3 do
        if x[i] ~= y[i] then return x[i] < y[i] end
      end
      return false
    end)
    local start = 1
    for i, row in ipairs(good) do
      if good[start].g ~= row.g then start = i end
      local sum, total, size = nil, 0, 0
      for j = start, #good do
        local other = good[j]
        if other.g ~= row.g then break end
        if reaches(row, other, j - i) then
          sum, total, size = (sum or 0) + math.floor(other.v), total + other.n, size + 1
        end
      end
      local of_kind = { [3] = "seven " .. total, [4] = "what the function gave: value is a function", [5] = "attempt to index" }
      found[row.id] = of_kind[total % 7] or size % 5 == 4 and "{code=" .. size .. "}"
        or { rn = i - start + 1, s = sum, a = total, b = size }
    end
    return found
  end

  local function of_sum(frame)
    local total = 0
    for r in frame do total = total + r.n end
    local kind = total % 7
    if kind == 3 then error("seven " .. total, 0) end
    return kind == 4 and tostring or kind == 5 and total.x.y or total
  end
  local function of_size(frame)
    if #frame % 5 == 4 then error({ code = #frame }) end
    return #frame
  end

  it("takes no longer for a row that an aggregate refuses than for another", function()
    local n = 200000
    local path = support.file("k,v\n" .. ("1,x\n"):rep(n), ".csv")
    local start = os.clock() -- of the processor; a walk through the file for each row takes some thirty seconds
    local count, _, groups = skipped(function()
      return lb.csv(path):group_by("k"):agg({ s = lb.sum "v" }, { on_error = "skip" }):count()
    end)
    assert.same({ n, 0 }, { count, groups })
    assert.is_true(os.clock() - start < 10)
  end)

  it("leaves out rows before a window, and rows whose frame fails behind it", function()
    math.randomseed(support.seed)
    local rows, lines = {}, {}
    for i = 1, support.size(1200, 250) do
      local function some(bad, value) return math.random(25) == 1 and bad or value end
      rows[i] = {
        id = i, g = math.random(6), o = math.random(40), n = some(13, math.random(0, 9)), v = some("x", tostring(i % 50)),
        q = some("x", i % 3),
      }
      local row = rows[i]
      lines[i] = ('{"id":%d,"g":%d,"o":%d,"n":%d,"v":"%s","q":%s}'):format(i, row.g, row.o, row.n, row.v, row.q == "x" and '"x"' or row.q)
    end
    local path = support.file(table.concat(lines, "\n") .. "\n", ".json")
    local cases = {
      { {}, function() return true end },
      { { order_by = "o" }, function(row, other) return other.o <= row.o end },
      { { order_by = "o", rows = { -2, 0 } }, function(_, _, d) return d >= -2 and d <= 0 end },
      { { order_by = "o", rows = { 1, 6 } }, function(_, _, d) return d >= 1 and d <= 6 end },
      { { order_by = "o", rows = { -math.huge, -1 } }, function(_, _, d) return d < 0 end },
      { { order_by = "o", range = { -3, 1 } }, function(row, other) return other.o - row.o >= -3 and other.o - row.o <= 1 end },
    }
    for _, case in ipairs(cases) do
      local options, found, before = case[1], expect(rows, case[1], case[2]), nil
      options.partition_by, options.s, options.rn = "g", lb.sum "cast(v as integer)", lb.row_number()
      options.q, options.c = lb.avg "q", lb.count(function(r) return r.n ~= 13 and r.n or error("thirteen", 0) end)
      options.a, options.b = lb.over(of_sum), lb.over(of_size)
      local n_bad = 0
      for i = 1, #rows do n_bad = n_bad + (type(found[i]) == "string" and 1 or 0) end
      for _, settings in ipairs { { threads = 1 }, { threads = 2, memory = 64 * 1024 ^ 2 }, { threads = 8 } } do
        support.with(settings, function()
          local to = support.path(".json")
          options.on_error = { to = to }
          local n, _, got = skipped(function() return lb.json(path):window(options):collect() end)
          assert.equal(n_bad, n)
          assert.equal(#rows - n_bad, #got)
          local ids = {}
          for i, row in ipairs(got) do
            local want = found[row.id]
            assert.same(want, { rn = row.rn, s = row.s, a = row.a, b = row.b })
            ids[i] = row.id
          end
          for _, line in ipairs(lines_of(to)) do
            local id = line:match('"raw":{.-"id":(%d+)')
            assert.truthy(line:find(found[id + 0], 1, true), line)
            assert.matches('"verb":"window"}$', line)
            ids[#ids + 1] = id + 0
          end
          assert.equal(#rows, #ids)
          local all = table.concat(ids, " ")
          assert.equal(before or all, all)
          before = all
          -- Whatever of it is read.
          options.on_error = "skip"
          n, _, got = skipped(function() return lb.json(path):window(options):select("rn"):map(function(r) return r.rn end):count() end)
          assert.same({ n_bad, #rows - n_bad }, { n, got })
        end)
      end
    end
    -- The first rows of each partition, of those that are not left out; a value in no frame is looked at, too.
    local base, ids = lb.json(path):where("n <> 13 and try_cast(q as integer) is not null"), {}
    for i, ds in ipairs { base, base:where("v <> 'x'") } do
      local n, _, got = skipped(function()
        return ds:window({
          partition_by = "g", order_by = "o", rows = { -3, -1 }, rn = lb.row_number(), s = lb.avg "cast(v as integer)", on_error = "skip",
        }):where("rn <= 2"):map(function(r) return r.id end):sort_by():collect()
      end)
      assert.equal(i == 1, n > 0)
      ids[i] = got
    end
    assert.same(ids[1], ids[2])
  end)

  it("tells of frames in the order of rows, however they are cut", function()
    local wide, n = ("x"):rep(2000), support.size(5000, 300)
    local ds = lb.range(1, n):map(function(i) return { id = i, wide = wide } end):select("id", "wide")
    local function failing(k)
      return lb.over(function(f) return f[#f].id % k > 0 and #f or error("no " .. k, 0) end)
    end
    local ids, wanted, messages = {}, {}, {}
    for i = 1, n do
      if i % 7 == 0 or i % 3 == 0 then
        wanted[#wanted + 1] = i
        messages[#messages + 1] = i % 7 == 0 and "no 7" or "no 3"
      end
    end
    local to = support.path(".json")
    local count, first, left = skipped(function()
      return ds:window({ order_by = "id", rows = { -2, 0 }, a = failing(7), b = failing(3), on_error = { to = to } })
        :map(function(r) return r.a + r.b end):sum()
    end)
    assert.same({ #wanted, (n - #wanted) * 6 - 6 }, { count, left })
    assert.matches("in window at [^ ]*on_error_spec.lua:%d+ %(no 3%)$", first)
    for i, line in ipairs(lines_of(to)) do
      ids[i] = line:match('"id":(%d+)') + 0
      assert.equal(messages[i], line:match('"message":"([^"]*)"'))
    end
    assert.same(wanted, ids)
  end)

  -- Steps take batches, one after the other: where batches end must not depend on anything but the records.
  it("has one order of lines for several steps, and one first error, for any threads and memory", function()
    local n, wide = support.size(6000, 400), ("x"):rep(3000)
    local lines = {}
    for i = 1, n do lines[i] = ('{"id":%d,"w":"%s"}'):format(i, wide:sub(1, i < n / 8 and 3000 or math.random(9) ^ 3)) end
    local path = support.file(table.concat(lines, "\n") .. "\n", ".json")
    local rows = lb.json(path, { types = { id = "integer", w = "string" } })
    local made = rows:map(function(r) return { id = r.id, w = r.w .. r.w } end):select("id", "w")
    local sources = {
      map = made, sort = made:order_by("id"), top = made:order_by("id"):limit(n - 1), groups = made:group_by("id"):agg { w = lb.max "w" },
      distinct = made:drop_duplicates("id"),
      join = made:join(lb.range(1, n):map(function(i) return { id = i } end):select "id", { on = "id" }),
      subtract = made:map(function(r) return r.id, r.w end)
        :subtract(lb.from { { 0, 0 } }:map(function(r) return r[1], r[2] end))
        :map(function(k, v) return { id = k, w = v } end),
      window = made:window { order_by = "id", rows = { -2, 0 }, m = lb.over(function(f) return #f end) },
      lag = made:window { order_by = "id", p = lb.lag "id" },
    }
    -- Of an id of each kind: the larger one fails in the first step.
    local second = math.random(n - 200)
    local first = second + math.random(100)
    for name, source in pairs(sources) do
      local seen, told
      for _, settings in ipairs(support.settings { { threads = 1, memory = 2 ^ 30 }, { threads = 3, memory = 2 ^ 30 },
        { threads = 8, memory = 2 ^ 25 }, { threads = 2, memory = 2 ^ 23 } }) do
        local to = { to = support.path ".json" }
        local function fail(ids, letter)
          return function(r) return not ids[r.id % n] and r or error(letter .. r.id, 0) end
        end
        support.with(settings, function()
          local function odd(r) return r.id % 50 ~= 33 and r or error("odd " .. r.id, 0) end
          local function even(r) return r.id % 50 ~= 4 and r or error("even " .. r.id, 0) end
          skipped(function() return source:map(odd, { on_error = to }):map(even, { on_error = to }):count() end)
          local problem = message(function()
            source:map(fail({ [first] = true }, "a")):map(fail({ [second] = true }, "b")):count()
          end):match("[ab]%d+")
          local lines_now = support.read(to.to)
          seen, told = seen or lines_now, told or problem
          assert(seen == lines_now and #seen > 0, name .. ": other lines with " .. settings.threads .. " threads")
          assert.equal(told, problem, name)
        end)
      end
    end
  end)

  it("is checked", function()
    local ds = lb.from { { v = 1 } }
    local function f() return 1 end
    assert.matches("'fail', 'skip' or { to = path } expected, got 'skp'", message(function() ds:map(f, { on_error = "skp" }) end), 1, true)
    assert.matches("needs the path of a file", message(function() ds:map(f, { on_error = { to = "x/" } }) end), 1, true)
    assert.matches("has no option 'too'; did you mean 'to'", message(function() ds:map(f, { on_error = { too = "x" } }) end), 1, true)
    assert.matches("no column 'skp'", message(function() ds:select({ w = "v" }, { on_error = "skp" }) end), 1, true)
    assert.matches("needs the path of a file", message(function() ds:select({ w = "v + 1" }, { on_error = {} }) end), 1, true)
    assert.matches("'on_error' is about computed columns, and there is none", message(function()
      ds:select("v", { on_error = "skip" })
    end), 1, true)
    -- The name is free for columns.
    assert.same({ { v = 1, on_error = 2 } }, ds:select("v", { on_error = "v + 1" }):collect())
    assert.same({ { on_error = 1 } }, ds:select({ on_error = "v" }):collect())
    local skips = lb.from { { skip = "x" } }
    assert.same({ { on_error = "x" } }, skips:select({ on_error = "skip" }):collect())
    assert.matches("the option, or the column 'skip' under another name", message(function()
      skips:select({ w = "skip || 'y'" }, { on_error = "skip" })
    end), 1, true)
    assert.matches("text has no option 'on_bad'", message(function() lb.text("x", { on_bad = "skip" }) end), 1, true)
  end)

  it("cuts what it tells between characters, and tells it in one line", function()
    local to = { to = support.path(".json") }
    local function check(f)
      local _, told = skipped(f)
      assert.truthy(told)
      for _, text in ipairs { told, (support.read(to.to):gsub('"raw":.*', "")) } do
        assert.truthy(text:find("é", 1, true), text)
        assert.is_nil(text:gsub("[\194-\223][\128-\191]", ""):gsub("…", ""):find "[\128-\255]", text)
        assert.is_nil(told:find("\n", 1, true))
      end
    end
    for lead = 0, 1 do
      local long = ("x"):rep(lead) .. ("é"):rep(3000)
      local values = lb.from { { s = long } }:select("s")
      check(function() return values:select({ n = "cast(s as integer)" }, { on_error = to }):count() end)
      check(function() return values:where("s > 5", { on_error = to }):count() end)
      check(function() return values:map(function() error(long, 0) end, { on_error = to }):count() end)
      check(function() return values:map(function() error { long } end, { on_error = to }):count() end)
      check(function()
        return values:map(function() error(setmetatable({}, { __tostring = function() return long end })) end, { on_error = to }):count()
      end)
      check(function() return values:map(function() return { [long] = error } end, { on_error = to }):count() end)
      local csv = support.file(long .. ",b\n1,2\n" .. long .. ",3\n", ".csv")
      check(function() return lb.csv(csv, { types = { [long] = "integer" }, on_bad = to }):count() end)
      local json = support.file(('{"%s":"%s"}\n'):format(long, long), ".json")
      check(function() return lb.json(json, { types = { [long] = "integer" }, on_bad = to }):count() end)
    end
    local function first(f) return (select(2, skipped(f)):match "%b() ?.*") end
    local lines = lb.from { "a\nb" }:map(function(s) return { s = s } end):select("s")
    assert.equal([[("cast(s as integer)": string 'a b' cannot be cast to integer)]], first(function()
      return lines:select({ n = "cast(s as integer)" }, { on_error = "skip" }):count()
    end))
    assert.equal("(one two three)", first(function()
      return lines:map(function() error("one\ntwo\n\n  three") end, { on_error = "skip" }):count()
    end))
    assert.equal("2 records skipped: where is not known: out of memory: so much", require("luabatch.skips").text {
      skipped = 2, skips_lacking = "out of memory: so much",
    })
  end)

  it("leaves records out before a limit above sorted rows is applied", function()
    local ds = lb.from { { v = 1 }, { v = 2 }, { v = 3 } }:order_by("v"):with_columns({ w = function(r)
      if r.v == 1 then error("one") end
      return r.v
    end }, { on_error = "skip" })
    assert.same({ { v = 2, w = 2 } }, ds:limit(1):collect())
    assert.same({ { v = 2 }, { v = 3 } }, ds:select("v"):collect())
  end)
end)
