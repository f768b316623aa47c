-- Optimiser rules of rows: each makes the plan smaller, and no result, nor an error, depends on them.
local lb = require "luabatch"
local rules = require "luabatch.rules"
local sql_types = require "luabatch.sql_types"
local support = require "tests.lua.support"

-- The operators from the last node down, along first inputs.
local function chain(ds)
  local node, list = rules.optimise(ds._node), {}
  while node do
    list[#list + 1] = node.op
    node = node.inputs and node.inputs[1]
  end
  return table.concat(list, " ")
end

local function unoptimised(f)
  local optimise, prune = rules.optimise, rules.prune
  rules.optimise, rules.prune = function(node) return node end, function(node) return node end
  local ok, result = pcall(f)
  rules.optimise, rules.prune = optimise, prune
  return ok, result
end

-- Both ways give the same records, or both fail.
local function same_both_ways(make, what)
  local ok, expected = unoptimised(function() return make():collect() end)
  local fine, got = pcall(function() return make():collect() end)
  assert.equal(ok, fine, what .. ": " .. tostring(ok and got or expected and type(expected) == "table" and expected.message))
  if ok then assert.same(expected, got, what) end
end

local path
local function table_file()
  local lines = { "a,b,s,x" }
  for i = 1, 300 do
    local function maybe(v) return math.random(6) > 1 and v or "" end
    lines[i + 1] = ("%s,%s,%s,%s"):format(
      maybe(math.random(-5, 20)), maybe(math.random(0, 5)), maybe(support.word(3)), maybe(math.random(-40, 40) / 8 + 0.125)
    )
  end
  path = support.file(table.concat(lines, "\n") .. "\n", ".csv")
  return path
end

describe("rules of rows (seed " .. support.seed .. ")", function()
  setup(table_file)
  after_each(function()
    support.clean()
    table_file()
  end)

  it("compute constants", function()
    for text, wanted in pairs {
      ["a > 1 + 2 * 3"] = "a > 7", ["a > - (3)"] = "a > (-3)", ["s = 'it''s' || '!'"] = "s = 'it''s!'", ["1 / 0 is null"] = "true",
      ["a = 1 / 2"] = "a = 0.5", ["a + 'x' > 1"] = "a + 'x' > 1", ["cast('x' as int) = a"] = "cast('x' as int) = a",
      ["upper('a')in(s)"] = "'A'in(s)", ["if(1 < 2, a, b) > 0"] = "if(true, a, b) > 0", ["exp(1000) > a"] = "exp(1000) > a",
      ["case a when 1 + 1 then 2 + 2 end"] = "case a when 2 then 4 end", ["split('a', ',')[1]"] = "'a'",
      ["a and not (not true)"] = "a and true", ["case when lower('A')='a'then a end"] = "case when true then a end",
    } do
      assert.equal(wanted, sql_types.fold(text, { "a", "b", "s" }), text)
    end
    assert.equal("csv", chain(lb.csv(path):where "1 + 1 = 2"))
    assert.equal("a > 1", rules.optimise(lb.csv(path):where("a > 1 and 1 < 2")._node).sql)
  end)

  it("know what cannot fail", function()
    local names, types = { "i", "f", "s", "u" }, { i = "integer", f = "float", s = "string" }
    for text, wanted in pairs {
      ["i > 1"] = "boolean", ["f + i"] = "float", ["i / 2"] = "float", ["s || i"] = "string", ["u is null"] = "boolean",
      ["try_cast(u as int)"] = "integer", ["i > 1 and s like 'a%'"] = "boolean", ["coalesce(i, 0)"] = "integer",
      ["case when i > 1 then s end"] = "string", ["length(s)"] = "integer", ["i in (1, 2.5)"] = "boolean", ["u"] = "any",
    } do
      local kind, safe = sql_types.of(text, names, types)
      assert.equal(wanted, kind or "any", text)
      assert.is_true(safe, text)
    end
    for _, text in ipairs { "i + 1", "u > 1", "i > 's'", "cast(s as int)", "s rlike 'a'", "year(s)", "-i", "i and true", "abs(i)",
      "i in (1, s)", "case when i then 1 end", "least(i, s)", "printf('%d', s)", "s[1]", "lower(i)" } do
      assert.is_false(select(2, sql_types.of(text, names, types)), text)
    end
  end)

  it("push conditions down", function()
    local ds = lb.csv(path)
    assert.equal("select where csv", chain(ds:with_columns { c = "a / 2" }:where "b > 1"))
    assert.equal("where select where csv", chain(ds:with_columns { c = "a / 2" }:where "b > 1 and c > 2"))
    assert.equal("where select csv", chain(ds:with_columns { c = "a + 1" }:where "b > 1")) -- a + 1 may fail
    assert.equal("select where csv", chain(ds:rename { a = "z" }:where "z > 1"))
    assert.equal("z", rules.optimise(ds:rename { a = "z" }:where("z > 1")._node).names[1])
    assert.equal("a > 1", rules.optimise(ds:rename { a = "z" }:where("z > 1")._node).inputs[1].sql)
    assert.equal('b > 1 or a > 2', rules.optimise(ds:rename { a = "z" }:where('b > 1 or"z" > 2')._node).inputs[1].sql)
    assert.equal("union where csv", chain(ds:union(ds):where "a > 1"))
    assert.equal("order_by where csv", chain(ds:order_by("a"):where "b > 1"))
    assert.equal("where csv", chain(ds:where("a > 1"):where("b > 1"):drop_nil("s")))
    assert.equal("group where csv", chain(ds:group_by("b"):count():where "b > 1"))
    assert.equal("where group csv", chain(ds:group_by("b"):count():where "count > 1"))
    assert.equal("where group csv", chain(ds:group_by("b"):agg({ t = lb.sum "a" }):where "b > 1")) -- the sum may overflow
    assert.equal("where limit csv", chain(ds:limit(5):where "a > 1"))
    assert.equal("where sample csv", chain(ds:sample(0.5, 1):where "a > 1"))
    assert.equal("filter limit csv", chain(ds:limit(5):filter(function(r) return r.a end)))
    assert.equal("select filter csv", chain(ds:select("a", "b"):filter(function(r) return r.a end)))
    assert.equal("where cache csv", chain(lb.csv(path):cache():where "a > 1"))
    local other = lb.csv(path):select("b", { y = "x" })
    local join = rules.optimise(ds:join(other, { on = "b" }):where("a > 1 and y < 2 and a > y")._node)
    assert.same({ "where", "join_rows", "where", "select" },
      { join.op, join.inputs[1].op, join.inputs[1].inputs[1].op, join.inputs[1].inputs[2].op })
    assert.equal("where", join.inputs[1].inputs[2].inputs[1].op)
    assert.equal("a > y", join.sql)
    local left = rules.optimise(ds:join(other, { on = "b", how = "left" }):where("a > 1 and y < 2")._node)
    assert.same({ "y < 2", "where" }, { left.sql, left.inputs[1].inputs[1].op })
    assert.equal("where join_rows csv", chain(ds:join(other, { on = "b", how = "full" }):where "a > 1"))
    assert.equal("where join_rows csv", chain(ds:join(other, { on = "b" }):where "cast(s as int) > 1")) -- rows that match nothing
  end)

  it("merge selects, drop what nobody reads, and sort no more than is shown", function()
    local ds = lb.csv(path)
    assert.equal("select csv", chain(ds:with_columns { c = "a / 2" }:rename { c = "d" }:drop("b")))
    assert.equal("select csv", chain(ds:with_columns { c = "a / 2" }:select("s")))
    assert.equal("select select csv", chain(ds:with_columns { c = "a + 1" }:select("s"))) -- a + 1 may fail
    assert.equal("select select csv", chain(ds:with_columns { c = "a / 2" }:select("c", { d = "c * 2.0" })))
    assert.equal("select csv", chain(ds:rename { a = "z" }:with_columns { y = "z + 1", w = function(r) return r.b end }))
    assert.equal("top csv", chain(ds:order_by("a", lb.desc "b"):limit(3)))
    assert.equal("select top csv", chain(ds:order_by("a", lb.desc "b"):with_columns({ c = "a / 2" }):drop("b"):limit(3)))
    assert.equal("limit select csv", chain(ds:select("a"):limit(3)))
    local text = require("luabatch.explain").tree(rules.prune(rules.optimise(ds:with_columns({ c = "a / 2" }):group_by("b"):count()._node)))
    assert.matches("reads 1 of 4 columns: b", text, 1, true)
  end)

  -- Random plans.

  local random = math.random
  local function pick(list) return list[random(#list)] end

  local conditions = {
    "%s > 2", "%s is not null", "%s = 3 or %s < 1.5", "%s between 0 and 2 + 3", "%s + 1 > 2", "coalesce(%s, 0) <> 1", "%s in (1, 2, 2.125)",
    "try_cast(%s as integer) is null", "%s > 1 and %s < 10", "not (%s > 4)", "1 < 2", "%s * 2 >= 4 and %s is not null",
  }
  local computations = { "%s + 1", "%s / 2", "coalesce(%s, 7)", "%s * 0.5 + 1", "case when %s > 1 then %s end", "%s", "1 + 1" }

  -- Columns of numbers, by name; s stays apart.
  local function random_steps(names, n)
    local steps = {}
    local function number() return pick(names) end
    local function fill(text)
      return (text:gsub("%%s", function() return '"' .. number() .. '"' end))
    end
    for i = 1, n do
      local kind = random(11)
      local text, fresh, other = fill(pick(conditions)), "n" .. i, number()
      if kind <= 3 then
        steps[i] = function(ds) return ds:where(text) end
      elseif kind == 4 then
        text = fill(pick(computations))
        steps[i] = function(ds) return ds:with_columns { [fresh] = text } end
        names = { table.unpack(names) }
        names[#names + 1] = fresh
      elseif kind == 5 then
        steps[i] = function(ds) return ds:rename { [other] = fresh } end
        local changed = {}
        for j, name in ipairs(names) do changed[j] = name == other and fresh or name end
        names = changed
      elseif kind == 6 then
        steps[i] = function(ds) return ds:order_by(other, lb.desc "s") end
      elseif kind == 7 then
        local count = random(40)
        steps[i] = function(ds) return ds:order_by(other, lb.desc "s"):limit(count) end
      elseif kind == 8 and #names > 1 then
        local kept = {}
        for j = 1, #names - 1 do kept[j] = names[j] end
        local list = { "s", table.unpack(kept) }
        steps[i] = function(ds) return ds:select(table.unpack(list)) end
        names = kept
      elseif kind == 9 then
        steps[i] = function(ds) return ds:union(ds:where(text)) end
      elseif kind == 10 then
        steps[i] = function(ds) return ds:filter(function(r) return r.s ~= "a" end) end
      elseif kind == 11 then
        local how = pick { "inner", "left", "right", "semi", "anti" }
        steps[i] = function(ds) return ds:join(lb.csv(path):select({ s = "s", [fresh] = "a" }):limit(40), { on = "s", how = how }) end
        if how ~= "semi" and how ~= "anti" then
          names = { table.unpack(names) }
          names[#names + 1] = fresh
        end
      else
        steps[i] = function(ds) return ds:where(text) end
      end
    end
    return steps
  end

  it("change no result: 150 random plans", function()
    for number = 1, 150 do
      local steps = random_steps({ "a", "b", "x" }, random(2, 6))
      same_both_ways(function()
        local ds = lb.csv(path)
        for _, step in ipairs(steps) do ds = step(ds) end
        return ds
      end, "plan " .. number)
    end
  end)

  it("hide no error", function()
    local ds = lb.csv(path)
    for i, make in ipairs {
      function() return ds:with_columns({ c = "cast(s as int)" }):where "b = 1" end,
      function() return ds:with_columns({ c = "cast(s as int)" }):select("a") end,
      function() return ds:with_columns({ c = "cast(s as int)" }):group_by("b"):count() end,
      function() return ds:with_columns({ c = function(r) return r.s + 1 end }):where "b = 77" end,
      function() return ds:with_columns({ c = "a * 9223372036854775807" }):rename({ c = "d" }):where "b > 1" end,
      function() return ds:where("a > 100 and cast(s as int) > 1"):where "b > 1" end,
      function() return ds:where("b > 100"):where "cast(s as int) > 1" end,
      function() return ds:join(lb.from({ { b = 1000 } }):select("b"), { on = "b" }):where "cast(s as int) > 1" end,
    } do
      same_both_ways(make, "case " .. i)
    end
  end)
end)
