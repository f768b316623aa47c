-- Joins of pairs and cogroup, against nested loops.
local lb = require "luabatch"
local support = require "tests.lua.support"
local tonumber = tonumber -- busted gives its functions an environment that does not travel

-- Some keys are nil, some of another type than their equal; keys of few letters meet often.
local function key()
  local n = math.random(14)
  if n == 1 then return nil end
  if n == 2 then return 1.0 end
  if n == 3 then return 1 end
  if n == 4 then return { "list", 2 } end
  return support.word(2)
end

-- A list of {key, value} where the key may be nil.
local function random_pairs(n, mark)
  return support.list(n, function(i) return { n = i, key = key(), value = mark .. i } end)
end

local function dataset(list)
  local ds = lb.from(list)
  return ds:map(function(r) return r.key, r.value end)
end

local function same_key(a, b)
  if type(a) == "table" and type(b) == "table" then return a[1] == b[1] and a[2] == b[2] end
  return a ~= nil and a == b
end

local function show(k)
  return type(k) == "table" and "{list,2}" or tostring(k)
end

-- The joins by two loops, as sorted texts.
local function naive(kind, left, right)
  local out, matched = {}, {}
  for _, l in ipairs(left) do
    local found = false
    for j, r in ipairs(right) do
      if same_key(l.key, r.key) then
        found = true
        matched[j] = true
        if kind ~= "semi" and kind ~= "anti" then out[#out + 1] = show(l.key) .. " " .. l.value .. " " .. r.value end
      end
    end
    if kind == "semi" and found or kind == "anti" and not found then out[#out + 1] = show(l.key) .. " " .. l.value end
    if not found and (kind == "left" or kind == "full") then out[#out + 1] = show(l.key) .. " " .. l.value .. " nil" end
  end
  if kind == "right" or kind == "full" then
    for j, r in ipairs(right) do
      if not matched[j] then out[#out + 1] = show(r.key) .. " nil " .. r.value end
    end
  end
  table.sort(out)
  return out
end

local verbs = {
  inner = "join", left = "left_join", right = "right_join", full = "full_join", semi = "semi_join", anti = "anti_join",
}

describe("joins of pairs", function()
  after_each(support.clean)

  for kind, verb in pairs(verbs) do
    it(verb .. " is what two loops give, whatever the threads", function()
      for _, sizes in ipairs { { 300, 200 }, { 0, 20 }, { 20, 0 }, { 5, 400 }, { 400, 5 } } do
        local left, right = random_pairs(sizes[1], "l"), random_pairs(sizes[2], "r")
        local want = naive(kind, left, right)
        local first
        for _, threads in ipairs { 1, 4 } do
          local got = support.with({ threads = threads }, function()
            local ds = dataset(left)
            return ds[verb](ds, dataset(right)):collect()
          end)
          first = first or got
          assert.same(first, got)
          local texts = {}
          for i, record in ipairs(got) do
            texts[i] = show(record[1]) .. " " .. tostring(record[2])
            if kind ~= "semi" and kind ~= "anti" then texts[i] = texts[i] .. " " .. tostring(record[3]) end
          end
          table.sort(texts)
          assert.same(want, texts, "LB_SEED=" .. support.seed)
        end
      end
    end)
  end

  it("keep the order of the left records of a key, and of the right ones for each", function()
    local left = lb.range(1, 50):map(function(i) return "k", i end)
    local right = lb.range(1, 40):map(function(i) return "k", -i end)
    local got = left:join(right):collect()
    assert.equal(2000, #got)
    local n = 0
    for i = 1, 50 do
      for j = 1, 40 do
        n = n + 1
        assert.same({ "k", i, -j }, got[n])
      end
    end
  end)

  it("hold one key's right side on disk when it is large", function()
    local left = lb.range(1, 3):map(function(i) return "k", i end)
    local right = lb.range(1, 60000):map(function(i) return "k", ("%060d"):format(i) end)
    local count = support.with({ memory = 8 * 1024 ^ 2, threads = 2 }, function()
      return left:join(right):filter(function(_, l, r) return tonumber(r) % 1000 == l end):count()
    end)
    assert.equal(180, count)
  end)

  it("put values of several columns into lists", function()
    local left = lb.from_pairs { { "a", 1 } }:map(function(k, v) return k, v, v + 1 end)
    local right = lb.from_pairs { { "a", "x" } }
    assert.same({ { "a", { 1, 2 }, "x" } }, left:join(right):collect())
  end)

  it("name a wrong argument", function()
    local ds = lb.from_pairs { { 1, 2 } }
    assert.has_error(function() ds:join(3) end, "bad argument 'other' to join (dataset expected, got 3)")
    assert.has_error(function() ds:cogroup() end, "bad argument 'other' to cogroup (dataset expected, got nil)")
  end)
end)

describe("cogroup", function()
  it("gives the lists of all datasets, empty ones too", function()
    local a, b, c = support.pairs(200, 30), support.pairs(100, 40), support.pairs(0)
    local want = {}
    for i, list in ipairs { a, b, c } do
      for _, pair in ipairs(list) do
        want[pair[1]] = want[pair[1]] or { {}, {}, {} }
        table.insert(want[pair[1]][i], pair[2])
      end
    end
    local got = {}
    for _, record in ipairs(lb.from_pairs(a):cogroup(lb.from_pairs(b), lb.from_pairs(c)):collect()) do
      got[record[1]] = { record[2], record[3], record[4] }
    end
    assert.same(want, got)
  end)
end)
