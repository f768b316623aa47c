-- The user's own aggregates, against loops.
local lb = require "luabatch"
local support = require "tests.lua.support"
-- What functions that travel read: not the globals that busted gives a spec.
local select, tostring, table, ipairs, error, print = select, tostring, table, ipairs, error, print

local function random_rows(n)
  return support.list(n, function(i)
    return {
      id = i, word = math.random(6) > 1 and support.word(2) or nil, kind = math.random(3),
      n = math.random(5) > 1 and math.random(-1000, 1000) or nil, x = math.random(4) > 1 and math.random(1000) / 8 or nil,
    }
  end)
end

-- Lists of rows by key, in order of the input; nil is the key "nil".
local function grouped(rows, name)
  local groups = {}
  for _, row in ipairs(rows) do
    local key = tostring(row[name])
    groups[key] = groups[key] or {}
    table.insert(groups[key], row)
  end
  return groups
end

local function append(a, b)
  for _, value in ipairs(b) do a[#a + 1] = value end
  return a
end

-- Associative, not commutative.
local ids = lb.aggregate {
  init = function() return {} end,
  step = function(list, id) list[#list + 1] = id return list end,
  merge = append,
}
local text = lb.aggregate {
  init = function() return "" end,
  step = function(s, row) return s .. row.id .. tostring(row.n) .. "," end,
  merge = function(a, b) return a .. b end,
  finish = function(s) return "<" .. s .. ">" end,
}
local mean = lb.aggregate {
  init = function() return { sum = 0, n = 0 } end,
  step = function(state, value)
    if value then state.sum, state.n = state.sum + value, state.n + 1 end
  end,
  merge = function(a, b) a.sum, a.n = a.sum + b.sum, a.n + b.n end,
  finish = function(state) return state.n > 0 and state.sum / state.n or nil end,
  commutative = true,
}

local function message(f, ...) return tostring(select(2, pcall(f, ...))) end

describe("lb.aggregate (seed " .. support.seed .. ")", function()
  local rows = random_rows(3000)
  local path = support.file("", ".csv")
  lb.from(rows):save_csv(path, { mode = "overwrite" })
  teardown(support.clean)

  local function check(result, key)
    local groups = grouped(rows, key)
    for _, row in ipairs(result) do
      local group = groups[tostring(row[key])]
      groups[tostring(row[key])] = nil
      local list, s, sum, n, nils = {}, "", 0, 0, 0
      for i, one in ipairs(group) do
        list[i] = one.id
        s = s .. one.id .. tostring(one.n) .. ","
        if one.n then sum, n = sum + one.n, n + 1 else nils = nils + 1 end
      end
      assert.same(list, row.ids)
      assert.equal("<" .. s .. ">", row.text)
      assert.equal(n > 0 and sum / n or nil, row.mean)
      assert.equal(n > 0 and (2 * sum + n) / n or nil, row.twice)
      assert.equal(n > 0 and sum / n or nil, row.by_function)
      assert.equal(#group, row.rows)
      assert.equal(n > 0 and sum or nil, row.total)
    end
    assert.is_nil(next(groups))
  end

  for _, key in ipairs { "word", "id" } do
    it("is a loop over each group of " .. key .. ", for any threads and memory", function()
      local before
      for _, settings in ipairs { { threads = 1 }, { threads = 3 }, { threads = 2, memory = 8 * 1024 ^ 2 } } do
        support.with(settings, function()
          local result = lb.csv(path):group_by(key):agg({
            ids = ids "id", text = text, mean = mean "n", twice = mean "n * 2 + 1", rows = lb.count(), total = lb.sum "n",
            by_function = mean(function(row) return row.n end),
          }):collect()
          if before then assert.same(before, result) end
          before = result
        end)
      end
      check(before, key)
    end)
  end

  it("sees the rows in order where 1 and 1.0 are one key, and nil or long text is among them", function()
    local list = support.list(3000, function(i)
      local keys = { 1, 1.0, 2, 2.0, "short", ("long"):rep(9), nil, true }
      return { id = i, k = keys[math.random(8)], j = math.random(2) == 1 and 1 or 1.0 }
    end)
    local before
    for _, settings in ipairs { { threads = 1 }, { threads = 3 }, { threads = 2, memory = 8 * 1024 ^ 2 } } do
      support.with(settings, function()
        for _, keys in ipairs { { "k" }, { "k", "j" }, { "j" } } do
          local ds = lb.from(list):group_by(keys):agg({ ids = ids "id", native = lb.collect_list "id", n = lb.count() })
          for _, row in ipairs(ds:collect()) do
            assert.same(row.native, row.ids)
            assert.equal(#row.ids, row.n)
          end
        end
        local result = lb.from(list):group_by("k"):agg({ ids = ids "id" }):collect()
        if before then assert.same(before, result) end
        before = result
      end)
    end
  end)

  it("merges a heavy key in order, however it is cut", function()
    local list = support.list(support.size(8000, 2000), function(i)
      return { id = i, k = math.random(10) > 1 and "heavy" or "k" .. math.random(500) }
    end)
    for _, settings in ipairs { { threads = 1 }, { threads = 3 }, { threads = 2, memory = 8 * 1024 ^ 2 } } do
      support.with(settings, function()
        for _, row in ipairs(lb.from(list):group_by("k"):agg({ ids = ids "id", native = lb.collect_list "id" }):collect()) do
          assert.same(row.native, row.ids)
        end
      end)
    end
  end)

  it("takes several columns, nils among them", function()
    local pairs_of = lb.aggregate {
      init = function() return {} end,
      step = function(list, ...)
        list[#list + 1] = select("#", ...) .. ":" .. tostring(select(1, ...)) .. "/" .. tostring(select(3, ...))
      end,
      merge = append,
    }
    local row = lb.from({ { a = 1, b = "x" }, { b = "y" } }):agg({ v = pairs_of("a", "b", "upper(b)") }):first()
    assert.same({ "3:1/X", "3:nil/Y" }, row.v)
  end)

  it("may keep the rows that it gets", function()
    local keep = lb.aggregate { init = function() return {} end, step = function(l, row) l[#l + 1] = row end, merge = append }
    assert.same({ { a = 1 }, { a = 2 }, { b = "x" } },
      lb.from({ { a = 1 }, { a = 2 }, { b = "x" } }):agg({ v = keep }):first().v)
  end)

  it("has states of any value", function()
    local function last(initial)
      return lb.aggregate {
        init = function() return initial end, step = function(_, v) return v end, merge = function(_, b) return b end,
      } "v"
    end
    for _, value in ipairs { true, 7, 2.5, "text", { 1, { a = "b" } }, { deep = { deep = { 1 } } } } do
      assert.same(value, lb.from({ { v = 1 }, { v = value } }):agg({ r = last(false) }):first().r)
    end
    assert.same({ { r = nil } }, lb.from({ { v = 1, w = 1 }, { w = 1 } }):agg({ r = last(0) }):collect())
  end)

  it("finishes the first state of no rows", function()
    local none = lb.from({ { n = 1, k = 1 } }):where("n > 1")
    assert.same({ { ids = {}, n = 0 } }, none:agg({ ids = ids "n", n = lb.count() }):collect())
    assert.same({ { text = "<>" } }, none:agg({ text = text }):collect())
    assert.same({}, none:group_by("k"):agg({ ids = ids "n" }):collect())
  end)

  it("makes a state for each group", function()
    local count = lb.aggregate {
      init = function() return { 0 } end, step = function(s) s[1] = s[1] + 1 end,
      merge = function(a, b) a[1] = a[1] + b[1] end, finish = function(s) return s[1] end,
    }
    local sum, keys = 0, lb.range(1000):map(function(n) return { k = n % 77 } end):select("k")
    for _, row in ipairs(keys:group_by("k"):agg({ c = count }):collect()) do
      assert.is_true(row.c == 12 or row.c == 13)
      sum = sum + row.c
    end
    assert.equal(1000, sum)
  end)

  it("reads only the columns that its functions read", function()
    local seen = lb.csv(path):group_by("kind"):agg({ t = text, m = mean "x", f = lb.sum(function(row) return row.kind end) })
    local rules = require "luabatch.rules"
    local shown = require("luabatch.explain").tree(rules.prune(rules.optimise(seen._node)))
    assert.matches("reads 4 of 5 columns: id, kind, n, x", shown)
    assert.matches("t = aggregate lua %(.*aggregate_spec.lua:%d+%) %(row%)", shown)
  end)

  it("tells where a function fails", function()
    local function failing(definition)
      local full = { init = function() return 0 end, step = function(s) return s end, merge = function(a) return a end }
      for name, f in pairs(definition) do full[name] = f end
      return message(function()
        support.with({ threads = 1 }, function() lb.csv(path):agg({ mine = lb.aggregate(full) "n" }):collect() end)
      end)
    end
    local m = failing { step = function(s, n) return s + n end }
    assert.matches("aggregate_spec.lua:%d+: attempt to perform arithmetic on .*a nil value", m)
    assert.matches("in aggregate mine", m)
    assert.matches("record .*%.csv:%d+", m)
    assert.matches("aggregate_spec.lua:%d+: .*oh", failing { init = function() error("oh") end })
    assert.matches("aggregate_spec.lua:%d+: .*no end", failing { finish = function() error("no end") end })
    assert.matches("aggregate_spec.lua:%d+: step: it returns no state", failing { step = function() end })
    m = failing { init = function() return {} end, step = function(s) s.f = print end }
    assert.matches("aggregate mine: .*aggregate_spec.lua:%d+: what step gave: state.f is a function", m)
    m = failing { finish = function() return { print } end }
    assert.matches("aggregate_spec.lua:%d+: what the function gave: value%[1%] is a function", m)
  end)

  it("refuses what it cannot be", function()
    assert.matches("aggregate_spec.lua:%d+: bad argument 'definition' to aggregate %(table expected, got nil%)",
      message(function() lb.aggregate() end))
    local init, step = function() return 0 end, function(s) return s end
    assert.matches("aggregate: the function 'merge' is missing; merge%(a, b%) joins", message(lb.aggregate, { init = init, step = step }))
    assert.matches("aggregate: the function 'init' is missing", message(lb.aggregate, { step = step, merge = step }))
    assert.matches("aggregate has no option 'finsh'; did you mean 'finish'", message(lb.aggregate, { finsh = step }))
    assert.matches("bad option 'step' of aggregate %(function expected, got number%)", message(lb.aggregate, { step = 1 }))
    assert.matches("sum has its columns already", message(function() return lb.sum "a" "b" end))
    assert.matches("bad argument 'column' to aggregate", message(function() return ids(1) end))
    assert.matches("agg: .*idd", message(function() lb.from(rows):agg({ a = ids "idd" }) end))
    assert.matches("assigns to the captured variable 'n'", message(function()
      local n = 0
      lb.from(rows):agg({ a = lb.aggregate { init = init, step = function(s) n = n + 1 return s end, merge = step } }):collect()
      return n
    end))
  end)
end)
