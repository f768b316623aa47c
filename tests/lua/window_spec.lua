-- Windows of rows, against a loop over every frame and against sqlite3.
local lb = require "luabatch"
local compat = require "luabatch.compat"
local core = require "luabatch.core"
local display = require "luabatch.display"
local support = require "tests.lua.support"
local type, tostring, pcall, select, tonumber = type, tostring, pcall, select, tonumber

local huge = math.huge

-- A column with duplicates, nils and, if wanted, mixed types.
local function mixed()
  local kind = math.random(6)
  if kind == 1 then return nil end
  if kind == 2 then return "s" .. math.random(3) end
  if kind == 3 then return math.random(2) == 1 end
  if kind == 4 then return math.random(4) + 0.0 end
  return math.random(4)
end

local function random_rows(n, has_mixed)
  return support.list(n, function(i)
    local x = math.random(6)
    return {
      id = i, g = has_mixed and mixed() or math.random(4), h = math.random(3), t = math.random(20) > 1 and math.random(30) or nil,
      o = has_mixed and mixed() or math.random(5), n = math.random(5) > 1 and math.random(-50, 50) or nil,
      x = x > 1 and (x == 2 and math.random(-3, 3) or math.random(-4000, 4000) / 16) or nil,
      y = math.random(9) > 1 and math.random(100) / 4 or nil, b = math.random(4) > 1 and math.random(3) > 1 or nil,
      w = math.random(5) > 1 and support.word(2) or nil,
    }
  end)
end

local columns = { "id", "g", "h", "t", "o", "n", "x", "y", "b", "w" }

local function compare(a, b, keys)
  for _, key in ipairs(keys) do
    local order = core.compare(a[key.name], b[key.name])
    if key.desc then order = -order end
    if order ~= 0 then return order end
  end
  return 0
end

-- Functions of a list of the values of a frame, in order, n of them, nils among them.
local function present(list, n)
  local values = {}
  for i = 1, n do
    if list[i] ~= nil then values[#values + 1] = list[i] end
  end
  return values
end

local function sum(values)
  local total = 0
  for _, value in ipairs(values) do total = total + value end
  return #values > 0 and total or nil
end

local function best(values, sign)
  local found
  for _, value in ipairs(values) do
    local order = found ~= nil and core.compare(value, found) * sign or 1
    if order > 0 or order == 0 and math.type(value) == "integer" then found = value end
  end
  return found
end

local function quantile(values, p)
  if #values == 0 then return nil end
  local sorted = support.sorted(values)
  local place = (#sorted - 1) * p
  local below = math.floor(place)
  local low, high = sorted[below + 1], sorted[below + 2] or sorted[below + 1]
  return low + (high - low) * (place - below) + 0.0
end

local function variance(values)
  if #values < 2 then return nil end
  local mean, squares = sum(values) / #values, 0
  for _, value in ipairs(values) do squares = squares + (value - mean) ^ 2 end
  return squares / (#values - 1)
end

local function counts(values)
  local sorted, found = support.sorted(values), {}
  for _, value in ipairs(sorted) do
    local last = found[#found]
    if last and core.compare(last.value, value) == 0 then
      last.n = last.n + 1
      if math.type(value) == "integer" then last.value = value end
    else
      found[#found + 1] = { value = value, n = 1 }
    end
  end
  return found
end

local functions = {
  { "count", function() return lb.count() end, nil, function(_, n) return n end },
  { "count_x", function() return lb.count "x" end, "x", function(l, n) return #present(l, n) end },
  { "sum", function() return lb.sum "n" end, "n", function(l, n) return sum(present(l, n)) end },
  { "sum_x", function() return lb.sum "x" end, "x", function(l, n) return sum(present(l, n)) end },
  { "sum_sql", function() return lb.sum "n * 2" end, "n", function(l, n) local s = sum(present(l, n)) return s and 2 * s end },
  { "avg", function() return lb.avg "x" end, "x", function(l, n)
    local v = present(l, n)
    return #v > 0 and sum(v) / #v or nil
  end },
  { "min", function() return lb.min "x" end, "x", function(l, n) return best(present(l, n), -1) end },
  { "max", function() return lb.max "n" end, "n", function(l, n) return best(present(l, n), 1) end },
  { "max_w", function() return lb.max "w" end, "w", function(l, n) return best(present(l, n), 1) end },
  { "distinct", function() return lb.count_distinct "x" end, "x", function(l, n) return #counts(present(l, n)) end },
  { "set", function() return lb.collect_set "n" end, "n", function(l, n)
    local found = {}
    for i, one in ipairs(counts(present(l, n))) do found[i] = one.value end
    return #found > 0 and found or nil
  end },
  { "list", function() return lb.collect_list "w" end, "w", function(l, n)
    local v = present(l, n)
    return #v > 0 and v or nil
  end },
  { "median", function() return lb.median "x" end, "x", function(l, n) return quantile(present(l, n), 0.5) end },
  { "q", function() return lb.quantile("n", 0.3) end, "n", function(l, n) return quantile(present(l, n), 0.3) end },
  { "mode", function() return lb.mode "n" end, "n", function(l, n)
    local top
    for _, one in ipairs(counts(present(l, n))) do
      if not top or one.n > top.n then top = one end
    end
    return top and top.value
  end },
  { "variance", function() return lb.variance "y" end, "y", function(l, n) return variance(present(l, n)) end },
  { "stddev", function() return lb.stddev "y" end, "y", function(l, n)
    local v = variance(present(l, n))
    return v and v ^ 0.5
  end },
  { "all", function() return lb.bool_and "b" end, "b", function(l, n)
    local v, all = present(l, n), true
    for _, one in ipairs(v) do all = all and one end
    if #v > 0 then return all end
  end },
  { "first", function() return lb.first "w" end, "w", function(l) return l[1] end },
  { "last", function() return lb.last "x" end, "x", function(l, n) return l[n] end },
  { "third", function() return lb.nth_value("n", 3) end, "n", function(l, n) if n >= 3 then return l[3] end end },
  { "own", function()
    return lb.aggregate { init = function() return "" end, step = function(s, v) return s .. tostring(v) .. "," end,
      merge = function(a, c) return a .. c end } "n"
  end, "n", function(l, n)
    local text = ""
    for i = 1, n do text = text .. tostring(l[i]) .. "," end
    return text
  end },
  { "over", function()
    return lb.over(function(frame)
      local s, m = 0, #frame
      for row in frame do s = s + (row.n or 0) end
      return s * 1000 + m + (m > 0 and frame[m].id / 4096 or 0)
    end)
  end, "self", function(l, n)
    local s = 0
    for i = 1, n do s = s + (l[i].n or 0) end
    return s * 1000 + n + (n > 0 and l[n].id / 4096 or 0)
  end },
}

-- What each row of a sorted partition should get.
local function expect(partition, keys, frame)
  local n = #partition
  local first_peer, last_peer = {}, {}
  for i = 1, n do
    first_peer[i] = i > 1 and compare(partition[i - 1], partition[i], keys) == 0 and first_peer[i - 1] or i
  end
  for i = n, 1, -1 do
    last_peer[i] = i < n and compare(partition[i], partition[i + 1], keys) == 0 and last_peer[i + 1] or i
  end
  local dense = 0
  for i, row in ipairs(partition) do
    if first_peer[i] == i then dense = dense + 1 end
    local inside
    if not frame then
      local last = #keys == 0 and n or last_peer[i]
      inside = function(j) return j <= last end
    elseif frame.rows then
      inside = function(j) return j - i >= frame.rows[1] and j - i <= frame.rows[2] end
    else
      local name, sign = keys[1].name, keys[1].desc and -1 or 1
      inside = function(j)
        local a, b = partition[j][name], row[name]
        if b == nil or a == nil then
          return (a == nil and b == nil) or j < i and frame.range[1] == -huge or j > i and frame.range[2] == huge
        end
        return (a - b) * sign >= frame.range[1] and (a - b) * sign <= frame.range[2]
      end
    end
    local want = {}
    for _, fn in ipairs(functions) do
      local list, m = {}, 0
      for j = 1, n do
        if inside(j) then
          m = m + 1
          list[m] = fn[3] == "self" and partition[j] or fn[3] and partition[j][fn[3]]
        end
      end
      want[fn[1]] = fn[4](list, m)
    end
    want.row_number, want.lag = i, i > 2 and partition[i - 2].n
    if i <= 2 then want.lag = -1 end
    want.lead = i < n and partition[i + 1].w or nil
    if #keys > 0 then
      want.rank, want.dense_rank = first_peer[i], dense
      want.percent_rank, want.cume_dist = n > 1 and (first_peer[i] - 1) / (n - 1) or 0.0, last_peer[i] / n
      local small, large = math.floor(n / 4), n % 4
      want.ntile = i <= large * (small + 1) and math.floor((i - 1) / (small + 1)) + 1
        or large + math.floor((i - 1 - large * (small + 1)) / small) + 1
    end
    row.want = want
  end
end

local function equal(a, b)
  local kind = support.has_integers and math.type or type
  if kind(a) == kind(b) and (kind(a) == "float" or kind(a) == "number") then
    return a == b or math.abs(a - b) <= 1e-9 * math.max(1, math.abs(a), math.abs(b))
  end
  if type(a) == "table" and type(b) == "table" then
    if #a ~= #b then return false end
    for i in ipairs(a) do
      if not equal(a[i], b[i]) then return false end
    end
    return true
  end
  return math.type(a) == math.type(b) and a == b
end

local function text_of(value)
  return type(value) == "table" and "{" .. table.concat(value, ",") .. "}" or tostring(value)
end

-- Runs a window over rows and compares each result.
local function check_window(rows, options, chosen)
  local keys = options.order_by or {}
  local names, specs = {}, {}
  for _, key in ipairs(keys) do
    names[#names + 1] = key.desc and lb.desc(key.name) or key.name
  end
  specs.partition_by, specs.order_by = options.partition_by, #names > 0 and names or nil
  specs.rows, specs.range = options.rows, options.range
  for _, fn in ipairs(functions) do
    if not chosen or chosen[fn[1]] then specs[fn[1]] = fn[2]() end
  end
  specs.row_number = lb.row_number()
  if #keys > 0 then
    specs.lag, specs.lead = lb.lag("n", 2, -1), lb.lead "w"
    specs.rank, specs.dense_rank, specs.percent_rank = lb.rank(), lb.dense_rank(), lb.percent_rank()
    specs.cume_dist, specs.ntile = not chosen and lb.cume_dist() or nil, lb.ntile(4)
  end
  -- The partitions, sorted; stable by id.
  local sorted, partition_keys = { table.unpack(rows) }, {}
  for i, name in ipairs(options.partition_by or {}) do partition_keys[i] = { name = name } end
  table.sort(sorted, function(a, b)
    local order = compare(a, b, partition_keys)
    if order == 0 then order = compare(a, b, keys) end
    if order == 0 then order = a.id - b.id end
    return order < 0
  end)
  local partition = {}
  for i, row in ipairs(sorted) do
    partition[#partition + 1] = row
    if i == #sorted or compare(row, sorted[i + 1], partition_keys) ~= 0 then
      expect(partition, keys, (options.rows or options.range) and options)
      partition = {}
    end
  end
  local result = lb.from(rows):map(function(row) row.want = nil return row end):select(table.unpack(columns)):window(specs)
  local seen = 0
  for row in result:iterate() do
    seen = seen + 1
    local want = rows[row.id].want
    for name in pairs(specs) do
      if want[name] ~= nil or row[name] ~= nil then
        if name ~= "partition_by" and name ~= "order_by" and name ~= "rows" and name ~= "range" and not equal(want[name], row[name]) then
          error(("row %d, %s: %s expected, got %s (seed %d)"):format(row.id, name, text_of(want[name]), text_of(row[name]), support.seed))
        end
      end
    end
    for _, name in ipairs(columns) do assert(core.compare(rows[row.id][name], row[name]) == 0, name) end
  end
  assert.equal(#rows, seen)
  for _, row in ipairs(rows) do row.want = nil end
end

describe("window (seed " .. support.seed .. ")", function()
  teardown(support.clean)

  it("agrees with a loop over every frame", function()
    local frames = {
      {}, { rows = { -2, 0 } }, { rows = { -3, 2 } }, { rows = { 1, 4 } }, { rows = { -5, -2 } }, { rows = { -huge, 0 } },
      { rows = { 0, huge } }, { rows = { -huge, huge } }, { rows = { -huge, -2 } }, { rows = { 2, huge } },
    }
    for i, frame in ipairs(frames) do
      frame.partition_by = ({ { "g" }, { "g", "h" }, nil })[math.random(3)]
      frame.order_by = { { name = math.random(2) == 1 and "o" or "n", desc = math.random(2) == 1 }, { name = "t", desc = i % 2 == 0 } }
      check_window(random_rows(math.random(0, 150), true), frame)
    end
    check_window(random_rows(60, true), { partition_by = { "g" } })
    check_window(random_rows(60, true), {})
    check_window(random_rows(0), { partition_by = { "g" } })
  end)

  -- In the debug build pieces are a few rows.
  it("agrees with a loop over every frame in pieces of a partition", function()
    local chosen = {}
    for name in ("count count_x sum sum_x sum_sql avg min max max_w variance stddev all first last third own"):gmatch("%S+") do
      chosen[name] = true
    end
    for _, frame in ipairs { {}, { rows = { -2, 0 } }, { rows = { -9, 4 } }, { rows = { 3, 5 } }, { rows = { -7, -3 } },
      { rows = { -huge, 0 } }, { rows = { -huge, 3 } }, { rows = { -huge, -4 } }, { range = { -3, 2 } }, { range = { -huge, 1 } } } do
      local names = math.random(2) == 1 and { { name = "t" } } or { { name = "t", desc = true }, { name = "o" } }
      frame.order_by = frame.range and { { name = "t", desc = math.random(2) == 1 } } or names
      frame.partition_by = math.random(2) == 1 and { "h" } or nil
      check_window(random_rows(support.size(math.random(100, 250), 60)), frame, chosen)
    end
    for name in ("median q mode distinct set list over"):gmatch("%S+") do chosen[name] = true end
    for _, frame in ipairs { { rows = { -2, 0 } }, { rows = { -9, 4 } }, { rows = { 3, 5 } }, { range = { -2, 0 } } } do
      frame.order_by = { { name = "t" } }
      check_window(random_rows(support.size(200, 60)), frame, chosen)
    end
  end)

  it("agrees with a loop over ranges", function()
    for _, range in ipairs { { -3, 0 }, { -2.5, 4 }, { 1, 6 }, { -huge, 2 }, { -4, huge }, { -9, -3 } } do
      for _, desc in ipairs { false, true } do
        check_window(random_rows(math.random(100)), {
          partition_by = math.random(2) == 1 and { "g" } or nil, range = range, order_by = { { name = "t", desc = desc } },
        })
      end
    end
  end)

  it("gives the same for any threads and memory, in pieces too", function()
    local path = support.path(".csv")
    local file = assert(io.open(path, "w"))
    file:write("id,user,ts,amount\n")
    local n = support.size(60000)
    for i = 1, n do
      -- One partition has two thirds of the rows, more than one piece.
      local user = math.random(3) > 1 and 7 or math.random(2000)
      file:write(("%d,%d,%d,%s\n"):format(i, user, math.random(100000), math.random(7) > 1 and math.random(100000) / 100 or ""))
    end
    file:close()
    local function run(settings)
      local out = support.path(".csv")
      support.with(settings, function()
        lb.csv(path):window({
          partition_by = "user", order_by = "ts", rows = { -20, 3 }, s = lb.sum "amount", m = lb.max "amount",
          med = lb.median "amount", v = lb.stddev "amount", rn = lb.row_number(), p = lb.percent_rank(), b = lb.lead("amount", 3, 0),
          k = lb.ntile(10), f = lb.first "id",
        }):save_csv(out)
      end)
      return support.read(out)
    end
    local want = run { threads = 1 }
    assert.is_true(want == run { threads = 3 })
    assert.is_true(want == run { threads = 2, memory = 32 * 1024 ^ 2 })
    local running = function(settings)
      return support.with(settings, function()
        return lb.csv(path):window({
          partition_by = "user", order_by = { "ts", "id" }, rows = { -huge, 0 }, s = lb.sum "amount", m = lb.min "amount",
          v = lb.variance "amount", f = lb.first "amount", d = lb.dense_rank(),
        }):order_by("id"):collect()
      end)
    end
    local a, b = running { threads = 1 }, running { threads = 2, memory = 32 * 1024 ^ 2 }
    assert.equal(n, #a)
    for i, row in ipairs(a) do
      for name, value in pairs(row) do
        if b[i][name] ~= value then error(("row %d, %s (seed %d)"):format(i, name, support.seed)) end
      end
    end
  end)

  it("loses nothing when large values leave the frame", function()
    local rows = {}
    for i, x in ipairs { 1.5, 1e300, 0.25, -1e300, 0.5, 2.0, 0 / 0, 1.0, huge, 3.0, 4.0, 5e-324 } do rows[i] = { i = i, x = x } end
    local got = lb.from(rows):select("i", "x"):window({ order_by = "i", rows = { -1, 0 }, s = lb.sum "x", m = lb.max "x" }):collect()
    local sums = { 1.5, 1e300, 1e300, -1e300, -1e300, 2.5, nil, nil, huge, huge, 7.0, 4.0 }
    for i, want in pairs(sums) do assert.equal(want, got[i].s) end
    assert.is_true(got[7].s ~= got[7].s and got[8].s ~= got[8].s)
    assert.equal(2.0, got[7].m)
    assert.equal(1.0, got[8].m)
  end)

  it("keeps only the first rows of each partition", function()
    for _ = 1, support.size(6, 2) do
      local rows = random_rows(300, true)
      local ds = lb.from(rows):select(table.unpack(columns))
      local k = math.random(5)
      local options = { partition_by = { "g" }, order_by = { lb.desc "o", "n" }, rn = lb.row_number(), rk = lb.rank() }
      for _, condition in ipairs { "rn <= %d", "%d >= rk", "rn < %d and id % 2 = 0", "rk = %d", "rk < %d and rn <= %d" } do
        condition = condition:gsub("%%d", tostring(k))
        local all = ds:window(options):cache()
        all:count()
        local want, got = all:where(condition):collect(), ds:window(options):where(condition):collect()
        assert.same(want, got)
        all:uncache()
      end
      assert.matches("top=" .. k, display.plan(ds:window(options):where("rn <= " .. k)._node, "optimised"))
    end
  end)

  it("ranges over times", function()
    local rows = {
      { d = "2024-01-01", x = 1 }, { d = "2024-01-03", x = 2 }, { d = "2024-01-08T12:00:00", x = 4 }, { d = "2024-01-10", x = 8 },
    }
    local got = lb.from(rows):select("d", "x"):window({ order_by = "d", range = { -7 * 86400, 0 }, s = lb.sum "x" }):select("s"):collect()
    assert.same({ { s = 1 }, { s = 3 }, { s = 6 }, { s = 14 } }, got)
    local ok, message = pcall(function()
      return lb.from({ { d = "soon", x = 1 } }):select("d", "x"):window({ order_by = "d", range = { -1, 0 }, s = lb.sum "x" }):collect()
    end)
    assert.is_false(ok)
    assert.matches("a range needs numbers or times such as 2024%-01%-31 in the column of order_by, not soon", tostring(message))
  end)

  it("agrees with sqlite3", function()
    if not os.execute("command -v sqlite3 > /dev/null 2>&1") then
      pending("the program sqlite3 is not there")
      return
    end
    local csv = support.path(".csv")
    lb.from(random_rows(400)):select("id", "g", "t", "n", "y"):save_csv(csv)
    local queries = {
      { "rows between 3 preceding and 1 following", { rows = { -3, 1 } } },
      { "range between 4 preceding and current row", { range = { -4, 0 } } },
      { "range between unbounded preceding and 2 following", { range = { -huge, 2 } } },
      { "", {} },
    }
    for _, query in ipairs(queries) do
      local order = query[2].rows and "t, id" or "t"
      local w = ("over (partition by g order by %s %s)"):format(order, query[1])
      local sql = "select id, sum(n) W, count(*) W, min(y) W, coalesce(max(n) W, 'none'), "
        .. "printf('%.9f', total(y) W), rank() over (partition by g order by t), "
        .. "ntile(3) over (partition by g order by t, id), "
        .. "coalesce(lag(n, 2, 99) over (partition by g order by t, id), 'nil') from u order by id"
      sql = sql:gsub("%f[%w]W%f[%W]", w)
      local out = support.path(".out")
      local create = "create table u as select cast(id as integer) id, cast(g as integer) g, "
        .. "cast(nullif(t, '''') as integer) t, "
        .. "cast(nullif(n, '''') as integer) n, cast(nullif(y, '''') as real) y from t"
      assert(os.execute(("sqlite3 -csv :memory: '.import --csv %s t' '%s' \"%s\" > %s"):format(
        csv, (create:gsub("''''", "'\\'''\\''")), sql, out)))
      local options = query[2]
      options.partition_by, options.order_by = "g", options.rows and { "t", "id" } or "t"
      options.s, options.c, options.lo, options.hi, options.total =
        lb.sum "n", lb.count(), lb.min "y", lb.max "n", lb.sum "y"
      local list = lb.csv(csv):window(options):window({ partition_by = "g", order_by = "t", r = lb.rank() })
        :window({ partition_by = "g", order_by = { "t", "id" }, k = lb.ntile(3), p = lb.lag("n", 2, 99) }):order_by("id"):collect()
      local i = 0
      for line in support.read(out):gmatch("[^\r\n]+") do
        i = i + 1
        local row = list[i]
        local lo = row.lo and ("%.15g"):format(row.lo) or ""
        if row.lo and not lo:find("%.") then lo = lo .. ".0" end
        local ours = ("%d,%s,%d,%s,%s,%.9f,%d,%d,%s"):format(row.id, tostring(row.s or ""), row.c, lo,
          tostring(row.hi or "none"), row.total or 0.0, row.r, row.k, tostring(row.p == nil and "nil" or row.p))
        assert.equal(line, ours)
      end
      assert.equal(400, i)
    end
  end)

  it("replaces columns and reads only what it needs", function()
    local rows = { { a = 1, b = 10, c = "x" }, { a = 2, b = 20, c = "y" } }
    local ds = lb.from(rows):select("a", "b", "c"):window({ order_by = "a", b = lb.sum "b", s = lb.lag("c", 1, "none") })
    assert.same({ { a = 1, b = 10, c = "x", s = "none" }, { a = 2, b = 30, c = "y", s = "x" } }, ds:collect())
    local csv = support.file("a,b,c\n1,10,x\n2,20,y\n", ".csv")
    local plan = display.plan(lb.csv(csv):window({ order_by = "a", s = lb.sum "b" }):select("s")._node, "optimised")
    assert.matches("reads 2 of 3 columns: a, b", plan)
    assert.matches("window ordered by a of s = sum%(b%)", plan)
    assert.same({ { s = 10 }, { s = 30 } }, lb.csv(csv):window({ order_by = "a", s = lb.sum "b" }):select("s"):collect())
    assert.same({ { a = 1 }, { a = 2 } }, lb.csv(csv):window({ order_by = "a", s = lb.sum "b" }):select("a"):collect())
  end)

  it("refuses what makes no sense", function()
    local ds = lb.from({ { a = 1, word = "x" } }):select("a", "word")
    local function refused(pattern, options)
      local ok, message = pcall(function() return ds:window(options) end)
      assert.is_false(ok)
      assert.matches(pattern, tostring(message))
    end
    refused("window: there is no column 'wrd'; did you mean 'word'", { partition_by = "wrd", n = lb.count() })
    refused("window: there is no column 'b'", { order_by = "b", n = lb.count() })
    refused("rank of 'r' needs order_by", { r = lb.rank() })
    refused("a frame with rows needs order_by", { rows = { -1, 0 }, n = lb.count() })
    refused("rows or range, not both", { order_by = "a", rows = { -1, 0 }, range = { -1, 0 }, n = lb.count() })
    refused("range needs one column of order_by", { order_by = { "a", "word" }, range = { -1, 0 }, n = lb.count() })
    refused("ends before it begins", { order_by = "a", rows = { 1, 0 }, n = lb.count() })
    refused("rows%[1%] must be an integer", { order_by = "a", rows = { -1.5, 0 }, n = lb.count() })
    refused("needs two numbers", { order_by = "a", rows = { -1 }, n = lb.count() })
    refused("no option 'order_bye'; did you mean 'order_by'", { order_bye = "a", n = lb.count() })
    refused("window function such as lb.row_number%(%)", { order_by = "a", n = 1 })
    refused("no column is named", { order_by = "a" })
    refused("did you mean 'word'", { s = lb.sum "wrod" })
    assert.matches("integer of at least 1 expected", tostring(select(2, pcall(lb.ntile, 0))))
    local ok, message = pcall(function() return ds:window({ s = lb.sum "word" }):collect() end)
    assert.is_false(ok)
    assert.matches("s: a string where a number is wanted", tostring(message))
    -- With the record, the first of the input.
    local path = support.file('{"a":3,"v":1}\n{"a":2,"v":"x"}\n{"a":1,"v":"y"}\n', ".json")
    for _, options in ipairs { {}, { order_by = "a" }, { partition_by = "a" }, { order_by = "a", rows = { -1, 0 } } } do
      options.s = lb.avg "v"
      ok, message = pcall(function() return lb.json(path):window(options):collect() end)
      assert.is_false(ok)
      assert.matches("^s: a string where a number is wanted\n  record .-%.json:2 %(byte 14%): ", tostring(message))
    end
    -- What is in no frame ends no run.
    local rows = lb.json(path):window({ order_by = "a", rows = { 2, 2 }, s = lb.sum "v" }):collect()
    assert.same({ 1, nil, nil }, { rows[1].s, rows[2].s, rows[3].s })
    ok, message = pcall(function()
      return lb.from({ { a = support.maxinteger }, { a = 1 } }):select("a"):window({ s = lb.sum "a" }):collect()
    end)
    assert.is_false(ok)
    assert.matches("integer overflow", tostring(message))
    assert.equal(7, tonumber("7"))
  end)

  it("compares integers and floats beyond 2^53 exactly in a range", function()
    local odd = compat.number "9007199254740993"
    local rows = lb.from({ { x = support.float(2 ^ 53) }, { x = 2.0 ^ 53 + 2 }, { x = odd } }):window {
      order_by = "x", range = { -1, 1 }, c = lb.collect_list "x",
    }:collect()
    local a, b, c = 2.0 ^ 53, odd, 2.0 ^ 53 + 2
    assert.same({ { x = a, c = { a, b } }, { x = b, c = { a, b, c } }, { x = c, c = { b, c } } }, rows)
  end)

  it("refuses a range over times whose text is in another order", function()
    local function run(...)
      local list = {}
      for i, x in ipairs { ... } do list[i] = { i = i, x = x } end
      return lb.from(list):window { order_by = "x", range = { -60, 60 }, c = lb.count() }:collect()
    end
    local ok, problem = pcall(run, "2023-12-31T23:30:00Z", "2024-01-01", "2024-01-01T00:30:00+01:00")
    assert.is_false(ok)
    assert.matches("'2024-01-01' and '2024-01-01T00:30:00+01:00' are not in the order of time", tostring(problem), 1, true)
    assert.equal(3, #run("2024-01-01T00:30:00+01:00", "2024-01-01T00:30:20+01:00", "2024-01-02T00:30:00+01:00"))
  end)

  it("computes what may fail, though nobody reads it, of what it reads", function()
    local ds = lb.csv(support.file("k,x,y\n1,2,3\n1,5,6\n", ".csv"))
    for _, make in ipairs {
      function(f) return lb.over(function(frame) return f(frame[1].x) end) end,
      function(f) return lb.count(function(r) return f(r.x) end) end,
    } do
      local function run(f) return ds:window({ order_by = "y", n = lb.row_number(), s = make(f) }):select("n"):collect() end
      assert.same({ { n = 1 }, { n = 2 } }, run(function(x) return x + 1 end))
      local ok, problem = pcall(run, function(x) return x.y.z end)
      assert.is_false(ok)
      assert.matches("attempt to index", tostring(problem))
    end
    assert.same({ { x = 2 }, { x = 5 } }, ds:window({ order_by = "y", n = lb.row_number(), s = lb.max "k" }):select("x"):collect())
  end)

  it("gives long partitions in pieces, also of rows of middling length", function()
    local n, text = support.size(160000, 2000), ("x"):rep(800)
    local rows = lb.range(1, n):map(function(i) return { g = i % 8, k = i, s = text .. i } end):select("g", "k", "s")
    support.with({ threads = 8, memory = 8 * 2 ^ 20 }, function()
      local total = rows:window({ partition_by = "g", order_by = "k", p = lb.lag("s", 3) }):map(function(r)
        return r.p and tonumber(r.p:sub(801)) or 0
      end):sum()
      local m = n - 24 -- the last 24 are behind nobody
      assert.equal(m * (m + 1) / 2, total)
    end)
  end)
end)
