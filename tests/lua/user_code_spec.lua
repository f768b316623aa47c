-- Whatever a user's function does wrong, in whichever verb: an error with its step and record, or the record left out.
local lb = require "luabatch"
local core = require "luabatch.core"
local support = require "tests.lua.support"
local replay = require "luabatch.replay"
-- busted's environment does not travel to workers.
local coroutine, debug, error, getmetatable, ipairs, math, os, pcall, setmetatable, string, tostring, type, xpcall, table =
  coroutine, debug, error, getmetatable, ipairs, math, os, pcall, setmetatable, string, tostring, type, xpcall, table
local collectgarbage, io, print = collectgarbage, io, print

local BAD = 3

-- What goes wrong, and what the message says of it.
local kinds = {
  { "a string", function() error("wrong thing") end, "user_code_spec.lua:%d+: wrong thing" },
  { "a string without place", function() error("wrong thing", 0) end, "^wrong thing" },
  { "a table", function() error({ code = 7 }) end, "^{code=7}" },
  { "a table with __tostring", function() error(setmetatable({}, { __tostring = function() return "told" end })) end, "^told" },
  { "a __tostring that fails", function() error(setmetatable({}, { __tostring = function() error("no") end })) end, "__tostring fails" },
  { "nil", function() error() end, "^nil" },
  { "a function", function() error(error) end, "error object is a function" },
  { "Lua's stack", function()
    local function f() return 1 + f() end
    return f()
  end, "stack overflow" },
  { "C's stack", function()
    local function f() return (string.gsub("x", ".", f)) end
    return f()
  end, "stack overflow" },
  { "a yield", function() coroutine.yield(1) end, "yield" },
  { "os.exit", function() os.exit(0) end, "os.exit cannot be called" },
  { "an error in a coroutine", function() coroutine.wrap(function() error("inside") end)() end, "inside" },
  { "control characters", function() error("a\27[2J\0b\r\n  in other\7") end, "a\\x1b%[2J\\x00b\\x0d\n      in other\\x07" },
  { "a huge message", function() error(("x"):rep(100000)) end, "xxxx%.%.%." },
  { "an error in a handler", function() xpcall(error, function() error("in handler") end) error("after", 0) end, "^after" },
  { "debug.sethook", function()
    debug.sethook(function() error("hooked", 0) end, "c")
    tostring(1)
  end, "^hooked" },
  { "a changed library", function()
    collectgarbage("stop")
    string.rep = nil -- luacheck: ignore
    getmetatable("").__index = nil
    error("changed", 0)
  end, "^changed" },
}
if not support.has_integers then kinds = { table.unpack(kinds, 1, 7) } end -- LuaJIT's messages are its own

local values = { 1, 2, BAD, 4, 5 }
local function ds() return lb.from(values) end
local function pairs_of() return lb.from_pairs { { "a", 1 }, { "b", 2 }, { "a", BAD }, { "c", 4 }, { "b", 5 } } end
local function rows() return lb.from { { v = 1 }, { v = 2 }, { v = BAD }, { v = 4 }, { v = 5 } } end

local function job(fields)
  fields.mapper = fields.mapper or function(_, v, emit) emit(v % 2, v) end
  return lb.job(fields):dataset(ds())
end
local function sum(key, list, emit)
  local n = 0
  for v in list do n = n + v end
  emit(key, n)
end

-- Verbs with a function: a label, where it failed, how to run it with a function `bad` that gives its argument back or fails, and
-- what is left when the record is skipped (nil: it cannot be).
local callbacks = {
  { "map", "record 3", function(bad, o) return ds():map(function(v) return bad(v) end, o):collect() end, { 1, 2, 4, 5 } },
  { "flat_map", "record 3", function(bad, o) return ds():flat_map(function(v, emit) emit(bad(v)) end, o):collect() end, { 1, 2, 4, 5 } },
  { "filter", "record 3", function(bad, o) return ds():filter(function(v) return bad(v) end, o):collect() end, { 1, 2, 4, 5 } },
  { "key_by", "record 3", function(bad, o) return ds():key_by(function(v) return bad(v) end, o):values():collect() end, { 1, 2, 4, 5 } },
  { "sort_by", "record 3", function(bad, o) return ds():sort_by(function(v) return -bad(v) end, o):collect() end, { 5, 4, 2, 1 } },
  { "top", "record 3", function(bad, o) return ds():top(5, function(v) return bad(v) end, o) end, { 5, 4, 2, 1 } },
  { "take_ordered", "record 3", function(bad, o) return ds():take_ordered(5, function(v) return bad(v) end, o) end, { 1, 2, 4, 5 } },
  { "partition_by", "record 3", function(bad, o)
    return ds():partition_by(1, function(v) return bad(v) end, o):collect()
  end, { 1, 2, 4, 5 } },
  { "foreach", "record 3", function(bad, o) return ds():foreach(function(v) bad(v) end, o) end, {} },
  { "map_values", 'record "a", 3', function(bad, o)
    return pairs_of():map_values(function(v) return bad(v) end, o):values():collect()
  end, { 1, 2, 4, 5 } },
  { "flat_map_values", 'record "a", 3', function(bad, o)
    return pairs_of():flat_map_values(function(v, emit) emit(bad(v)) end, o):values():collect()
  end, { 1, 2, 4, 5 } },
  { "with_columns", "record 3", function(bad, o)
    return rows():with_columns({ w = function(r) return bad(r.v) end }, o):map(function(r) return r.w end):collect()
  end, { 1, 2, 4, 5 } },
  { "select", "record 3", function(bad) return rows():select({ w = function(r) return bad(r.v) end }):collect() end },
  { "filter", "record 3", function(bad, o)
    return rows():where(function(r) return bad(r.v) end, o):map(function(r) return r.v end):collect()
  end, { 1, 2, 4, 5 } },
  { "map_partitions", "record 3", function(bad)
    return ds():map_partitions(function(next_value, emit) for v in next_value do emit(bad(v)) end end):collect()
  end },
  { "reduce_groups", 'key "a", value 2', function(bad, o)
    return pairs_of():reduce_groups(function(k, list, emit)
      local n = 0
      for v in list do n = n + bad(v) end
      emit(k, n)
    end, o):sort_by_key():values():collect()
  end, { 7, 4 } },
  { "reduce_by_key", "", function(bad, o)
    return pairs_of():reduce_by_key(function(a, b) bad(a) bad(b) return a * 10 + b end, o):sort_by_key():values():collect()
  end, false },
  { "fold_by_key", "", function(bad, o)
    return pairs_of():fold_by_key(0, function(a, b) return a * 10 + bad(b) end, o):sort_by_key():values():collect()
  end, false },
  { "combine_by_key", "", function(bad, o)
    return pairs_of():combine_by_key(function(v) return bad(v) end, function(a, b) return a * 10 + bad(b) end,
      function(a, b) return a * 10 + b end, o):collect()
  end, false },
  { "mapper of step 1", "record 3", function(bad, o)
    return job({ mapper = function(_, v, emit) emit("k", bad(v)) end, reducer = sum, on_error = o.on_error }):values():collect()
  end, { 12 } },
  { "mapper of step 1", "", function(bad) return job({ mapper_init = function() bad(BAD) end }):collect() end },
  { "mapper of step 1", "", function(bad) return job({ mapper_final = function() bad(BAD) end }):collect() end },
  { "reducer of step 1", "key 1", function(bad, o)
    return job({ reducer = function(k, list, emit)
      local n = 0
      for v in list do n = n + bad(v) end
      emit(k, n)
    end, on_error = o.on_error }):values():collect()
  end, { 6 } },
  { "combiner of step 1", "key 1", function(bad)
    return job({ combiner = function(k, list, emit) for v in list do emit(k, bad(v)) end end, reducer = sum }):collect()
  end },
  { "reducer of step 1", "", function(bad) return job({ reducer = sum, reducer_final = function() bad(BAD) end }):collect() end },
  { "partitioner of step 1", "record 1, 1", function(bad)
    return job({ reducer = sum, partitioner = function(k) return bad(k == 1 and BAD or k) end }):collect()
  end },
  { "fold", "record 3", function(bad) return ds():fold(0, function(a, b) return a + bad(b) end) end },
  { "aggregate", "record 3", function(bad) return ds():aggregate(0, function(a, b) return a + bad(b) end, math.max) end },
  { "join", "", function(bad, o)
    return rows():join(rows(), { on = "v", combine = function(l) return bad(l.v) end, on_error = o.on_error }):sort_by():collect()
  end, { 1, 2, 4, 5 } },
  { "aggregate m", "record 3", function(bad)
    return rows():agg({ m = lb.aggregate({
      init = function() return 0 end, step = function(s, r) return s + bad(r.v) end, merge = function(a, b) return a + b end,
    }) }):collect()
  end },
  { "aggregate m", "", function(bad)
    return rows():agg({ m = lb.aggregate({
      init = function() return 0 end, step = function(s, r) return s + r.v end, merge = function(a, b) return a + b end,
      finish = function() return bad(BAD) end,
    }) }):collect()
  end },
  { "m", "record", function(bad, o)
    return rows():window({
      order_by = "v", rows = { -1, 0 }, on_error = o.on_error, m = lb.over(function(frame) return bad(frame[#frame].v) end),
    }):map(function(r) return r.m end):collect()
  end, { 1, 2, 4, 5 } },
  { "window", "record 3", function(bad, o)
    return rows():window({
      order_by = "v", rows = { -1, 0 }, on_error = o.on_error, m = lb.sum(function(r) return bad(r.v) end),
    }):map(function(r) return r.m end):collect()
  end, { 1, 3, 6, 9 } },
  { "pivot", "record 3", function(bad, o)
    return rows():with_columns({ c = "1" }):pivot({
      index = "v", columns = "c", names = { 1 }, on_error = o.on_error, values = lb.sum(function(r) return bad(r.v) end),
    }):map(function(r) return r.v end):sort_by():collect()
  end, { 1, 2, 4, 5 } },
}

local function run(callback, kind, options)
  local fail = kind[2]
  local function bad(v)
    if v == BAD then fail() end
    return v
  end
  return pcall(callback[3], bad, options)
end

-- Message, step and traceback, without the place of the record.
local function essence(message)
  return (message:gsub("\n  record [^\n]*", ""):gsub("\n  key [^\n]*", ""):gsub("\n  replay with[^\n]*", ""))
end

-- The call in the file fails as it did.
local function check_replay(path, problem, what)
  assert.truthy(path, what)
  local bundle = assert(replay.read(path))
  assert.is_false(bundle.is_cut)
  local fn, records = replay.parts(bundle)
  assert.same({ "function", "table" }, { type(fn), type(records) })
  local ok, again = pcall(replay.call, bundle, { threads = 1 })
  assert.is_false(ok, what)
  assert.same({ problem.status, essence(problem.message) }, { again.status, essence(again.message) }, what)
end

-- Each kind of error with one of two numbers of threads; in slow builds some of them.
local function each_kind(f)
  for i, kind in ipairs(kinds) do
    if support.size(3) == 3 or math.random(#kinds) <= 2 then
      support.with({ threads = (i + support.seed) % 2 * 2 + 1 }, function() f(kind) end)
    end
  end
end

describe("user code (seed " .. support.seed .. ")", function()
  after_each(support.clean)

  for i, callback in ipairs(callbacks) do
    it("fails clearly: " .. callback[1] .. " " .. i, function()
      each_kind(function(kind)
        local ok, problem = run(callback, kind, {})
        local what = ("%s, %s: %s"):format(callback[1], kind[1], type(problem) == "table" and problem.message or tostring(problem))
        assert.is_false(ok, what)
        assert.equal(1, problem.status, what)
        assert.matches(kind[3], problem.message)
        assert.truthy(problem.message:find("\n  in " .. callback[1], 1, true), what)
        assert.truthy(problem.message:find("\n  " .. callback[2], 1, true), what)
        assert.is_nil(problem.message:find("[%z\1-\8\11-\31\127]"), what)
      end)
    end)

    it("is kept, and made again: " .. callback[1] .. " " .. i, function()
      local directory = support.path("/")
      local kept = { kinds[1], kinds[math.random(#kinds)] }
      for n, kind in ipairs(kept) do
        support.with({ threads = (i + n) % 2 * 2 + 1, ["replay-dir"] = directory }, function()
          local ok, problem = run(callback, kind, {})
          local what = ("%s, %s: %s"):format(callback[1], kind[1], type(problem) == "table" and problem.message or tostring(problem))
          assert.is_false(ok, what)
          check_replay(problem.message:match("\n  replay with: luabatch %-%-replay ([^\n]*)$"), problem, what)
        end)
      end
    end)

    if callback[4] ~= nil then
      it("is skipped: " .. callback[1] .. " " .. i, function()
        each_kind(function(kind)
          local ok, got = run(callback, kind, { on_error = "skip" })
          local what = ("%s, %s: %s"):format(callback[1], kind[1], type(got) == "table" and got.message or tostring(got))
          assert.is_true(ok, what)
          if callback[4] then assert.same(callback[4], callback[1] == "foreach" and {} or got, what) end
        end)
      end)

      it("is skipped, kept, and made again: " .. callback[1] .. " " .. i, function()
        local kind, told = kinds[math.random(#kinds)], {}
        local function on_run(_, info)
          for _, skip in ipairs(info.skips) do
            assert.is_nil(skip.call)
            told[#told + 1] = skip
          end
        end
        support.with({ threads = i % 2 * 2 + 1, ["replay-dir"] = support.path("/"), on_run = on_run }, function()
          run(callback, kind, { on_error = "skip" })
        end)
        assert.is_true(#told > 0)
        for _, skip in ipairs(told) do
          assert.truthy(skip.replay, kind[1])
          local ok, again = pcall(replay.call, assert(replay.read(skip.replay)), { threads = 1 })
          assert.is_false(ok, kind[1])
          assert.equal(1, again.status)
          assert.matches(kind[3], again.message)
          assert.truthy(again.message:find("\n  in " .. callback[1], 1, true), again.message)
        end
      end)
    end
  end

  it("that gives what is no value names it", function()
    local function over(f) return function(o) return rows():map(function(r) return f(r) end, o):collect() end end
    for _, case in ipairs {
      { over(function() return print end), "value is a function" },
      { over(function() return setmetatable({}, {}) end), "metatable" },
      { over(function() local t = {} t.t = t return t end), "value.t is a table that contains itself" },
      { function(o) return ds():flat_map(function() return 7 end, o):collect() end, "a number (a list to be emitted" },
      { function(o) return ds():partition_by(2, function() return "x" end, o):collect() end, "a string (the number of a partition" },
      { function(o) return pairs_of():map_values(function() return io.stdout end, o):collect() end, "is a userdata" },
    } do
      local ok, problem = pcall(case[1], {})
      assert.is_false(ok)
      assert.truthy(tostring(problem):find(case[2], 1, true), tostring(problem))
      assert.same({}, case[1]({ on_error = "skip" }))
    end
  end)

  it("that takes all the memory is told by its verb", function()
    support.with({ memory = 64 * 1024 ^ 2 }, function()
      local function catches() return pcall(string.rep, "x", 1024 ^ 3) end
      for _, f in ipairs {
        function() return #("x"):rep(1024 ^ 3) end,
        function() error(("x"):rep(1024 ^ 3)) end,
        function() local t = {} for i = 1, 1e9 do t[i] = { i } end return #t end,
        function() error(setmetatable({}, { __tostring = function() return ("x"):rep(1024 ^ 3) end })) end,
        catches,
      } do
        local ok, problem = pcall(function()
          return ds():map(function(v) return v == BAD and f() or v end, { on_error = "skip" }):count()
        end)
        -- A script may catch that itself; nothing else may skip it.
        assert.is_true(not ok or f == catches)
        if not ok then
          assert.equal(5, problem.status, problem.message)
          assert.matches("^map: the Lua heap of a worker needs more memory: it has [%d.]+ MiB and asks for [%d.]+ MiB more ",
            problem.message)
        end
      end
      assert.is_false((pcall(function() return ds():map(function() return #("x"):rep(1024 ^ 3) end):count() end)))
    end)
  end)

  it("may stop the collector and change the libraries of its worker", function()
    support.with({ memory = 64 * 1024 ^ 2, threads = 2 }, function()
      local n = ds():flat_map(function(v, emit)
        collectgarbage("stop")
        for i = 1, 20000 do emit(("x"):rep(1000 + i % 7 + v)) end
        string.upper = nil
      end):map(function(s) return #s end):count()
      assert.equal(5 * 20000, n)
    end)
    assert.equal("A", (lb.from { "a" }:map(function(s) return s:upper() end):first()))
  end)

  it("that takes too long is stopped, and the others are not", function()
    local loops = {
      function() while true do end end,
      function() while true do pcall(error) end end,
      function() while true do debug.sethook() end end,
      function() coroutine.wrap(function() while true do pcall(coroutine.wrap(function() while true do end end)) end end)() end,
      function() local t = setmetatable({}, { __index = function() while true do end end }) return t.x end,
    }
    if not support.has_integers then loops = { loops[2] } end -- a compiled loop cannot be stopped
    support.with({ ["record-timeout"] = 0.15 }, function()
      for threads = 1, 3, 2 do
        support.with({ threads = threads }, function()
          for _, loop in ipairs(loops) do
            local function slow(v)
              if v == BAD then loop() end
              return v
            end
            local to = support.path(".json")
            assert.same({ 1, 2, 4, 5 }, ds():map(slow, { on_error = { to = to } }):collect())
            local text = support.read(to)
            assert.matches('"kind":"timeout","message":"[^"]*took more than 0.15 s', text)
            assert.matches('"raw":3,"verb":"map"}\n$', text)
            local ok, problem = pcall(function() ds():map(slow):collect() end)
            assert.is_false(ok)
            assert.equal(1, problem.status)
            assert.matches("took more than 0.15 s for one record.*\n  in map\n  record 3\n  stack traceback:\n", problem.message)
          end
          local to = support.path(".json")
          rows():window({ order_by = "v", rows = { 0, 0 }, on_error = { to = to }, m = lb.over(function(f)
            while f[1].v == BAD do pcall(error) end
          end) }):count()
          assert.matches('^{"kind":"timeout","message":"[^"]*took more than 0.15 s[^"]*","raw":{"v":3},"verb":"window"}\n$',
            support.read(to))
          local ok, problem = pcall(function()
            pairs_of():reduce_groups(function(_, list) for v in list do if v == BAD then while true do pcall(error) end end end end):count()
          end)
          assert.is_false(ok)
          assert.matches('took more than.*\n  in reduce_groups\n  key "a", value 2', problem.message)
        end)
      end
    end)
    -- The time is that of one record, not of all, and not what comes after emit.
    support.with({ threads = 1, ["record-timeout"] = 1 }, function()
      local function spin(v)
        local stop = core.clock() + 0.15
        while core.clock() < stop do end
        return v
      end
      assert.equal(8, lb.range(8):map(spin):count())
      assert.equal(8, lb.from({ 1 }):flat_map(function(_, emit) for i = 1, 8 do emit(i) end end):map(spin):count())
      assert.equal(8, lb.range(8):map(function(n) return 1, n end):reduce_groups(function(_, list, emit)
        for v in list do emit(spin(v)) end
      end):count())
    end)
  end)

  it("sees errors as they are after those that were caught", function()
    local n = ds():map(function(v)
      local ok, message = pcall(error, { v })
      return not ok and message[1] or 0
    end):reduce(function(a, b) return a + b end)
    assert.equal(15, n)
  end)
end)
