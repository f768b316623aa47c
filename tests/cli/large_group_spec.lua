-- The values that functions keep of one group, larger than the memory limit: an error that says which, not a large process.
local support = require "tests.cli.support"

local ipairs, pairs, io = ipairs, pairs, io
local run, path = support.run, support.path

-- exit status 5, and every text in the message
local function refused(chunk, ...)
  local status, out, err = run("--quiet", "--memory", "8M", "--threads", "2", "-e", chunk)
  assert.equal(5, status, err)
  assert.equal("", out)
  for _, text in ipairs { ... } do assert.truthy(err:find(text, 1, true), err) end
end

describe("a group larger than the memory limit", function()
  after_each(support.clean)

  it("is told by group and function where values are kept", function()
    local name = path ".csv"
    local out = io.open(name, "w")
    out:write "k,a\n"
    for i = 1, 500000 do out:write("hot,", i, "\n") end
    out:close()
    for _, fn in ipairs { "median", "count_distinct", "mode", "collect_list", "collect_set" } do
      refused(("lb.csv(%q):group_by('k'):agg { m = lb.%s 'a' }:select('k'):show()"):format(name, fn),
        'agg: the values that m needs of group "hot" take more than', "--memory",
        fn == "count_distinct" and "approx_count_distinct needs few" or "reduce_groups streams")
    end
    refused(([[return lb.csv(%q):group_by("k"):agg { m = lb.aggregate { init = function() return {} end,
      step = function(t, r) t[#t + 1] = r.a return t end, merge = function(t, more)
        for _, v in ipairs(more) do t[#t + 1] = v end
        return t
      end } }:select("k"):show()]]):format(name), "aggregate m: ", "hot", "--memory")
    local status, found = run("--quiet", "-e", ("print(lb.csv(%q):group_by('k'):agg { m = lb.median 'a' }:first().m)"):format(name))
    assert.equal(0, status)
    assert.equal("250000.5\n", found)
  end)

  it("is told by verb and key where it becomes a list, a string or a Lua table", function()
    local pairs_of = "lb.range(400):map(function(i) return i == 1 and 'k0' or 'k1', ('x'):rep(100000) .. i end)"
    for verb, told in pairs {
      ["group_by_key()"] = 'group_by_key: the list of key "k1" needs more than',
      ["cogroup(lb.from_pairs { { 'k1', 2 } })"] = 'cogroup: the list of key "k1" needs more than',
      ["reduce_by_key(function(a, b) return a .. b end)"] = 'the Lua heap of a worker',
      [ [[aggregate_by_key({}, function(t, v) t[#t + 1] = v return t end, function(a, b)
        for _, v in ipairs(b) do a[#a + 1] = v end
        return a
      end)]] ] = 'the Lua heap of a worker',
      ["reduce_groups(function(k, vs, emit) local t = {} for v in vs do t[#t + 1] = v end emit(k, #t) end)"] =
        'reduce_groups: the Lua heap of a worker',
    } do
      refused(("return %s:%s:count()"):format(pairs_of, verb), told,
        told:find("list", 1, true) and "reduce_groups streams the values of a key" or "\n  ", "--memory")
    end
  end)
end)

describe("a record larger than the memory limit", function()
  it("is told by the verb that makes it", function()
    refused([[local s = ("x"):rep(1000)
      return lb.range(3):map(function() local t = {} for i = 1, 90000 do t[i] = s end return t end):count()]],
      "luabatch: map: out of memory: ", " bytes wanted for ", "--memory")
    refused("return lb.range(3):map(function() return { v = ('x'):rep(1000) } end):select('v'):select{ s = 'repeat(v, 90000)' }:count()",
      'luabatch: select "repeat(v, 90000)": ', "--memory")
  end)
end)
