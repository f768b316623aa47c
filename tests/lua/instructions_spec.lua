-- How much a function may execute for one record: --max-instructions. It needs no clock and no signal, so it is the same everywhere.
local lb = require "luabatch"
local support = require "tests.lua.support"
-- busted's environment does not travel to workers.
local coroutine, error, load, pcall, setmetatable, string, table, tostring, xpcall =
  coroutine, error, load, pcall, setmetatable, string, table, tostring, xpcall
local assert, debug, ipairs, select = assert, debug, ipairs, select

if not support.has_integers then return end -- compiled code is not counted

local loops = {
  function() while true do end end,
  function() local function f() return f() end f() end,
  function() while true do pcall(function() while true do end end) end end,
  function() while true do xpcall(error, function() while true do end end) end end,
  function() while true do xpcall(error, function() error("again") end) end end,
  function() while true do coroutine.wrap(function() local x = 1 return x end)() end end,
  function()
    local co = coroutine.wrap(function() while true do coroutine.yield() end end)
    while true do co() end
  end,
  function() coroutine.wrap(function() while true do pcall(coroutine.wrap(function() while true do end end)) end end)() end,
  function() local t = setmetatable({}, { __index = function() while true do end end }) return t.x end,
  function() return setmetatable({}, { __add = function() while true do end end }) + 1 end,
  function() return tostring(setmetatable({}, { __tostring = function() while true do end end })) end,
  function() error(setmetatable({}, { __tostring = function() while true do end end })) end,
  function() (("a"):rep(1e6)):gsub(".", function() for _ = 1, 100 do tostring(1) end end) end,
  function() table.sort({ 3, 2, 1 }, function() while true do end end) end,
  function() load("while true do end")() end,
  function() load(function() while true do end end) end,
  function() return string.find(("a"):rep(4000), ("a*"):rep(20) .. "b") end,
  load [[return function() local x <close> = setmetatable({}, { __close = function() while true do end end }) end]](),
  load [[return function()
    coroutine.wrap(function()
      local x <close> = setmetatable({}, { __close = function() while true do end end })
      while true do end
    end)()
  end]](),
  load [[return function()
    local co = coroutine.create(function()
      local x <close> = setmetatable({}, { __close = function() while true do end end })
      coroutine.yield()
    end)
    coroutine.resume(co)
    coroutine.close(co)
  end]](),
}

local function ds() return lb.from { 1, 2, 3, 4, 5 } end

describe("the number of instructions", function()
  after_each(support.clean)

  it("ends what does not end by itself, wherever it is", function()
    for threads = 1, 3, 2 do
      support.with({ ["max-instructions"] = 20000, threads = threads }, function()
        for i, loop in ipairs(loops) do
          local function slow(v)
            for _ = 1, 100 do tostring(v) end
            if v == 3 then loop() end
            return v
          end
          local to = support.path(".json")
          assert.same({ 1, 2, 4, 5 }, ds():map(slow, { on_error = { to = to } }):collect(), "loop " .. i)
          assert.matches('"kind":"instructions","message":"[^\n]*executed more than 20000 instructions', support.read(to))
          local ok, problem = pcall(function() ds():map(slow):collect() end)
          assert.is_false(ok)
          assert.equal(1, problem.status)
          assert.matches("executed more than 20000 instructions for one record %(%-%-max%-instructions%).*\n  in map\n  record 3\n",
            problem.message)
        end
      end)
    end
  end)

  it("is that of one record, and the same each time", function()
    -- What is just within N is so at any number of threads, and each time.
    local function fits(n, most, threads)
      return support.with({ ["max-instructions"] = most, threads = threads }, function()
        return (pcall(function()
          lb.range(2000):map(function(v)
            for _ = 1, n do tostring(v) end
            return v
          end):count()
        end))
      end)
    end
    local low, high = 100, 100000
    while high - low > 1 do
      local middle = (low + high) // 2
      if fits(50, middle, 1) then high = middle else low = middle end
    end
    assert.is_true(high > 150 and high < 2000, high)
    for _ = 1, 5 do
      for threads = 1, 3 do
        assert.is_true(fits(50, high, threads))
        assert.is_false(fits(50, low, threads))
      end
    end
    -- What functions below emit execute counts for them, and each value of a group has its own.
    support.with({ ["max-instructions"] = 3000 }, function()
      assert.equal(60000, lb.range(20):flat_map(function(_, emit)
        for i = 1, 100 do emit(i) end
      end):flat_map(function(_, emit)
        for i = 1, 30 do emit(i) end
      end):count())
      assert.equal(1, lb.range(20000):map(function(v) return 1, v end):reduce_groups(function(k, list, emit)
        local n = 0
        for v in list do n = n + v end
        emit(k, n)
      end):count())
    end)
  end)

  it("cannot be got rid of by debug.sethook, and leaves other hooks' place alone", function()
    support.with({ ["max-instructions"] = 20000 }, function()
      local ok, problem = pcall(function() ds():map(function() debug.sethook() end):count() end)
      assert.is_false(ok)
      assert.matches("debug.sethook cannot be used with %-%-max%-instructions", problem.message)
    end)
    assert.equal(5, ds():map(function(v) debug.sethook() return v end):count())
    assert.equal("x!", (ds():map(function() return (select(2, xpcall(error, function(m) return m .. "!" end, "x"))) end):first()))
  end)
end)
