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
        for _, salt in ipairs(salts) do
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
    local function left() return lb.range(60000):map(function(i) return i % 10 == 0 and i or "hot", i end) end
    local function right() return lb.range(3000):map(function(i) return i % 3 == 0 and i or "cold" .. i, -i end)
      :union(lb.from_pairs { { "hot", "a" }, { "hot", "b" } }) end
    local sums = {}
    for i, salt in ipairs { false, "auto", 4 } do
      for _, threads in ipairs { 1, 3 } do
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
