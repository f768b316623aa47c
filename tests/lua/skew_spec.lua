-- Skew: whatever is split into whatever pieces, the records and their order are those without salt.
local lb = require "luabatch"
local support = require "tests.lua.support"
local ipairs, tostring, type = ipairs, tostring, type -- busted gives its functions an environment that does not travel

-- Half of the records have one key; some keys are nil, or a number of either kind, or a table.
local function key(hot)
  if math.random() < hot then return "hot" end
  local n = math.random(14)
  if n == 1 then return nil end
  if n == 2 then return 1.0 end
  if n == 3 then return 1 end
  if n == 4 then return { "list", 2 } end
  if n == 5 then return ("long"):rep(80) end
  return support.word(2)
end

local function show(k)
  return type(k) == "table" and "{list,2}" or type(k) == "number" and tostring(math.tointeger(k)) or tostring(k)
end

-- Pairs from a list of {key =, value =}, where the key may be nil.
local function dataset(list)
  return lb.from(list):map(function(r) return r.key, r.value end)
end

local function random_pairs(n, hot, mark)
  return support.list(n, function(i) return { n = i, key = key(hot), value = mark .. i } end)
end

local function texts(ds)
  local out = {}
  for i, record in ipairs(ds:collect()) do
    local parts = {}
    for k = 1, 3 do parts[k] = show(record[k]) end
    out[i] = table.concat(parts, " ")
  end
  return out
end

local salts = {
  { "auto", "auto" }, { "false", false }, { "1", 1 }, { "3", 3 }, { "1000", 1000 },
  { "function", function(k) if k == "hot" then return 5 end end },
  { "function of all", function(k) return type(k) == "string" and #k or 2 end },
}

-- Some of them, others each time.
local function some_salts()
  local picked = {}
  for _ = 1, 3 do picked[#picked + 1] = salts[math.random(#salts)] end
  return picked
end

local settings = { { threads = 1 }, { threads = 2 }, { threads = 3, memory = 2 * 1024 ^ 2 }, { threads = 4 } }

local function setting() return settings[math.random(#settings)] end

describe("salted joins (seed " .. support.seed .. ")", function()
  teardown(support.clean)

  local verbs = { "join", "left_join", "right_join", "full_join", "semi_join", "anti_join" }
  -- Rows of the left and the right dataset, and how many of them have the hot key: hot on the left, on the right, on both.
  local shapes = {
    { 300, 20, 0.7, 0.1 }, { 12, 300, 0.05, 0.8 }, { 90, 90, 0.6, 0.6 }, { 0, 50, 0, 0.5 }, { 50, 0, 0.5, 0 },
    { 60, 400, 0.5, 0.9 }, { 1, 200, 1, 0.9 },
  }

  for _, verb in ipairs(verbs) do
    it(verb .. " gives what it gives without salt, in that order", function()
      for _, shape in ipairs(shapes) do
        local left, right = random_pairs(shape[1], shape[3], "l"), random_pairs(shape[2], shape[4], "r")
        local partitions = math.random(3) == 1 and math.random(4) or nil
        local expected = support.with({ threads = 1 }, function()
          return texts(dataset(left)[verb](dataset(left), dataset(right), { salt = false, partitions = partitions }))
        end)
        for _, salt in ipairs(some_salts()) do
          local got = support.with(setting(), function()
            return texts(dataset(left)[verb](dataset(left), dataset(right), { salt = salt[2], partitions = partitions }))
          end)
          assert.are.same(expected, got, ("%s with salt %s"):format(verb, salt[1]))
        end
      end
    end)
  end

  it("agree with two loops", function()
    local left, right = random_pairs(200, 0.5, "l"), random_pairs(40, 0.5, "r")
    local expected = {}
    for _, l in ipairs(left) do
      for _, r in ipairs(right) do
        if l.key ~= nil and r.key ~= nil and show(l.key) == show(r.key) then
          expected[#expected + 1] = show(l.key) .. " " .. l.value .. " " .. r.value
        end
      end
    end
    local got = texts(dataset(left):join(dataset(right), { salt = 7 }))
    table.sort(expected)
    table.sort(got)
    assert.are.same(expected, got)
  end)

  it("split a large key by themselves, and write the parts of a directory that were asked for", function()
    local function left() return lb.range(support.size(60000)):map(function(i) return i % 10 == 0 and i or "hot", i end) end
    local function right() return lb.range(support.size(3000)):map(function(i) return i % 3 == 0 and i or "cold" .. i, -i end)
      :union(lb.from_pairs { { "hot", "a" }, { "hot", "b" } }) end
    local sums = {}
    for i, salt in ipairs { false, "auto", 4 } do
      for _, threads in ipairs { math.random(3) } do
        local path = support.path("/")
        support.with({ threads = threads }, function()
          left():left_join(right(), { salt = salt, partitions = 5 }):save_csv(path)
          right():right_join(left(), { salt = salt, partitions = 5 }):save_csv(path .. "turned/")
        end)
        for _, at in ipairs { path, path .. "turned/" } do
          local handle = assert(io.popen("cd '" .. at .. "' && ls && cat part-* | cksum"))
          local text = handle:read("a")
          handle:close()
          assert.are.equal(5, select(2, text:gsub("part%-", "")), at)
          local name = at == path and 1 or 2
          sums[name] = sums[name] or text
          assert.are.equal(sums[name], text, "salt " .. tostring(salt) .. " " .. i)
        end
      end
    end
  end)
end)

describe("salted reductions (seed " .. support.seed .. ")", function()
  teardown(support.clean)

  local function add(a, b) return a + b end
  local function join(a, b) return a .. b end -- not commutative
  local reductions = {
    sum = function(ds, o) return ds:reduce_by_key(add, o) end,
    max = function(ds, o) return ds:reduce_by_key(math.max, o) end,
    ["Lua function"] = function(ds, o)
      return ds:map_values(function(v) return "v" .. v end):reduce_by_key(function(a, b) return a < b and a or b end, o)
    end,
    ["mixed values"] = function(ds, o)
      return ds:map_values(function(v) return v % 5 == 0 and tostring(v) or v end):reduce_by_key(add, o)
    end,
    fold = function(ds, o) return ds:fold_by_key(7, add, o) end,
    aggregate = function(ds, o)
      return ds:aggregate_by_key({ n = 0, s = 0 }, function(s, v) return { n = s.n + 1, s = s.s + v } end,
        function(a, b) return { n = a.n + b.n, s = a.s + b.s } end, o):map_values(function(s) return s.n .. "/" .. s.s end)
    end,
    ["combine in order"] = function(ds, o)
      return ds:combine_by_key(function(v) return "," .. v end, function(s, v) return join(s, "," .. v) end, join, o)
    end,
  }

  for name, reduce in pairs(reductions) do
    it(name .. " gives what it gives without salt", function()
      for _, n in ipairs { 0, 1, 300, 1500 } do
        local list = support.list(n, function(i) return { key = i == 1 and "hot" or key(0.5), value = i } end)
        local expected = support.with({ threads = 1 }, function() return texts(reduce(dataset(list))) end)
        for _, salt in ipairs(some_salts()) do
          local got = support.with(setting(), function() return texts(reduce(dataset(list), { salt = salt[2] })) end)
          assert.are.same(expected, got, ("%s of %d records with salt %s"):format(name, n, salt[1]))
        end
      end
    end)
  end

  it("agg gives what it gives without salt", function()
    local lines = { "k,j,v" }
    for i = 1, 3000 do
      lines[#lines + 1] = ("%s,%d,%d"):format(math.random(2) == 1 and "hot" or "k" .. math.random(50), math.random(2), i)
    end
    local rows = lb.csv(support.file(table.concat(lines, "\n") .. "\n"))
    local aggregates = {
      n = lb.count(), total = lb.sum "v", least = lb.min "v", middle = lb.quantile("v", 0.5), kinds = lb.count_distinct "v",
      list = lb.collect_list "j", average = lb.avg "v", first = lb.first "v", spread = lb.stddev "v",
      mine = lb.aggregate {
        init = function() return 0 end, step = function(s, r) return s + r.v end, merge = function(a, b) return a + b end,
      },
    }
    for _, keys in ipairs { { "k" }, { "k", "j" } } do
      local function show_rows(options)
        local out = {}
        for i, row in ipairs(rows:group_by(table.unpack(keys)):agg(aggregates, options):collect()) do
          out[i] = table.concat({ row.k, tostring(row.j), row.n, row.total, row.least, row.middle, row.kinds,
            table.concat(row.list), row.average, row.first, row.spread, row.mine }, " ")
        end
        return out
      end
      local expected = support.with({ threads = 1 }, show_rows)
      for _, salt in ipairs { "auto", false, 4, function(k) return (type(k) == "table" and k[1] or k) == "hot" and 3 or nil end } do
        local got = support.with(setting(), function() return show_rows { salt = salt } end)
        assert.are.same(expected, got, "salt " .. tostring(salt))
      end
    end
  end)

  it("tell the keys that were split, and hot ones", function()
    local runtime = require "luabatch.runtime"
    local stages
    local function run(ds)
      local before = runtime.settings.on_run
      runtime.settings.on_run = function(_, info) stages = info.stages end
      local ok, message = pcall(ds.count, ds)
      runtime.settings.on_run = before
      assert(ok, message)
      local split, hot = {}, {}
      for _, stage in ipairs(stages) do
        for _, operator in ipairs(stage.operators) do
          for _, one in ipairs(operator.facts and operator.facts.split or {}) do split[#split + 1] = one end
          for _, one in ipairs(operator.facts and operator.facts.hot or {}) do hot[#hot + 1] = one end
        end
      end
      return split, hot
    end
    local function only_hot(k) return k == "hot" and 4 or nil end
    local function numbers(n) return lb.range(n):map(function(i) return i % 4 == 0 and i or "hot", i end) end
    local n = support.size(60000, 12000)
    support.with({ threads = 2 }, function()
      local split, hot = run(numbers(n):join(lb.from_pairs { { "hot", 1 }, { 8, 2 } }))
      assert.equal("hot", split[1].key)
      assert.equal(n * 3 / 4 + 1, split[1].rows)
      assert.is_true(split[1].pieces > 4)
      assert.equal("hot", hot[1].key)
      assert.is_true(hot[1].rows > n * 2 / 3 and hot[1].rows < n * 5 / 6, hot[1].rows)
      split = run(lb.from_pairs { { "hot", 1 }, { 8, 2 } }:join(numbers(900), { salt = only_hot }))
      assert.same({ { key = "hot", pieces = 4, rows = 676 } }, split)
      split = run(numbers(n):join(lb.from_pairs { { "hot", 1 }, { 8, 2 } }, { salt = false }))
      assert.same({}, split)
      split = run(numbers(10 * n):reduce_by_key(function(a, b) return a < b and b or a end, { salt = only_hot }))
      assert.equal("hot", split[1].key)
      assert.is_true(split[1].pieces > 1)
    end)
  end)
end)

describe("hot_keys", function()
  teardown(support.clean)

  it("gives the heaviest keys of pairs, counted exactly", function()
    local list, counts = {}, {}
    for i = 1, 2000 do
      local k = math.random(3) == 1 and "hot" or math.random(2) == 1 and math.random(30) or support.word(2)
      list[i] = { k, i }
      counts[k] = (counts[k] or 0) + 1
    end
    local expected = {}
    for k, n in pairs(counts) do expected[#expected + 1] = { -n, k } end
    expected = support.sorted(expected)
    for _, settings_of in ipairs(settings) do
      local got = support.with(settings_of, function() return lb.from_pairs(list):hot_keys(10) end)
      assert.equal(10, #got)
      for i = 1, 10 do assert.same({ expected[i][2], -expected[i][1] }, { got[i][1], got[i][2] }) end
    end
    assert.same({}, lb.from_pairs(list):hot_keys(0))
    assert.same({}, lb.from_pairs({}):hot_keys(5))
  end)

  it("takes columns of rows", function()
    local rows = lb.csv(support.file("a,b\nx,1\ny,1\nx,2\nx,1\n"))
    assert.same({ { "x", 3 }, { "y", 1 } }, rows:hot_keys(5, "a"))
    assert.same({ { { "x", 1 }, 2 }, { { "x", 2 }, 1 } }, rows:hot_keys(2, "a", "b"))
    assert.has_error(function() rows:hot_keys(2) end)
    assert.has_error(function() lb.from_pairs({ { 1, 2 } }):hot_keys(2, "a") end)
  end)
end)

describe("the option salt", function()
  local function message(f)
    local ok, text = pcall(f)
    assert.is_false(ok)
    return tostring(text)
  end
  local ds = lb.from_pairs { { "a", 1 }, { "a", 2 }, { "b", 3 } }

  it("is checked", function()
    for _, bad in ipairs { "much", 0, -1, 1.5, true, {} } do
      for _, call in ipairs {
        function() return ds:join(ds, { salt = bad }) end,
        function() return ds:reduce_by_key(math.max, { salt = bad }) end,
        function() return ds:aggregate_by_key(0, math.max, math.max, { salt = bad }) end,
      } do
        assert.truthy(message(call):find("'auto', false, a positive integer or a function of the key expected", 1, true))
      end
    end
    assert.truthy(message(function() return ds:join(ds, { slat = 3 }) end):find("did you mean 'salt'", 1, true))
  end)

  it("tells what its function gave or raised, and for which key", function()
    local text = message(function() return ds:join(ds, { salt = function() return "many" end }):collect() end)
    assert.truthy(text:find("the function gave many", 1, true), text)
    assert.truthy(text:find("salt of join", 1, true), text)
    assert.truthy(text:find('key "[ab]"'), text)
    text = message(function() return ds:join(ds, { salt = function(k) return k.x.y end }):collect() end)
    assert.truthy(text:find("skew_spec.lua", 1, true), text)
  end)
end)
