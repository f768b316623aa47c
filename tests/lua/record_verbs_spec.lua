-- Verbs that look at one record after the other, against plain loops.
local lb = require "luabatch"
local support = require "tests.lua.support"
-- busted gives specs an environment of its own, which cannot travel: functions capture what they use.
local error, pairs, tostring = error, pairs, tostring

describe("record verbs (seed " .. support.seed .. ")", function()
  local numbers = support.list(1000, function() return math.random(-1000, 1000) end)

  it("map keeps order", function()
    local want = {}
    for i, n in ipairs(numbers) do want[i] = n * 2 end
    assert.same(want, lb.from(numbers):map(function(n) return n * 2 end):collect())
  end)

  it("map makes pairs of two results", function()
    assert.same({ { 1, "1" }, { 2, "2" } },
      lb.range(2):map(function(n) return n, tostring(n) end):collect())
  end)

  it("filter keeps what is true", function()
    local want = {}
    for _, n in ipairs(numbers) do if n % 3 == 0 then want[#want + 1] = n end end
    assert.same(want, lb.from(numbers):filter(function(n) return n % 3 == 0 end):collect())
  end)

  it("flat_map takes emitted records and a returned list", function()
    local got = lb.range(3):flat_map(function(n, emit)
      for i = 1, n do emit(n, i) end
    end):collect()
    assert.same({ { 1, 1 }, { 2, 1 }, { 2, 2 }, { 3, 1 }, { 3, 2 }, { 3, 3 } }, got)
    assert.same({ 1, 10, 2, 20 }, lb.range(2):flat_map(function(n) return { n, n * 10 } end):collect())
  end)

  it("map_partitions sees every record once, in order", function()
    local ds = lb.range(5000):map_partitions(function(records, emit, index)
      local sum, last = 0, 0
      for n in records do
        if n <= last then error("out of order") end
        last, sum = n, sum + n
      end
      emit(index, sum)
    end)
    local total = 0
    for _, pair in ipairs(ds:collect()) do total = total + pair[2] end
    assert.equal(5000 * 5001 / 2, total)
  end)

  it("keys, values, swap, key_by, map_values, flat_map_values", function()
    local ds = lb.from_pairs { { "a", 1 }, { "b", 2 } }
    assert.same({ "a", "b" }, ds:keys():collect())
    assert.same({ 1, 2 }, ds:values():collect())
    assert.same({ { 1, "a" }, { 2, "b" } }, ds:swap():collect())
    assert.same({ { "a", 10 }, { "b", 20 } }, ds:map_values(function(v) return v * 10 end):collect())
    assert.same({ { "a", 1 }, { "b", 2 }, { "b", 2 } }, ds:flat_map_values(function(v, emit)
      for _ = 1, v do emit(v) end
    end):collect())
    assert.same({ { 1, 3 }, { 0, 4 } }, lb.range(3, 4):key_by(function(n) return n % 2 end):collect())
    -- The same when the number of columns is not known.
    local unknown = ds:map(function(k, v) return k, v end)
    assert.same({ "a", "b" }, unknown:keys():collect())
    assert.same({ 1, 2 }, unknown:values():collect())
    assert.same({ { 1, "a" }, { 2, "b" } }, unknown:swap():collect())
  end)

  it("a key by the identity function is the record", function()
    assert.same({ { 1, 1 }, { 2, 2 } }, lb.range(2):key_by(function(n) return n end):collect())
  end)

  it("union is one after the other", function()
    assert.same({ 1, 2, 1, 2, 7 }, lb.range(2):union(lb.range(2), lb.from { 7 }):collect())
    local ds = lb.range(2)
    assert.same({ 1, 2, 1, 2, 1, 2, 1, 2 }, ds:union(ds):union(ds:union(ds)):collect())
    assert.same({ 1, 2 }, ds:union():collect())
  end)

  it("limit and zip_with_index", function()
    assert.same({ 1, 2, 3 }, lb.range(100):limit(5):limit(3):collect())
    assert.same({}, lb.range(100):limit(0):collect())
    assert.same({ { "a", 0 }, { "b", 1 } }, lb.from({ "a", "b" }):zip_with_index():collect())
    local got = lb.range(9999):filter(function(n) return n % 2 == 0 end):zip_with_index():collect()
    for i, pair in ipairs(got) do
      assert.equal(2 * i, pair[1])
      assert.equal(i - 1, pair[2])
    end
  end)

  it("limit ends an endless source early", function()
    assert.same({ 1, 2 }, lb.range(10 ^ 15):map(function(n) return n end):take(2))
  end)

  it("sample takes about its fraction, the same for the same seed", function()
    local ds = lb.range(20000)
    local a, b = ds:sample(0.25, 5):collect(), ds:sample(0.25, 5):collect()
    assert.same(a, b)
    assert.is_true(#a > 4500 and #a < 5500)
    assert.not_same(a, ds:sample(0.25, 6):collect())
    assert.equal(0, ds:sample(0):count())
    assert.equal(20000, ds:sample(1):count())
  end)

  it("cartesian is each with each", function()
    assert.same({ { 1, "a" }, { 1, "b" }, { 2, "a" }, { 2, "b" } },
      lb.range(2):cartesian(lb.from { "a", "b" }):collect())
  end)

  it("repartition and coalesce keep all records", function()
    local function partitions(ds)
      return ds:map_partitions(function(records, emit)
        local n = 0
        for _ in records do n = n + 1 end
        if n > 0 then emit(n) end
      end):collect()
    end
    local sizes = partitions(lb.range(1000):repartition(4))
    local sum = 0
    for _, n in ipairs(sizes) do sum = sum + n end
    assert.equal(1000, sum)
    assert.same(lb.range(1000):collect(), lb.range(1000):coalesce(1):collect())
    assert.same(lb.range(100):collect(), support.sorted(lb.range(100):repartition(3):collect()))
  end)

  it("partition_by brings equal numbers together", function()
    local ds = lb.range(300):map(function(n) return n % 7, n end):partition_by(3, function(key, n) return key % n end)
    local rows = ds:map_partitions(function(records, emit)
      local seen = {}
      for key in records do seen[key % 3] = true end
      local n = 0
      for _ in pairs(seen) do n = n + 1 end
      emit(n)
    end):collect()
    for _, n in ipairs(rows) do assert.is_true(n <= 1) end
    assert.equal(300, ds:count())
    assert.equal(300, ds:partition_by(4):count())
  end)

  it("pipe runs a command over the records", function()
    assert.same({ "A", "B" }, lb.from({ "a", "b" }):coalesce(1):pipe("tr a-z A-Z"):collect())
  end)

  it("on_error = skip leaves bad records out", function()
    local got = lb.from({ 1, "x", 3 }):map(function(n) return n + 1 end, { on_error = "skip" }):collect()
    assert.same({ 2, 4 }, got)
    local sums = lb.from_pairs({ { "a", 1 }, { "a", {} }, { "a", 3 } })
      :reduce_by_key(function(a, b) return a + b end, { on_error = "skip" }):collect_map()
    assert.same({ a = 4 }, sums)
  end)

  it("gives the same records with any number of threads and little memory", function()
    local function run()
      return lb.range(3000):flat_map(function(n, emit)
        for i = 1, n % 3 do emit(n * i) end
      end):filter(function(n) return n % 5 ~= 0 end):collect()
    end
    local want = support.with({ threads = 1 }, run)
    assert.same(want, support.with({ threads = 2 }, run))
    assert.same(want, support.with({ threads = 7, memory = 32 * 1024 * 1024 }, run))
  end)

  it("a pair whose value is nil stays a pair", function()
    local select = select
    local ds = lb.range(4):map(function(i)
      if i % 2 == 0 then return i, nil end
      return i
    end)
    local lengths = function(...) return select("#", ...) end
    assert.same({ 1, 2, 1, 2 }, ds:map(lengths):collect())
    assert.same({ 1, 2, 1, 2 }, ds:cache():map(lengths):collect())
    assert.same({ 1, 2, 1, 2 }, ds:sort_by(function(i) return i end):map(lengths):collect())
    assert.same({ 2, 3, 2, 3 }, ds:zip_with_index():map(lengths):collect())
  end)
end)
