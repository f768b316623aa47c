-- The planner: rules that rewrite plans, caches, explain, settings.
local lb = require "luabatch"
local rules = require "luabatch.rules"
local plan = require "luabatch.plan"
local runtime = require "luabatch.runtime"
local support = require "tests.lua.support"

local function optimised(ds)
  return rules.optimise(ds._node)
end

describe("rules", function()
  it("cut text while it is read", function()
    local node = optimised(lb.text("x"):words())
    assert.equal("text", node.op)
    assert.equal("words", node.mode)
    node = optimised(lb.text("x"):field(3, "\t"))
    assert.same({ "text", "field", 3, "\t" }, { node.op, node.mode, node.n, node.sep })
    assert.equal("words", optimised(lb.text("x"):words():words()).op)
  end)

  it("merge limits, projections, unions, repartitions, distincts", function()
    assert.equal(3, optimised(lb.range(9):limit(5):limit(3):limit(7)).n)
    local node = optimised(lb.from_pairs({ { 1, 2 } }):swap():keys())
    assert.same({ 2 }, node.picks)
    assert.equal("list", node.inputs[1].op)
    assert.equal("list", optimised(lb.from_pairs({ { 1, 2 } }):swap():swap()).op)
    assert.equal(3, #optimised(lb.range(1):union(lb.range(2):union(lb.range(3)))).inputs)
    assert.equal("range", optimised(lb.range(1):coalesce(2):repartition(3)).inputs[1].op)
    assert.equal("range", optimised(lb.range(1):distinct():distinct()).inputs[1].op)
  end)

  it("know the identity function from others", function()
    assert.is_true(rules.is_identity(function(x) return x end))
    assert.is_true(rules.is_identity(function(line)

      return line
    end))
    assert.is_false(rules.is_identity(function(x) return (x) , nil end))
    assert.is_false(rules.is_identity(function(_, y) return y end))
    assert.is_false(rules.is_identity(function(...) return ... end))
    assert.is_false(rules.is_identity(function() return 1 end))
    assert.is_false(rules.is_identity(tostring))
    local n = 1
    assert.is_false(rules.is_identity(function() return n end))
  end)

  it("do not sort for the first few", function()
    assert.equal("top", optimised(lb.range(9):sort_by():limit(3)).op)
    assert.equal("limit", optimised(lb.range(9):sort_by():limit(100000)).op)
  end)

  it("make adding reducers native only where any order of adding was allowed", function()
    local function sum(key, values, emit)
      local n = 0
      for v in values do n = n + v end
      emit(key, n)
    end
    local function pass(key, value, emit) emit(key, value) end
    local with = lb.job({ mapper = pass, combiner = sum, reducer = sum }):dataset(lb.range(1))
    local without = lb.job({ mapper = pass, reducer = sum }):dataset(lb.range(1))
    assert.equal("sum_by_key", optimised(with).op)
    assert.equal("groups", optimised(without).op)
  end)

  it("leave the datasets as they were", function()
    local ds = lb.range(9):limit(5)
    local longer = ds:limit(3)
    optimised(longer)
    assert.equal(5, ds:count())
    assert.equal(3, longer:count())
  end)
end)

describe("cache", function()
  it("computes once, until uncache", function()
    local seen = lb.counter "cache_seen"
    local before = seen:value()
    local ds = lb.range(100):map(function(n)
      seen:add(1)
      return n
    end):cache()
    local even = ds:filter(function(n) return n % 2 == 0 end)
    assert.equal(100, ds:count())
    assert.equal(50, even:count())
    assert.equal(5050, ds:sum())
    assert.same(lb.range(100):collect(), ds:collect())
    assert.equal(100, seen:value() - before)
    ds:uncache()
    assert.equal(100, ds:count())
    assert.equal(50, even:count())
    assert.equal(300, seen:value() - before)
  end)

  it("is filled by an action on what stands on it, used twice", function()
    local base = lb.range(10):cache()
    assert.equal(20, base:union(base):count())
    assert.truthy(base._node.cache.store)
    assert.equal(100, base:cartesian(base):count())
  end)
end)

describe("explain", function()
  it("shows the three plans", function()
    local display = require "luabatch.display"
    local ds = lb.range(3):map(function(n) return n end):limit(2):limit(1)
    local text = display.plan(ds._node, "all")
    for _, part in ipairs { "logical plan", "optimised plan", "stages", "limit n=2", "limit n=1", "map lua (" } do
      assert.truthy(text:find(part, 1, true), part)
    end
    assert.is_nil(display.plan(ds._node, "optimised"):find("n=2", 1, true))
  end)

  it("builds nodes whose inputs come first", function()
    local ds = lb.range(3):map(function(n) return n, n end)
    local description = plan.build(ds:subtract_by_key(ds):distinct():sort_by():cartesian(ds)._node, function(b, stream)
      return b:add { op = "count", inputs = { stream }, result = true }
    end)
    for i, node in ipairs(description.nodes) do
      for _, input in ipairs(node.inputs or {}) do assert.is_true(input < i) end
    end
  end)
end)

describe("settings", function()
  it("sizes", function()
    local sizes = {
      ["128M"] = 128 * 2 ^ 20, ["2G"] = 2 ^ 31, ["1.5G"] = 1.5 * 2 ^ 30, ["64K"] = 65536, ["1000"] = 1000, ["64KiB"] = 65536,
      ["1gb"] = 2 ^ 30,
    }
    for text, bytes in pairs(sizes) do assert.equal(bytes, runtime.parse_size(text)) end
    for _, text in ipairs { "", "x", "-1", "12Q", "0", "G" } do assert.is_nil(runtime.parse_size(text)) end
  end)

  it("threads and memory hold for a run", function()
    local n = support.with({ threads = 1, memory = 64 * 2 ^ 20 }, function() return lb.range(1000):count() end)
    assert.equal(1000, n)
  end)
end)

describe("partitions", function()
  after_each(support.clean)

  local function parts(ds, verb)
    local path = support.path "/"
    ds[verb or "save_text"](ds, path)
    local n = 0
    for name in io.popen("ls '" .. path .. "'"):lines() do
      if name:find("^part%-") then n = n + 1 end
    end
    return n
  end

  local function first(n) return n end
  local function add(a, b) return a + b end
  local pairs_ = lb.range(1000):key_by(function(n) return n % 100 end)

  it("coalesce(1) is one, in input order", function()
    local one = lb.range(20000):map(first):coalesce(1)
    assert.equal(1, one:map_partitions(function(_, emit) emit(1) end):count())
    assert.same(lb.range(20000):collect(), one:collect())
    assert.equal(1, parts(one))
  end)

  it("that were asked for are the parts of a directory", function()
    assert.equal(5, parts(pairs_:repartition(5)))
    assert.equal(5, parts(pairs_:coalesce(5), "save"))
    assert.equal(7, parts(pairs_:partition_by(7)))
    assert.equal(6, parts(pairs_:reduce_by_key(add, { partitions = 6 })))
    assert.equal(3, parts(pairs_:group_by_key { partitions = 3 }))
    assert.equal(3, parts(pairs_:keys():value_counts { partitions = 3 }))
    assert.equal(4, parts(pairs_:distinct { partitions = 4 }))
    assert.equal(4, parts(pairs_:distinct():distinct { partitions = 4 }))
    assert.equal(4, parts(pairs_:join(pairs_, { partitions = 4 })))
    assert.equal(4, parts(pairs_:cogroup(pairs_, { partitions = 4 })))
    assert.equal(4, parts(pairs_:subtract(pairs_, { partitions = 4 })))
    assert.equal(2, parts(pairs_:reduce_groups(function(key, _, emit) emit(key, 1) end, { partitions = 2 })))
  end)

  it("are the parts of a job's directory", function()
    local function pass(key, value, emit) emit(key or value, 1) end
    local function sum(key, values, emit)
      local n = 0
      for v in values do n = n + v end
      emit(key, n)
    end
    assert.equal(26, parts(lb.job({ mapper = pass, combiner = sum, reducer = sum, reducers = 26 }):dataset(pairs_)))
    assert.equal(26, parts(lb.job({ mapper = pass, reducer = sum, reducers = 26 }):dataset(pairs_)))
    assert.equal(64, parts(lb.job({ mapper = pass, reducer = sum, partitioner = function(key) return key end })
      :dataset(pairs_)))
  end)

  it("stay through narrow verbs and end with wide ones", function()
    local five = pairs_:repartition(5)
    assert.equal(5, parts(five:map(function(k, v) return v, k end):filter(function(v) return v < 3 end)))
    assert.equal(5, parts(five:keys():map(tostring):words():cache():uncache()))
    assert.equal(5, parts(five:swap():map_values(first):sample(0.5)))
    assert.equal(1, parts(five:limit(10)))
    assert.equal(1, parts(five:reduce_by_key(add)))
  end)
end)

describe("deep plans", function()
  local function seconds(make, n)
    local ds = make(n)
    collectgarbage()
    local begin = os.clock()
    plan.build(ds._node, function(b, stream) return b:add { op = "count", inputs = { stream }, result = true } end)
    return os.clock() - begin
  end

  -- Eight times the steps may take some more than eight times as long; before, it was fifty times.
  local function is_linear(make)
    local small = math.huge
    for _ = 1, 3 do small = math.min(small, seconds(make, 500)) end
    local large = math.min(seconds(make, 4000), seconds(make, 4000))
    assert.is_true(large <= 24 * small + 0.1, ("%.3f s, %.3f s"):format(small, large))
  end

  it("take as long as they are", function()
    local pass = require "luabatch.builtin".first
    for _, fn in ipairs { function(n) return n + 1 end, pass } do
      is_linear(function(n)
        local ds = lb.range(3)
        for _ = 1, n do ds = ds:map(fn) end
        return ds
      end)
    end
  end)

  it("of unions, whichever side grows, keep their order", function()
    for _, grows_left in ipairs { true, false } do
      local function make(n)
        local ds = lb.range(1)
        for i = 2, n do
          local one = lb.range(i, i)
          ds = grows_left and ds:union(one) or one:union(ds)
        end
        return ds
      end
      is_linear(make)
      local records = make(50):collect()
      for i = 1, 50 do assert.equal(grows_left and i or 51 - i, records[i]) end
    end
  end)
end)
