-- explain: what is told of plans, and of each function in them.
local lb = require "luabatch"
local display = require "luabatch.display"
local support = require "tests.lua.support"

-- The text with this file's name shortened and the input's left out.
local function explain(ds, mode, path)
  local text = display.plan(ds._node, mode)
  if path then text = text:gsub(path:gsub("%p", "%%%0"), "FILE") end
  return (text:gsub("[^%s(]*explain_spec%.lua:%d+", "HERE"))
end

describe("explain", function()
  after_each(support.clean)

  it("shows rows: columns, conditions, functions and what they read", function()
    local path = support.file("id,item,price\n1,a,2.5\n2,b,3.5\n", ".csv")
    local ds = lb.csv(path):with_columns { twice = "price * (1 + 1)", first = function(r) return r.item:sub(1, 1) end }
      :filter(function(r) return r.id ~= nil end):group_by("first"):agg { n = lb.count(), t = lb.sum "twice" }
      :order_by(lb.desc "n", "first"):limit(3)
    assert.equal([[
logical plan
  limit n=3
    order_by by n desc, first
      group (agg) by first of n = count(), t = sum(twice)
        filter lua (HERE) reads id
          select (with_columns) id, item, price, first = lua (HERE) reads item, twice = price * (1 + 1)
            csv FILE reads 3 of 3 columns: id, item, price]], explain(ds, "logical", path))
    assert.equal([[
optimised plan
  top (order_by) n=3 by n desc, first
    group (agg) by first of n = count(), t = sum(twice)
      filter lua (HERE) reads id
        select (with_columns) id, first = lua (HERE) reads item, twice = price * 2
          csv FILE reads 3 of 3 columns: id, item, price]], explain(ds, "optimized", path))
    assert.equal([[
stages
stage 1
  scan.csv         csv
  | lua.compute      with_columns
  | compute          with_columns
  | project
  | lua.filter       filter
  => group            agg
stage 2
  scan.group       agg
  => top              order_by
stage 3
  scan.store
  => store]], explain(ds, "stages", path))
    assert.equal(explain(ds, "all", path), explain(ds, "all", path))
    local text = explain(lb.csv(path):filter(function(r) return next(r) end), "logical")
    assert.matches("filter lua (HERE) reads the whole row", text, 1, true)
    assert.matches("filter lua (HERE) reads nothing", explain(lb.csv(path):filter(function() return true end), "logical"), 1, true)
  end)

  it("says what runs as a kernel", function()
    local pairs_of = lb.from_pairs { { "a", 1 } }
    local text = explain(pairs_of:reduce_by_key(function(a, b) return a + b end):map_values(function(v) return v + 1 end), "optimised")
    assert.equal("optimised plan\n  map_values lua (HERE)\n    reduce_by_key kernel sum (HERE)\n      list 1 records", text)
    text = explain(pairs_of:reduce_by_key(function(a, b) return a .. b end), "optimised")
    assert.matches("reduce_by_key lua (HERE)", text, 1, true)
    local ds = pairs_of:combine_by_key(function(v) return v end, function(a, v) return a + v end, math.max)
    text = explain(ds, "logical")
    assert.matches("create lua (HERE) merge_value lua (HERE) merge_combiners lua (a C function)", text, 1, true)
    assert.matches("sort_by_key", explain(lb.range(3):sort_by(function(n) return n end), "optimised"))
  end)

  it("cuts long lists, and knows its modes", function()
    local names = {}
    for i = 1, 60 do names[i] = "c" .. i end
    local text = explain(lb.csv(support.file(table.concat(names, ",") .. "\n", ".csv")), "logical")
    assert.matches("reads 60 of 60 columns: c1, .* c30 and 30 more", text)
    assert.is_false(pcall(function() lb.range(1):explain("all the rest") end))
  end)
end)
