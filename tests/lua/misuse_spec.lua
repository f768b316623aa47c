-- What is wrong is said at the caller's line, and names what is nearest.
local lb = require "luabatch"
local support = require "tests.lua.support"
local suggest = require "luabatch.suggest"
local select = select -- busted gives its functions an environment that does not travel

-- The message of a call that must fail, which must stand at this file.
local function message(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.truthy(tostring(err):find("misuse_spec.lua:%d+: "), tostring(err))
  return (tostring(err):gsub("^.*misuse_spec.lua:%d+: ", ""))
end

describe("misuse", function()
  local ds = lb.range(3)

  it("names argument, verb, and what was wanted", function()
    assert.equal("bad argument 'f' to map (function expected, got nil)", message(function() ds:map() end))
    assert.equal("bad argument 'n' to limit (integer expected, got string)", message(function() ds:limit("x") end))
    assert.equal("bad argument 'n' to limit (integer of at least 0 expected, got -1)", message(function() ds:limit(-1) end))
    assert.equal("bad argument 'other' to subtract (dataset expected, got table)",
      message(function() ds:subtract({}) end))
    assert.equal("bad argument 'path' to text (string or list of strings expected, got nil)",
      message(function() lb.text() end))
    assert.equal("bad argument 'n' to range (integer expected, got 1.5)", message(function() lb.range(1.5) end))
    assert.equal("bad argument 'fraction' to sample (number from 0 to 1 expected, got 2)",
      message(function() ds:sample(2) end))
    assert.truthy(message(function() ds:grep("[") end):find("bad argument 'pattern' to grep", 1, true))
  end)

  it("is at the line of the call", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local _, err = pcall(function() ds:filter(1) end)
    assert.truthy(tostring(err):find("misuse_spec.lua:" .. line .. ":", 1, true))
  end)

  it("names what cannot be a value", function()
    local text = message(function() lb.from { { items = { 1, { callback = print } } } } end)
    assert.truthy(text:find("items[2].callback is a function", 1, true), text)
  end)

  it("suggests verbs, functions and options", function()
    assert.equal("a dataset has no verb 'grup_by_key'; did you mean 'group_by_key'?",
      message(function() ds:grup_by_key() end))
    assert.equal("a dataset has no verb 'colect'; did you mean 'collect'?", message(function() ds:colect() end))
    assert.equal("luabatch has no function 'txt'; did you mean 'text'?", message(function() lb.txt() end))
    assert.equal("sort_by has no option 'dsc'; did you mean 'desc'?",
      message(function() ds:sort_by(nil, { dsc = true }) end))
    assert.equal("bad option 'mode' of save_text ('error', 'overwrite', 'append', 'ignore' expected, got 'over')",
      message(function() ds:save_text("x", { mode = "over" }) end))
    assert.equal("a dataset has no verb 'qqqqqq'", message(function() ds:qqqqqq() end))
  end)

  it("finds the nearest name", function()
    assert.equal("threads", suggest.nearest("treads", { "memory", "threads" }))
    assert.equal("sort_by_key", suggest.nearest("sortbykey", { "sort_by", "sort_by_key" }))
    assert.equal("value_counts", suggest.nearest("value_count", { "value_counts", "values" }))
    assert.is_nil(suggest.nearest("zebra", { "map", "filter" }))
  end)

  it("verbs by key need pairs, helpers on text need text", function()
    local function f(a) return a end
    local pair = lb.from_pairs { { 1, 2 } }
    local calls = {
      reduce_by_key = { f }, fold_by_key = { 0, f }, aggregate_by_key = { 0, f, f }, combine_by_key = { f, f, f },
      group_by_key = {}, reduce_groups = { f }, subtract_by_key = { pair }, count_by_key = {}, join = { pair },
      left_join = { pair }, right_join = { pair }, full_join = { pair }, semi_join = { pair }, anti_join = { pair },
      cogroup = { pair }, map_values = { f }, flat_map_values = { f }, swap = {}, values = {}, keys = {},
      collect_map = {}, lookup = { 1 }, sort_by_key = {},
    }
    for verb, arguments in pairs(calls) do
      assert.equal(verb .. " needs pairs: map to key, value first",
        message(function() local _ = ds[verb](ds, table.unpack(arguments)) end))
    end
    assert.equal("join needs pairs: map to key, value first", message(function() local _ = pair:join(ds) end))
    assert.equal("cogroup needs pairs: map to key, value first", message(function() local _ = pair:cogroup(ds) end))
    assert.equal(0, pair:subtract_by_key(lb.range(1)):count())
    for verb, arguments in pairs { words = {}, fields = { "," }, field = { 1 }, grep = { "x" }, lower = {} } do
      assert.equal(verb .. " needs text: one string a record",
        message(function() local _ = pair[verb](pair, table.unpack(arguments)) end))
    end
  end)

  it("a dot instead of a colon, and setting fields", function()
    assert.equal("map is a method: call it with ':', as in ds:map(...)", message(function() local _ = ds.map(print) end))
    assert.equal("count is a method: call it with ':', as in ds:count(...)", message(function() local _ = ds.count() end))
    assert.equal("a dataset is immutable; 'foo' cannot be set", message(function() ds.foo = 3 end))
  end)

  it("lists have no other keys", function()
    assert.equal("bad argument 'list' to from (a list has no key \"a\")", message(function() lb.from { a = 1 } end))
    assert.equal("bad argument 'list' to from_pairs (a list has no key \"a\")",
      message(function() lb.from_pairs { a = 1 } end))
    assert.equal("bad argument 'list' to from (a list has no key 0)", message(function() lb.from { [0] = "x", "y" } end))
    assert.equal("bad argument 'list' to from (a list has no key 5)", message(function() lb.from { 1, [5] = 1 } end))
    assert.equal(3, lb.from(table.pack(nil, 2, nil)):count())
  end)

  it("a pair may have nil as its value", function()
    local with_nil = lb.from_pairs { { "a", nil }, { "b", 1 } }
    assert.same({ 2, 2 }, with_nil:map(function(...) return select("#", ...) end):collect())
    assert.same({ b = 1 }, with_nil:collect_map())
    assert.same({ { "a", nil }, { "b", 1 } }, with_nil:filter(function() return true end):collect())
  end)

  it("functions that assign to what they capture are refused", function()
    local n = 0
    local ok, err = pcall(function() ds:foreach(function() n = n + 1 end) end)
    assert.is_false(ok)
    assert.truthy(tostring(err):find("'n'", 1, true))
    assert.truthy(tostring(err):find("counter", 1, true))
    assert.equal(0, n)
  end)

  it("an error in a function names its line, the verb and the record", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local ok, err = pcall(function() lb.from({ 1, {}, 3 }):map(function(v) return v + 1 end):collect() end)
    assert.is_false(ok)
    assert.equal(1, err.status)
    local text = tostring(err)
    local what = support.has_integers and "a table value (local 'v')" or "local 'v' (a table value)"
    assert.truthy(text:find("misuse_spec.lua:" .. line .. ": attempt to perform arithmetic on " .. what, 1, true), text)
    assert.truthy(text:find("in map", 1, true), text)
  end)

  it("verbs of pairs do not take rows", function()
    local rows = lb.from { { a = 1, b = 2 } }
    for _, verb in ipairs { "keys", "values", "swap", "group_by_key", "sort_by_key", "collect_map", "count_by_key" } do
      local ok, err = pcall(function() return rows[verb](rows) end)
      assert.is_false(ok)
      assert.matches("misuse_spec.lua:%d+: " .. verb .. " needs pairs, and these are rows; make pairs with key_by or map", err)
    end
    assert.same({ 2 }, rows:key_by(function(row) return row.a end):map_values(function(row) return row.b end):values():collect())
  end)

  it("an argument too many, a string where a function is wanted, a name from elsewhere", function()
    local rows = lb.from { { a = 1, b = "x" } }
    for want, call in pairs {
      ["rename takes one argument, got 2"] = function() rows:rename({ a = "c" }, {}) end,
      ["count takes no argument, got 1"] = function() rows:count("a") end,
      ["sum takes one column; conditions go into it"] = function() lb.sum("a", "a > 1") end,
      ["sum: of which column? sum(\"a\")"] = function() rows:sum() end,
      ["sort_by takes no name of a column; with columns there is order_by"] = function() rows:sort_by("a") end,
      ["distinct takes no name of a column; with columns there is drop_duplicates"] = function() rows:distinct("a") end,
      ['in descending order is lb.desc "a"'] = function() rows:order_by("a desc") end,
      ["an expression needs a name: with_columns"] = function() rows:order_by("a + 1") end,
      ["groups have no method 'sum'; they have agg, count, pivot, as in agg { v = lb.sum \"amount\" }"] = function()
        rows:group_by("a"):sum("b")
      end,
      ["a dataset has no verb 'head'; did you mean 'limit'?"] = function() rows:head() end,
      ["luabatch has no function 'mean'; did you mean 'avg'?"] = function() lb.mean("a") end,
      ["join has no option 'left_on'; did you mean 'on'?"] = function() rows:join(rows, { left_on = "a" }) end,
      ["group_by: there is a column 'a' already"] = function() rows:group_by { a = "a + 1" } end,
      ["the other dataset has no column 'b'"] = function() rows:union(lb.from { { a = 1 } }) end,
      ["only the other dataset has a column 'c'"] = function() rows:union(lb.from { { a = 1, b = 2, c = 3 } }) end,
    } do
      local text = message(call)
      assert.truthy(text:find(want, 1, true), text)
    end
    if support.has_integers then -- LuaJIT asks no table for its length
      assert.matches("use ds:count()", message(function() return #rows end), 1, true)
    end
  end)

  it("columns where they are natural", function()
    local rows = lb.from { { a = 1, b = "x" }, { a = 3, b = "y" } }
    assert.same({ 4, 2.0, 1, 3 }, { rows:sum("a"), rows:mean("a"), rows:min("a"), rows:max("a") })
    assert.equal(10, rows:sum("a * a"))
    assert.same({ { a = 3, b = "y" } }, rows:filter("a > 1"):collect())
    assert.same({ { a = 3 } }, rows:order_by({ "b" }):select({ "a" }):where("a > 1"):collect())
    local groups = rows:group_by({ odd = "a % 2", function_of = function(r) return #r.b end }):count():collect()
    assert.same({ { odd = 1, function_of = 1, count = 2 } }, groups)
    assert.equal("groups by b; agg, count or pivot makes rows of them", tostring(rows:group_by("b")))
    assert.same({ { column = "a", type = "string", count = 1, nulls = 0, min = "x", max = "x" } },
      lb.from({ { a = "x" } }):describe():collect())
    assert.same({ { column = "a", type = "integer", count = 0, nulls = 0 } },
      lb.from({ { a = 1 } }):where("false"):describe():collect())
  end)
end)
