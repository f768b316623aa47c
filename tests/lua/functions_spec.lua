-- Functions travel: upvalues, globals, modules; values come back as they were; counters.
local lb = require "luabatch"
local support = require "tests.lua.support"

local factor = 3
local names = { one = "eins", list = { 1, 2, { deep = true } } }

local function helper(n) return n * factor end

describe("functions", function()
  it("bring their upvalues, and the functions that those are", function()
    assert.same({ 3, 6 }, lb.range(2):map(function(n) return helper(n) end):collect())
    assert.same({ "eins" }, lb.range(1):map(function() return names.one end):collect())
    assert.same({ true }, lb.range(1):map(function() return names.list[3].deep end):collect())
  end)

  it("bring what upvalues are when the action starts", function()
    local ds = lb.range(1):map(function() return names.late end)
    names.late = 7
    assert.same({ 7 }, ds:collect())
  end)

  it("bring globals", function()
    local f = load([[
      spec_factor = 21
      function spec_helper(n) return n * spec_factor end
      return function(n) return spec_helper(n) end]])()
    assert.same({ 21, 42 }, lb.range(2):map(f):collect())
  end)

  it("are recursive", function()
    local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
    assert.same({ 1, 1, 2, 3, 5, 8 }, lb.range(6):map(fib):collect())
  end)

  it("may be functions of the libraries", function()
    assert.same({ 1.0, 2.0 }, lb.from({ 1, 4 }):map(math.sqrt):collect())
    assert.same({ "A" }, lb.from({ "a" }):map(string.upper):collect())
  end)

  it("give values of every type back as they were", function()
    local values = {
      true, false, 1, 1.0, -0.0, math.maxinteger, math.mininteger, 2 ^ 53, 1e308, -1 / 0,
      "", "a\0\255", { 1, 2, { 3 } }, { a = { b = { "c" } } },
    }
    local function check(list)
      assert.equal(#values, #list)
      for i, value in ipairs(values) do
        assert.same(value, list[i])
        assert.equal(math.type(value), math.type(list[i]))
        if type(value) == "number" then assert.equal(tostring(value), tostring(list[i])) end
      end
    end
    local ds = lb.from(values)
    check(ds:collect())
    check(ds:map(function(v) return v end):collect())
    check(ds:map(function(v) return v, 1 end):keys():collect())
    check(ds:zip_with_index():swap():sort_by_key():values():collect())
    check(ds:map(function(v) return 1, v end):group_by_key():values():first())
    support.with({ memory = 32 * 1024 * 1024 }, function() check(ds:repartition(1):collect()) end)
    local nan = lb.from({ 0 / 0 }):collect()[1]
    assert.is_true(nan ~= nan)
  end)

  it("counters add up over all threads", function()
    local bad = lb.counter "functions_bad"
    local before = bad:value()
    lb.range(10000):filter(function(n)
      if n % 10 == 0 then bad:add(1) end
      return true
    end):count()
    assert.equal(1000, bad:value() - before)
  end)

  it("errors of functions keep the job from giving results", function()
    local ok, err = pcall(function()
      return lb.range(100):map(function(n) if n == 50 then error({ code = n }) end return n end):collect()
    end)
    assert.is_false(ok)
    assert.equal(1, err.status)
  end)
end)
