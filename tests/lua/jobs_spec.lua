-- lb.job: mappers, combiners, reducers, tasks, steps.
local lb = require "luabatch"
local core = require "luabatch.core"
local support = require "tests.lua.support"
-- busted gives specs an environment of its own, which cannot travel: functions capture what they use.
local error, math = error, math

describe("jobs (seed " .. support.seed .. ")", function()
  local lines = support.list(1000, function()
    return table.concat(support.list(math.random(0, 8), function() return support.word(3) end), " ")
  end)
  local counts = {}
  for _, line in ipairs(lines) do
    for word in line:gmatch("%S+") do counts[word] = (counts[word] or 0) + 1 end
  end

  local function mapper(_, line, emit)
    for word in line:gmatch("%S+") do emit(word, 1) end
  end
  local function sum(key, values, emit)
    local n = 0
    for v in values do n = n + v end
    emit(key, n)
  end

  it("counts words, with and without a combiner", function()
    assert.same(counts, support.map(lb.job({ mapper = mapper, reducer = sum }):dataset(lb.from(lines)):collect()))
    assert.same(counts,
      support.map(lb.job({ mapper = mapper, combiner = sum, reducer = sum }):dataset(lb.from(lines)):collect()))
    local function odd_sum(key, values, emit)
      local n = 0
      for v in values do
        if v ~= 0 then n = n + v end
      end
      emit(key, n)
    end
    assert.same(counts,
      support.map(lb.job({ mapper = mapper, combiner = odd_sum, reducer = odd_sum }):dataset(lb.from(lines)):collect()))
  end)

  it("counts with a reducer that counts", function()
    local function count(key, values, emit)
      local n = 0
      for _ in values do n = n + 1 end
      emit(key, n)
    end
    assert.same(counts, support.map(lb.job({ mapper = mapper, reducer = count }):dataset(lb.from(lines)):collect()))
  end)

  it("a native sum is what the loop gives", function()
    local function pass(key, value, emit) emit(key, value) end
    local ds = lb.from_pairs { { "s", "5" }, { "z", -0.0 }, { "i", 3 }, { "f", 0.5 } }
    local got = lb.job({ mapper = pass, combiner = sum, reducer = sum }):dataset(ds):collect_map()
    assert.equal(5, got.s)
    assert.equal(1 / 0, 1 / got.z)
    assert.equal("integer", math.type(got.i))
    assert.equal(0.5, got.f)
  end)

  it("a mapper alone keeps order", function()
    local got = lb.job({ mapper = function(_, line, emit) emit(#line) end }):dataset(lb.from(lines)):collect()
    local want = {}
    for i, line in ipairs(lines) do want[i] = #line end
    assert.same(want, got)
  end)

  it("steps follow each other, and may leave the mapper out", function()
    local got = lb.job {
      steps = {
        { mapper = mapper, combiner = sum, reducer = sum },
        { mapper = function(_, n, emit) emit(n, 1) end, reducer = sum },
        { reducer = sum },
      },
    }:dataset(lb.from(lines)):collect()
    local want = {}
    for _, n in pairs(counts) do want[n] = (want[n] or 0) + 1 end
    assert.same(want, support.map(got))
  end)

  it("sorts values, also with several reducers", function()
    local got = lb.job {
      mapper = function(_, line, emit) emit(#line % 5, line) end,
      reducer = function(key, values, emit)
        local last, n = "", 0
        for v in values do
          if v < last then error("not sorted") end
          last, n = v, n + 1
        end
        emit(key, n)
      end,
      sort_values = true, reducers = 3,
    }:dataset(lb.from(lines)):collect()
    local total = 0
    for _, pair in ipairs(got) do total = total + pair[2] end
    assert.equal(#lines, total)
  end)

  it("a partitioner decides where keys go", function()
    local got = lb.job {
      mapper = function(_, n, emit) emit(n, n) end,
      reducer = function(key, values, emit) emit(key, values()) end,
      partitioner = function(key, n) return (key - key % 10) / 10 % n end,
      reducers = 4,
    }:dataset(lb.range(0, 39)):keys():collect()
    assert.same(lb.range(0, 39):collect(), got)
  end)

  it("tasks have init, a table of their own, and final", function()
    local got = lb.job {
      mapper_init = function(task) task.n = 0 end,
      mapper = function(_, _, _, task) task.n = task.n + 1 end,
      mapper_final = function(emit, task)
        if task.attempt ~= 1 or math.type(task.index) ~= "integer" then error("task is not filled") end
        emit("records", task.n)
      end,
      reducer_init = function(task) task.keys = 0 end,
      reducer = function(key, values, emit, task)
        task.keys = task.keys + 1
        local n = 0
        for v in values do n = n + v end
        emit(key, n)
      end,
      reducer_final = function(emit, task)
        if task.keys > 0 then emit("keys", task.keys) end
      end,
    }:dataset(lb.range(4321)):collect_map()
    assert.same({ records = 4321, keys = 1 }, got)
  end)

  it("options are seen by functions on the workers", function()
    lb.options.factor = 3
    core.options(lb.options)
    local got = lb.range(3):map(function(n) return n * lb.options.factor end):collect()
    assert.same({ 3, 6, 9 }, got)
  end)

  it("reads its arguments", function()
    local job = lb.job { mapper = mapper, options = { date = "today", limit = 5, strict = false, min_length = 1 } }
    local function none() return nil, "unknown" end
    local values, inputs = job:parse({ "a", "--date=2024-01-01", "--limit", "7", "--strict", "-", "--", "--b" }, none)
    assert.same({ date = "2024-01-01", limit = 7, strict = true, min_length = 1 }, values)
    assert.same({ "a", "-", "--b" }, inputs)
    values = job:parse({ "--no-strict", "--min-length=3", "--limit=2.5" }, none)
    assert.same({ date = "today", limit = 2.5, strict = false, min_length = 3 }, values)
    local _, message = job:parse({ "--limit=x" }, none)
    assert.equal("option --limit of the job: a number expected, got 'x'", message)
    _, message = job:parse({ "--date" }, none)
    assert.equal("option --date of the job wants a value", message)
    _, message = job:parse({ "--other" }, none)
    assert.equal("unknown", message)
  end)

  it("refuses what is no job", function()
    local function refused(t, text)
      local ok, message = pcall(lb.job, t)
      assert.is_false(ok)
      assert.truthy(message:find(text, 1, true), message)
    end
    refused({}, "neither a mapper nor a reducer")
    refused({ maper = mapper }, "did you mean 'mapper'?")
    refused({ mapper = 1 }, "function expected, got number")
    refused({ mapper = mapper, combiner = sum }, "has a combiner but no reducer")
    refused({ steps = {} }, "'steps' is empty")
    refused({ steps = { { mapper = mapper } }, mapper = mapper }, "stands beside 'steps'")
    refused({ steps = { { reducr = sum } } }, "step 1 of job has no option 'reducr'; did you mean 'reducer'?")
    refused({ mapper = mapper, options = { x = {} } }, "option 'x' has a table as default")
  end)
end)
