-- Sorting, top, and what is distinct or in both, against the order of values.
local lb = require "luabatch"
local core = require "luabatch.core"
local support = require "tests.lua.support"

local function any_value(depth)
  local kind = math.random(depth > 2 and 5 or 7)
  if kind == 1 then return math.random(0, 1) == 1 end
  if kind == 2 then return math.random(-3, 3) end
  if kind == 3 then return math.random(-3, 3) / 2 end
  if kind == 4 then return support.word(2) end
  if kind == 5 then return math.random(math.mininteger or -2 ^ 53, math.maxinteger or 2 ^ 53) end
  if kind == 6 then
    return support.list(math.random(0, 3), function() return any_value(depth + 1) end)
  end
  return { a = any_value(depth + 1), b = any_value(depth + 1) }
end

local function assert_order(list, desc)
  for i = 2, #list do
    local order = core.compare(list[i - 1], list[i])
    assert.is_true(desc and order >= 0 or not desc and order <= 0)
  end
end

describe("order (seed " .. support.seed .. ")", function()
  local values = support.list(800, function() return any_value(0) end)
  local numbers = support.list(1500, function() return math.random(100) end)

  it("sort_by without function sorts any values", function()
    local got = lb.from(values):sort_by():collect()
    assert.equal(#values, #got)
    assert_order(got)
    assert_order(lb.from(values):sort_by({ desc = true }):collect(), true)
  end)

  it("sort_by is stable, up and down", function()
    local ds = lb.from(numbers):zip_with_index()
    for _, desc in ipairs { false, true } do
      local got = ds:sort_by(function(n) return n % 10 end, { desc = desc }):collect()
      assert.equal(#numbers, #got)
      for i = 2, #got do
        local a, b = got[i - 1], got[i]
        local ka, kb = a[1] % 10, b[1] % 10
        assert.is_true(desc and ka > kb or not desc and ka < kb or ka == kb and a[2] < b[2])
      end
    end
  end)

  it("sort_by of the identity function, sort_by_key", function()
    local words = support.list(700, function() return support.word() end)
    local want = support.sorted(words)
    assert.same(want, lb.from(words):sort_by(function(w) return w end):collect())
    assert.same(want, lb.from(words):sort_by():collect())
    assert.same(want, lb.from(words):key_by(function(w) return w end):sort_by_key():values():collect())
    assert.same(support.sorted(words, true),
      lb.from(words):key_by(function(w) return w end):sort_by_key({ desc = true }):keys():collect())
  end)

  it("sorts records of several columns", function()
    local data = support.pairs(300, 5)
    local got = lb.from_pairs(data):sort_by():collect()
    assert.same(support.sorted(data), got)
    assert.same(support.sorted(data), lb.from_pairs(data):map(function(k, v) return k, v end):sort_by():collect())
  end)

  it("top, take_ordered, and limit of a sort agree with the sort", function()
    local ds = lb.from(numbers):zip_with_index()
    local function key(n) return n end
    for _, n in ipairs { 0, 1, 10, 1499, 1500, 2000 } do
      local up = ds:sort_by(key):collect()
      local down = ds:sort_by(key, { desc = true }):collect()
      local function first(list) return { table.unpack(list, 1, math.min(n, #list)) } end
      assert.same(first(up), ds:take_ordered(n, key))
      assert.same(first(down), ds:top(n, key))
      assert.same(first(up), ds:sort_by(key):take(n))
      assert.same(first(down), ds:sort_by(function(x) return x end, { desc = true }):limit(n):collect())
    end
    assert.same({ 9, 8 }, lb.range(9):top(2))
    assert.same({ { "b", 1 }, { "a", 2 } }, lb.from_pairs({ { "a", 1 }, { "b", 1 }, { "a", 2 } }):top(2))
  end)

  it("distinct, intersection and subtract", function()
    local a, b = support.list(400, function() return math.random(60) end), support.list(400, function() return math.random(30, 90) end)
    local in_a, in_b = {}, {}
    for _, n in ipairs(a) do in_a[n] = true end
    for _, n in ipairs(b) do in_b[n] = true end
    local both, left, distinct = {}, {}, {}
    for n in pairs(in_a) do
      distinct[#distinct + 1] = n
      if in_b[n] then both[#both + 1] = n end
    end
    for _, n in ipairs(a) do if not in_b[n] then left[#left + 1] = n end end
    assert.same(support.sorted(distinct), support.sorted(lb.from(a):distinct():collect()))
    assert.same(support.sorted(both), support.sorted(lb.from(a):intersection(lb.from(b)):collect()))
    assert.same(support.sorted(left), support.sorted(lb.from(a):subtract(lb.from(b)):collect()))
  end)

  it("distinct tells a list from two columns", function()
    local ds = lb.from_pairs({ { "a", 1 }, { "a", 1 }, { "b", 2 } })
    assert.same({ { "a", 1 }, { "b", 2 } }, support.sorted(ds:distinct():collect()))
    assert.same({ "a", "b" }, support.sorted(ds:distinct():keys():collect()))
    local lists = lb.from({ { "a", 1 }, { "a", 1 } }):map(function(v) return v end):distinct()
    assert.equal(1, lists:count())
    assert.same({ 2 }, lists:map(function(v) return #v end):collect())
    assert.same({ { "a", 1 } }, ds:map(function(k, v) return k, v end):distinct():take(1))
  end)

  it("distinct and sort with records that do not fit into memory", function()
    local function run()
      local ds = lb.range(20000):map(function(n) return (n * 7919) % 10007 end)
      return { ds:distinct():count(), ds:sort_by():first(), ds:sort_by():take(12000)[12000] }
    end
    local want = support.with({ threads = 1 }, run)
    assert.equal(10007, want[1])
    assert.same(want, support.with({ threads = 3, memory = 32 * 1024 * 1024 }, run))
  end)
end)
