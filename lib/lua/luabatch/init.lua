--- luabatch: batch jobs over large data, in Lua, on all cores.
--
--     local lb = require "luabatch"
--     lb.text("book.txt"):words():value_counts():show(10)
--
-- This module is the way in: sources make datasets, datasets have verbs and actions. Its parts are loaded
-- when they are first used, for workers require it too and need little of it.
-- @module luabatch
local core = require "luabatch.core"

local lb = {}

--- The version of the library.
lb.version = core.version

--- Options of the job, from its defaults and the command line: `lb.options.date`.
lb.options = core.options()

--- A counter that functions on all threads may add to. Only committed work counts, and once.
-- @param name string: one name is one counter
-- @return counter: with the methods `add(n)` (an integer) and `value()`
-- @usage
-- local bad = lb.counter "bad_lines"
-- lb.text("a.txt"):foreach(function(line) if line == "" then bad:add(1) end end)
-- print(bad:value())
function lb.counter(name)
  if type(name) ~= "string" then require("luabatch.check").bad("counter", "name", "string", name) end
  return core.counter(name)
end

-- Where each function that is loaded on first use lives.
local homes = {
  text = "source", files = "source", range = "source", from = "source", from_pairs = "source",
  read = "source", stdin = "source", job = "job",
  tumble = "windows", slide = "windows", session = "windows", csv = "row_source", tsv = "row_source", json = "row_source", desc = "row",
}
for _, name in ipairs {
  "count", "sum", "avg", "min", "max", "first", "last", "any_value", "min_by", "max_by", "count_distinct",
  "approx_count_distinct", "stddev", "variance", "corr", "median", "quantile", "mode", "collect_list", "collect_set",
  "bool_and", "bool_or", "aggregate",
} do
  homes[name] = "aggregates"
end

local reads_files = { text = true, files = true, read = true, csv = true, tsv = true, json = true }

-- All names that a user may write after "lb.", sorted.
local function names()
  local list = { "counter", "options", "version" }
  for name in pairs(homes) do list[#list + 1] = name end
  table.sort(list)
  return list
end

for _, name in ipairs {
  "row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead", "nth_value", "over",
} do
  homes[name] = "window"
end

return setmetatable(lb, {
  names = names,
  __index = function(_, name)
    local home = homes[name]
    if home then
      local module = require("luabatch." .. home)
      local value = (module.constructors or module)[name]
      if reads_files[name] then value = require("luabatch.check").source(value) end
      rawset(lb, name, value)
      return value
    end
    require("luabatch.check").misuse("luabatch has no function '%s'%s", tostring(name),
      require("luabatch.suggest").hint(tostring(name), names()))
  end,
})
