-- Actions, against plain loops.
local lb = require "luabatch"
local support = require "tests.lua.support"

describe("actions (seed " .. support.seed .. ")", function()
  it("count, first, take, is_empty", function()
    assert.equal(12345, lb.range(12345):count())
    assert.equal(0, lb.from({}):count())
    assert.equal(1, lb.range(10):first())
    assert.is_nil(lb.from({}):first())
    assert.same({ 1, 2, 3 }, lb.range(10):take(3))
    assert.same({ 1 }, lb.range(1):take(3))
    assert.is_true(lb.range(0):is_empty())
    assert.is_false(lb.range(1):is_empty())
    assert.is_true(lb.range(5):filter(function() return false end):is_empty())
  end)

  it("reduce, fold, aggregate", function()
    assert.equal(math.tointeger(5000 * 5001 / 2), lb.range(5000):reduce(function(a, b) return a + b end))
    assert.is_nil(lb.from({}):reduce(function(a, b) return a + b end))
    assert.equal(105, lb.range(5):fold(90, function(a, b) return a + b end))
    assert.equal(90, lb.from({}):fold(90, function(a, b) return a + b end))
    local words = support.list(2000, function() return support.word() end)
    local want = table.concat(words)
    assert.equal(want, lb.from(words):reduce(function(a, b) return a .. b end))
    assert.equal(#want, lb.from(words):aggregate(0, function(n, w) return n + #w end, function(a, b) return a + b end))
    assert.same({}, lb.from({}):aggregate({}, function(s) return s end, function(a) return a end))
    local zero = { n = 0 }
    local state = lb.from(words):aggregate(zero, function(s) s.n = s.n + 1 return s end,
      function(a, b) return { n = a.n + b.n } end)
    assert.same({ n = 2000 }, state)
    assert.same({ n = 0 }, zero)
    assert.same({ "b", 2 }, lb.from_pairs({ { "a", 1 }, { "b", 2 } }):reduce(function(_, b) return b end))
  end)

  it("sum keeps integers exact, mean, min, max", function()
    local ds = lb.from { 3, 1, 2 }
    assert.equal("integer", math.type(ds:sum()))
    assert.equal(6, ds:sum())
    assert.equal(2.0, ds:mean())
    assert.equal(1, ds:min())
    assert.equal(3, ds:max())
    assert.equal(6.5, lb.from({ 3, 1, 2.5 }):sum())
    assert.equal(0, lb.from({}):sum())
    assert.is_nil(lb.from({}):mean())
    assert.is_nil(lb.from({}):min())
    assert.equal("a", lb.from({ "b", "a" }):min())
    assert.equal(support.maxinteger, lb.from({ support.maxinteger, 1, -1 }):sum())
    assert.equal(1e16 + 2, lb.from({ 1e16, 1.0, 1.0 }):sum())
    assert.has_error(function() lb.from({ support.maxinteger, 1 }):sum() end, "sum: integer overflow")
    local ok, err = pcall(function() lb.from({ 1, "2" }):sum() end)
    assert.is_false(ok)
    assert.truthy(tostring(err):find('the string "2"', 1, true))
  end)

  it("stats", function()
    local values = support.list(3000, function() return math.random() * 100 end)
    local sum, min, max = 0, math.huge, -math.huge
    for _, v in ipairs(values) do sum, min, max = sum + v, math.min(min, v), math.max(max, v) end
    local mean, squares = sum / #values, 0
    for _, v in ipairs(values) do squares = squares + (v - mean) ^ 2 end
    local stats = lb.from(values):stats()
    assert.equal(#values, stats.count)
    assert.equal(min, stats.min)
    assert.equal(max, stats.max)
    assert.near(mean, stats.mean, 1e-9)
    assert.near(sum, stats.sum, 1e-6)
    assert.near(squares / #values, stats.variance, 1e-6)
    assert.near(math.sqrt(squares / (#values - 1)), stats.sample_stddev, 1e-8)
    assert.same({ count = 0, sum = 0 }, lb.from({}):stats())
  end)

  it("histogram by number and by edges", function()
    local edges, counts = lb.range(0, 99):histogram(4)
    assert.same({ 0, 24.75, 49.5, 74.25, 99 }, edges)
    assert.same({ 25, 25, 25, 25 }, counts)
    edges, counts = lb.from({ 1, 2, 2, 5, 9 }):histogram { 1, 2, 5 }
    assert.same({ 1, 2, 5 }, edges)
    assert.same({ 1, 3 }, counts)
    edges, counts = lb.from({ 7, 7 }):histogram(3)
    assert.same({ 7, 7 }, edges)
    assert.same({ 2 }, counts)
    edges, counts = lb.from({ support.mininteger, support.maxinteger }):histogram(2)
    assert.equal(0.0, edges[2])
    assert.same({ 1, 1 }, counts)
  end)

  it("histogram names itself when a record is no number, or NaN, or infinite", function()
    local cases = {
      { { 1, "x" }, 'histogram: a record is not a number but the string "x"' }, { { 1, 0 / 0, 2 }, "histogram: a record is NaN" },
      { { 0 / 0 }, "histogram: a record is NaN" }, { { 1, 1 / 0 }, "histogram: numbers from 1" },
    }
    for i, case in ipairs(cases) do
      for _, buckets in ipairs(i < 4 and { 3, { 0, 1, 2 } } or { 3 }) do
        local ok, err = pcall(function() lb.from(case[1]):histogram(buckets) end)
        assert.is_false(ok)
        assert.truthy(tostring(err):find(case[2], 1, true), tostring(err))
      end
    end
    assert.same({ 0, 1 }, (select(2, lb.from({ 1, 1 / 0 }):histogram { -1, 0, 3 })))
  end)

  it("count_by_key, count_by_value, collect_map, lookup", function()
    local ds = lb.from_pairs { { "a", 1 }, { "b", 2 }, { "a", 3 } }
    assert.same({ a = 2, b = 1 }, ds:count_by_key())
    assert.same({ a = 3, b = 2 }, ds:collect_map())
    assert.same({ 1, 3 }, ds:lookup("a"))
    assert.same({}, ds:lookup("c"))
    assert.same({ 5 }, lb.from_pairs({ { { 1, 2 }, 5 }, { { 1 }, 6 } }):lookup { 1, 2 })
    assert.same({ x = 2, y = 1 }, lb.from({ "x", "y", "x" }):count_by_value())
  end)

  it("iterate streams all records", function()
    local n = 0
    for key, value in lb.range(3000):map(function(i) return i, i * 2 end):iterate() do
      n = n + 1
      assert.equal(n, key)
      assert.equal(2 * n, value)
    end
    assert.equal(3000, n)
  end)

  it("iterate says that a nil would end the loop", function()
    local ok, err = pcall(function()
      for _ in lb.range(2):map(function() return nil, 1 end):iterate() do end -- luacheck: ignore 542
    end)
    assert.is_false(ok)
    assert.truthy(tostring(err):find("nil", 1, true))
  end)

  it("collect keeps nil columns in their place", function()
    local got = lb.range(1):map(function(n) return nil, n end):collect()
    assert.same({ nil, 1 }, got[1])
  end)

  it("foreach runs on the workers", function()
    local seen = lb.counter "foreach_seen"
    local before = seen:value()
    lb.range(1000):foreach(function(n) seen:add(n % 2) end)
    assert.equal(500, seen:value() - before)
  end)
end)
