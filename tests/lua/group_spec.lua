-- Groups of rows, against loops and against sqlite3.
local lb = require "luabatch"
local support = require "tests.lua.support"

describe("the order of aggregates", function()
  it("is that of a list of tables", function()
    local ds = lb.from { { k = 1, v = 2 }, { k = 1, v = 5 } }
    local function names(given) return ds:group_by("k"):agg(given):schema() end
    local function in_order(given)
      local list = {}
      for i, column in ipairs(names(given)) do list[i] = column.name end
      return table.concat(list, " ")
    end
    assert.equal("k z a c b", in_order { { z = lb.sum "v" }, { c = lb.count(), a = lb.max "v" }, b = lb.min "v" })
    assert.equal("k a b z", in_order { z = lb.sum "v", a = lb.max "v", b = lb.min "v" })
    assert.same({ k = 1, z = 7, n = 2 }, ds:group_by("k"):agg({ { z = lb.sum "v" }, { n = lb.count() } }):first())
    assert.error_matches(function() ds:agg { lb.count() } end, "agg: an aggregate needs a name, as in agg { n = lb.count")
    assert.error_matches(function() ds:agg { { n = lb.count() }, n = lb.count() } end, "the column 'n' comes twice")
    assert.error_matches(function() ds:agg { { n = "v" } } end, "bad argument 'n' to agg")
    assert.error_matches(function() ds:agg {} end, "agg: no aggregate is named")
  end)
end)

local function random_rows(n)
  return support.list(n, function(i)
    return {
      id = i, word = math.random(6) > 1 and support.word(2) or nil, kind = math.random(3),
      n = math.random(5) > 1 and math.random(-1000, 1000) or nil, x = math.random(4) > 1 and math.random(1000) / 8 or nil,
      flag = math.random(3) > 1 and math.random(2) == 1 or nil,
    }
  end)
end

-- Groups as lists of rows by a text of their key.
local function grouped(rows, ...)
  local groups = {}
  for _, row in ipairs(rows) do
    local parts = {}
    for i, name in ipairs { ... } do parts[i] = tostring(row[name]) end
    local key = table.concat(parts, "/")
    groups[key] = groups[key] or {}
    table.insert(groups[key], row)
  end
  return groups
end

local function values(rows, name)
  local list = {}
  for _, row in ipairs(rows) do
    if row[name] ~= nil then list[#list + 1] = row[name] end
  end
  return list
end

local function sum(list)
  local total = 0
  for _, value in ipairs(list) do total = total + value end
  return #list > 0 and total or nil
end

local function distinct(list)
  local seen, n = {}, 0
  for _, value in ipairs(list) do
    if not seen[value] then seen[value], n = true, n + 1 end
  end
  return n
end

describe("group_by (seed " .. support.seed .. ")", function()
  local rows = random_rows(2000)
  local ds = lb.from(rows)
  after_each(support.clean)

  it("counts", function()
    local wanted = grouped(rows, "word", "kind")
    local n = 0
    for _, row in ipairs(ds:group_by("word", "kind"):count():collect()) do
      n = n + 1
      assert.equal(#wanted[tostring(row.word) .. "/" .. row.kind], row.count)
    end
    for _ in pairs(wanted) do n = n - 1 end
    assert.equal(0, n)
  end)

  it("aggregates natively, the same for any number of threads", function()
    local groups = grouped(rows, "word")
    local before
    for threads = 1, 3 do
      support.with({ threads = threads }, function()
        local result = ds:group_by("word"):agg({
          rows = lb.count(), count = lb.count "n", total = lb.sum "n", mean = lb.avg "n", low = lb.min "n", high = lb.max "x",
          first = lb.first "id", last = lb.last "id", kinds = lb.count_distinct "kind", any = lb.bool_or "flag",
          all = lb.bool_and "flag", ids = lb.collect_list "id", best = lb.max_by("id", "n"), doubled = lb.sum "n * 2",
        }):collect()
        if before then assert.same(before, result) end
        before = result
      end)
    end
    for _, row in ipairs(before) do
      local group = groups[tostring(row.word)]
      local ns, xs, flags = values(group, "n"), values(group, "x"), values(group, "flag")
      table.sort(ns)
      table.sort(xs)
      assert.equal(#group, row.rows)
      assert.equal(#ns, row.count)
      assert.equal(sum(ns), row.total)
      assert.equal(sum(ns) and sum(ns) * 2, row.doubled)
      assert.equal(sum(ns) and sum(ns) / #ns, row.mean)
      assert.equal(ns[1], row.low)
      assert.equal(xs[#xs], row.high)
      assert.equal(group[1].id, row.first)
      assert.equal(group[#group].id, row.last)
      assert.equal(distinct(values(group, "kind")), row.kinds)
      assert.same(values(group, "id"), row.ids)
      local any, all = false, true
      for _, flag in ipairs(flags) do any, all = any or flag, all and flag end
      if #flags == 0 then any, all = nil, nil end
      assert.equal(any, row.any)
      assert.equal(all, row.all)
      local best
      for _, one in ipairs(group) do
        if one.n and (not best or one.n > best.n) then best = one end
      end
      assert.equal(best and best.id, row.best)
    end
  end)

  it("takes keys that hardly repeat, of integers to the edges of floats and strings with zeros", function()
    local keyed = support.list(3000, function(i)
      local n = math.random(40) == 1 and i - 1 or i
      return { n = n % 3 == 0 and 9007199254740992 + n - 1500 or -n, word = (n % 5 == 0 and "a\0" or "b") .. n, x = i / 8, v = i }
    end)
    local wanted, n_wanted = {}, 0
    for _, row in ipairs(keyed) do
      local key = row.n .. "/" .. row.word
      if not wanted[key] then wanted[key], n_wanted = { n = 0, x = 0, v = 0 }, n_wanted + 1 end
      local group = wanted[key]
      group.n, group.x, group.v = group.n + 1, group.x + row.x, group.v + row.v
    end
    local before
    for threads = 1, 2 do
      support.with({ threads = threads }, function()
        local result = lb.from(keyed):group_by("n", "word"):agg({ count = lb.count(), x = lb.sum "x", v = lb.sum "v" }):collect()
        if before then assert.same(before, result) end
        before = result
      end)
    end
    assert.equal(n_wanted, #before)
    for _, row in ipairs(before) do
      local group = wanted[row.n .. "/" .. row.word]
      assert.same({ group.n, group.x, group.v }, { row.count, row.x, row.v })
    end
  end)

  it("aggregates everything", function()
    assert.same({ { n = 2000, total = sum(values(rows, "n")) } },
      ds:agg({ n = lb.count(), total = lb.sum "n" }):collect())
    assert.same({ { n = 0 } }, ds:where("kind > 99"):agg({ n = lb.count(), total = lb.sum "n" }):collect())
  end)

  it("agrees with sqlite3", function()
    if not os.execute("command -v sqlite3 > /dev/null 2>&1") then
      pending("the program sqlite3 is not there")
      return
    end
    local csv, sql = support.path(".csv"), support.path(".out")
    ds:drop("flag"):save_csv(csv)
    local ours = support.path(".csv")
    ds:where("n is not null"):group_by("word", "kind")
      :agg({ c = lb.count(), s = lb.sum "n", lo = lb.min "n", d = lb.count_distinct "n" })
      :order_by("word", "kind"):save_csv(ours)
    local command = ("sqlite3 -csv -header :memory: '.import --csv %s t' "):format(csv)
      .. '"select nullif(word, \'\') as word, cast(kind as integer) as kind, count(*) as c, '
      .. "count(distinct cast(n as integer)) as d, min(cast(n as integer)) as lo, sum(cast(n as integer)) as s "
      .. "from t where n <> '' group by 1, 2 order by 1, 2\" > " .. sql
    assert(os.execute(command))
    assert.equal((support.read(sql):gsub("\r\n", "\n")), support.read(ours))
  end)

  it("stays inside of the numbers at their ends", function()
    local huge = lb.from({ { k = 1, v = -1.7e308 }, { k = 1, v = 1.7e308 } }):select("k", "v")
    assert.equal(0.0, huge:agg({ a = lb.median "v" }):first().a)
    assert.equal(0.0, huge:window({ partition_by = "k", a = lb.median "v" }):first().a)
    assert.near(-1.7e307, huge:agg({ a = lb.quantile("v", 0.45) }):first().a, 1e293)
    local small = lb.from({ { x = 1, y = 1e200 }, { x = 2, y = 2e200 }, { x = 3, y = 3e200 } }):select("x", "y")
    assert.equal(1.0, small:agg({ a = lb.corr("x", "x") }):first().a)
    assert.equal(-1.0, small:with_columns({ z = "-x" }):agg({ a = lb.corr("x", "z") }):first().a)
    local wide = small:agg({ a = lb.corr("x", "y") }):first().a
    assert.is_true(wide ~= wide) -- squares beyond a double
  end)

  it("describes", function()
    local list = lb.from({ { a = 1, b = "x" }, { a = 3 }, { a = 8, b = "y" } }):describe():collect()
    assert.same({
      { column = "a", type = "integer", count = 3, nulls = 0, min = 1, max = 8, mean = 4.0 },
      { column = "b", type = "string", count = 2, nulls = 1, min = "x", max = "y" },
    }, list)
  end)

  it("refuses what is not there", function()
    local function message(f) return tostring(select(2, pcall(f))) end
    assert.matches("group_by: there is no column 'wrd'; did you mean 'word'", message(function() ds:group_by("wrd") end))
    assert.matches("agg: .*totl", message(function() ds:group_by("word"):agg({ a = lb.sum "totl" }) end))
    assert.matches("aggregate such as lb.count%(%) expected", message(function() ds:group_by("word"):agg({ a = 1 }) end))
    assert.matches("no function 'smu'; did you mean 'sum'", message(function() return lb.smu end))
  end)
end)
