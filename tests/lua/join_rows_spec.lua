-- Joins of rows, against nested loops.
local lb = require "luabatch"
local support = require "tests.lua.support"

local function maybe(value) return math.random(6) > 1 and value or nil end

local function left_rows(n)
  return support.list(n, function(i) return { id = i, k = maybe(math.random(12)), name = support.word(3), v = i } end)
end
local function right_rows(n)
  return support.list(n, function(i) return { key = maybe(math.random(12)), v = -i, w = maybe(support.word(2)) } end)
end

-- What a join gives, in any order.
local function naive(how, left, right)
  local out, matched = {}, {}
  for _, l in ipairs(left) do
    local n = 0
    for j, r in ipairs(right) do
      if l.k ~= nil and l.k == r.key then
        n, matched[j] = n + 1, true
        if how ~= "semi" and how ~= "anti" then
          out[#out + 1] = { id = l.id, k = l.k, name = l.name, v = l.v, v_right = r.v, w = r.w }
        end
      end
    end
    local keep = how == "semi" and n > 0 or (how == "anti" or how == "left" or how == "full") and n == 0
    if keep then out[#out + 1] = l end
  end
  for j, r in ipairs(right) do
    if (how == "right" or how == "full") and not matched[j] then
      out[#out + 1] = { k = r.key, v_right = r.v, w = r.w }
    end
  end
  return out
end

local function texts(rows)
  local core = require "luabatch.core"
  local list = {}
  for i, row in ipairs(rows) do list[i] = core.format(row, "json") end
  table.sort(list)
  return list
end

describe("joins of rows (seed " .. support.seed .. ")", function()
  local left, right = left_rows(150), right_rows(120)

  for _, how in ipairs { "inner", "left", "right", "full", "semi", "anti" } do
    it(how, function()
      local wanted = texts(naive(how, left, right))
      for threads = 1, 3, 2 do
        support.with({ threads = threads }, function()
          local joined = lb.from(left):join(lb.from(right), { on = { left = "k", right = "key" }, how = how })
          assert.same(wanted, texts(joined:collect()))
        end)
      end
    end)
  end

  it("by several columns of the same names", function()
    local a = support.list(80, function(i) return { x = maybe(i % 4), y = support.word(2), a = i } end)
    local b = support.list(60, function(i) return { y = support.word(2), x = i % 5, b = i } end)
    local wanted = {}
    for _, p in ipairs(a) do
      for _, q in ipairs(b) do
        if p.x == q.x and p.y == q.y then wanted[#wanted + 1] = { x = p.x, y = p.y, a = p.a, b = q.b } end
      end
    end
    local joined = lb.from(a):join(lb.from(b), { on = { "x", "y" } })
    assert.same(texts(wanted), texts(joined:collect()))
    assert.same({ "a", "x", "y", "b" }, (function()
      local names = {}
      for i, column in ipairs(joined:schema()) do names[i] = column.name end
      return names
    end)())
    assert.same(texts(wanted), texts(lb.from(a):left_join(lb.from(b), { on = { "x", "y" } }):drop_nil("b"):collect()))
  end)

  it("cross", function()
    local a, b = { { x = 1 }, { x = 2 } }, { { x = "p" }, { x = "q" } }
    assert.same({ { x = 1, x_right = "p" }, { x = 1, x_right = "q" }, { x = 2, x_right = "p" }, { x = 2, x_right = "q" } },
      lb.from(a):join(lb.from(b), { how = "cross" }):collect())
  end)

  it("refuse wrong options", function()
    local function message(f) return tostring(select(2, pcall(f))) end
    local a, b = lb.from(left), lb.from(right)
    assert.matches("needs the option 'on'", message(function() a:join(b) end))
    assert.matches("there is no column 'kee'; did you mean 'key'", message(function()
      a:join(b, { on = { left = "k", right = "kee" } })
    end))
    assert.matches("bad option 'how'", message(function() a:join(b, { on = "v", how = "outer" }) end))
    assert.matches("names 2 and 1 columns", message(function()
      a:join(b, { on = { left = { "k", "v" }, right = "key" } })
    end))
  end)
end)
