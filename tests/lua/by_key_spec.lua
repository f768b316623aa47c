-- Verbs by key, against plain tables.
local lb = require "luabatch"
local core = require "luabatch.core"
local support = require "tests.lua.support"
-- busted gives specs an environment of its own, which cannot travel: functions capture what they use.
local math, table, error, setmetatable, print = math, table, error, setmetatable, print

describe("verbs by key (seed " .. support.seed .. ")", function()
  local data = support.pairs(3000, 50)
  local ds = lb.from_pairs(data)

  -- What f makes of each key's values, in input order.
  local function naive(f)
    local groups, result = {}, {}
    for _, pair in ipairs(data) do
      groups[pair[1]] = groups[pair[1]] or {}
      table.insert(groups[pair[1]], pair[2])
    end
    for key, values in pairs(groups) do result[key] = f(values) end
    return result
  end

  local function sum(values)
    local n = 0
    for _, v in ipairs(values) do n = n + v end
    return n
  end

  it("reduce_by_key", function()
    assert.same(naive(sum), support.map(ds:reduce_by_key(function(a, b) return a + b end):collect()))
    assert.same(naive(function(values) return math.max(table.unpack(values)) end),
      support.map(ds:reduce_by_key(math.max):collect()))
    assert.same(naive(function(values) return math.min(table.unpack(values)) end),
      support.map(ds:reduce_by_key(function(a, b) return math.min(a, b) end):collect()))
    assert.same(naive(function(values) return values[1] end),
      support.map(ds:reduce_by_key(function(a) return a end):collect()))
  end)

  it("reduce_by_key with the function that gives its first argument keeps the first in input order", function()
    local last = support.size(600000, 40000) - 1
    local firsts = lb.range(0, last):map(function(n) return n % 500, n end):reduce_by_key(function(a) return a end)
    local got = support.with({ threads = 4 }, function()
      return firsts:filter(function(key, n) return key ~= n end):count()
    end)
    assert.equal(0, got)
  end)

  it("reduce_by_key of strings with the function that adds numbers", function()
    local got = lb.from_pairs({ { "a", "1" }, { "a", "2" }, { "b", "7" } })
      :reduce_by_key(function(a, b) return a + b end):collect_map()
    assert.same({ a = 3, b = "7" }, got)
  end)

  it("reduce_by_key with a function of its own", function()
    local function longest(a, b) return #a >= #b and a or b end
    local words = support.list(500, function() return { math.random(10), support.word() } end)
    local want = {}
    for _, pair in ipairs(words) do
      want[pair[1]] = want[pair[1]] and longest(want[pair[1]], pair[2]) or pair[2]
    end
    assert.same(want, support.map(lb.from_pairs(words):reduce_by_key(longest):collect()))
  end)

  it("fold_by_key applies zero once to each key", function()
    local want = naive(function(values) return 1000 + sum(values) end)
    assert.same(want, support.map(ds:fold_by_key(1000, function(a, b) return a + b end):collect()))
  end)

  it("aggregate_by_key and combine_by_key", function()
    local want = naive(function(values) return { n = #values, sum = sum(values) } end)
    local zero = { n = 0, sum = 0 }
    local function seq(state, v)
      state.n, state.sum = state.n + 1, state.sum + v
      return state
    end
    local function comb(a, b) return { n = a.n + b.n, sum = a.sum + b.sum } end
    assert.same(want, support.map(ds:aggregate_by_key(zero, seq, comb):collect()))
    assert.same({ n = 0, sum = 0 }, zero)
    assert.same(want, support.map(ds:combine_by_key(function(v) return { n = 1, sum = v } end, seq, comb):collect()))
  end)

  it("group_by_key keeps input order", function()
    assert.same(naive(function(values) return values end), support.map(ds:group_by_key():collect()))
  end)

  it("value_counts, of pairs too", function()
    local want = {}
    for _, pair in ipairs(data) do want[pair[1]] = (want[pair[1]] or 0) + 1 end
    assert.same(want, support.map(ds:keys():value_counts():collect()))
    local got = lb.from_pairs({ { "a", 1 }, { "a", 1 }, { "a", 2 } }):value_counts():sort_by_key():collect()
    assert.same({ { { "a", 1 }, 2 }, { { "a", 2 }, 1 } }, got)
  end)

  it("reduce_groups streams the values", function()
    local want = naive(function(values) return table.concat(values, " ") end)
    local got = ds:reduce_groups(function(key, values, emit)
      local list = {}
      for v in values do list[#list + 1] = v end
      emit(key, table.concat(list, " "))
    end)
    assert.same(want, support.map(got:collect()))
  end)

  it("reduce_groups with sorted values, and without reading all", function()
    local want = naive(function(values) return support.sorted(values)[1] end)
    local got = ds:reduce_groups(function(key, values, emit) emit(key, values()) end, { sort_values = true })
    assert.same(want, support.map(got:collect()))
  end)

  it("subtract_by_key", function()
    local other = lb.from_pairs { { "k1", true }, { "k2", false } }
    local want = {}
    for _, pair in ipairs(data) do
      if pair[1] ~= "k1" and pair[1] ~= "k2" then want[#want + 1] = pair end
    end
    local got = ds:subtract_by_key(other):collect()
    assert.same(support.sorted(want), support.sorted(got))
  end)

  it("keys of all types are kept apart, but 1 and 1.0 are one key", function()
    local keys = {
      false, true, 0, 1, 1.0, -0.0, 2 ^ 53, math.tointeger(2 ^ 53), math.tointeger(2 ^ 53) + 1,
      "", "1", "a\0b", { 1 }, { 1, 2 }, { a = 1 }, {},
      1 / 0, -1 / 0, 0 / 0, 0 / 0,
    }
    local pairs_of = {}
    for i, key in ipairs(keys) do pairs_of[i] = { key, 1 } end
    local got = lb.from_pairs(pairs_of):reduce_by_key(function(a, b) return a + b end):sort_by_key():collect()
    local sorted, want = support.sorted(keys), {}
    for _, key in ipairs(sorted) do
      local last = want[#want]
      if last and core.compare(last[1], key) == 0 then last[2] = last[2] + 1 else want[#want + 1] = { key, 1 } end
    end
    assert.equal(#want, #got)
    for i, pair in ipairs(want) do
      assert.equal(0, core.compare(pair[1], got[i][1]))
      assert.equal(pair[2], got[i][2])
    end
  end)

  it("grouped output has the same order whatever the threads and memory", function()
    local function run()
      return {
        ds:reduce_by_key(function(a, b) return a + b end):collect(),
        ds:group_by_key():collect(),
        ds:keys():value_counts():collect(),
        ds:reduce_groups(function(key, values, emit) emit(key, values()) end):collect(),
      }
    end
    local want = support.with({ threads = 1 }, run)
    assert.same(want, support.with({ threads = 2 }, run))
    assert.same(want, support.with({ threads = 7, memory = 32 * 1024 * 1024 }, run))
  end)

  it("takes the number of partitions", function()
    local got = ds:reduce_by_key(function(a, b) return a + b end, { partitions = 1 }):keys():collect()
    assert.same(support.sorted(got), got)
  end)
end)

describe("errors after a shuffle", function()
  local function message(f)
    local ok, text = pcall(f)
    assert.is_false(ok)
    return tostring(text)
  end
  local numbers = lb.range(100):map(function(i) return "k" .. i % 3, i end)

  it("show the record, whose place in the input is not known any more", function()
    local text = message(function()
      return numbers:reduce_by_key(function(a, b) return a + b end):sort_by(function(_, v) return v .. nil end):collect()
    end)
    assert.truthy(text:find('\n  in sort_by\n  record "k%d", %d+\n'), text)
  end)

  it("name the key where states are merged", function()
    local text = message(function()
      return lb.range(200000):map(function(i) return i % 3 == 0 and "x" or "y", { i } end):reduce_by_key(function(_, b)
        if b.merged then error("two states") end
        return { merged = true }
      end):collect()
    end)
    assert.truthy(text:find("two states\n  in reduce_by_key\n  key \"[xy]\"\n"), text)
  end)

  it("show a table that was raised", function()
    local text = message(function()
      return numbers:map(function(_, v) if v == 70 then error { code = 7, why = "bad" } end return v end):collect()
    end)
    assert.truthy(text:find('{code=7,why="bad"}\n  in map\n  record "k1", 70\n', 1, true), text)
    text = message(function()
      return numbers:map(function() error(setmetatable({}, { __tostring = function() return "by itself" end })) end):collect()
    end)
    assert.truthy(text:find("by itself\n  in map", 1, true), text)
    text = message(function() return numbers:map(function() error { f = print } end):collect() end)
    assert.truthy(text:find("(error object is a table value)", 1, true), text)
  end)
end)
