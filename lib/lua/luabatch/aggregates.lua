--- Aggregates for `group_by(...):agg`. A column is a name, an SQL expression or a function of the row; nil values are
-- left out, but of the user's own aggregates.
-- @module luabatch
local check = require "luabatch.check"

local aggregates = {}
local meta = { __name = "aggregate" }
local constructors = {}

--- Whether a value is an aggregate.
function aggregates.is(value)
  return getmetatable(value) == meta
end

-- An aggregate takes its columns when it is made, and the user's own ones when they are called: `mine "amount"`.
function meta.__call(self, ...)
  if self.fn ~= "lua" then check.misuse("%s has its columns already", self.fn) end
  local copy, n = {}, select("#", ...)
  if n == 0 then check.bad("aggregate", "column", "column, SQL expression or function", nil) end
  for key, value in pairs(self) do copy[key] = value end
  copy.columns = {}
  for i = 1, n do copy.columns[i] = check.column("aggregate", i == 1 and "column" or ("column %d"):format(i), (select(i, ...))) end
  return setmetatable(copy, meta)
end

local function make(fn, column, ...)
  return setmetatable({ fn = fn, columns = { column, ... } }, meta)
end

local function of_column(fn)
  return function(column)
    return make(fn, check.column(fn, "column", column))
  end
end

local function of_two(fn, first, second)
  return function(a, b)
    return make(fn, check.column(fn, first, a), check.column(fn, second, b))
  end
end

--- The number of rows, or of those in which a column is not nil.
function constructors.count(column)
  if column == nil then return make("count") end
  return make("count", check.column("count", "column", column))
end

for _, fn in ipairs {
  "sum", "avg", "min", "max", "first", "last", "any_value", "count_distinct", "approx_count_distinct", "stddev", "variance",
  "median", "mode", "collect_list", "collect_set", "bool_and", "bool_or",
} do
  constructors[fn] = of_column(fn)
end
constructors.min_by = of_two("min_by", "column", "by")
constructors.max_by = of_two("max_by", "column", "by")
constructors.corr = of_two("corr", "a", "b")

--- The value below which a part p, from 0 to 1, of the values lies.
function constructors.quantile(column, p)
  local aggregate = make("quantile", check.column("quantile", "column", column))
  check.number("quantile", "p", p)
  if not (p >= 0 and p <= 1) then check.bad("quantile", "p", "number from 0 to 1", p) end
  aggregate.p = p + 0.0
  return aggregate
end

local functions = { init = true, step = true, merge = true, finish = true }

--- An aggregate of the user's own. What it makes of a group begins with `init()`, takes each row in with
-- `step(state, ...)`, joins the states of parts of the group with `merge(a, b)`, where the rows of a come before those of
-- b, and ends with `finish(state)`.
--
-- `mine "amount"` or `mine("a", "b * 2", function(row) ... end)` in `agg` gives step the values of these columns, SQL expressions or
-- functions of the row, nil among them; `mine` alone gives it the row. A state is any value; step and merge return the new one, or
-- nothing when they have changed the table that they got.
-- @param definition `init` function() -> state, `step` function(state, ...) -> state, `merge` function(a, b) -> state, `finish`
--   function(state) -> value (without it the state is the value), `commutative` (true: merge may be given a and b in any order, which is
--   faster where there are many groups)
-- @return aggregate for `agg`
-- @usage
-- local longest = lb.aggregate {
--   init = function() return "" end,
--   step = function(best, s) return s and #s > #best and s or best end,
--   merge = function(a, b) return #b > #a and b or a end,
-- }
-- lb.csv("sales.csv"):group_by("country"):agg { longest = longest "item" }:show()
function constructors.aggregate(definition)
  if type(definition) ~= "table" then check.bad("aggregate", "definition", "table", definition) end
  check.options("aggregate", definition, {
    init = "function", step = "function", merge = "function", finish = "function", commutative = "boolean",
  })
  for _, name in ipairs { "init", "step", "merge" } do
    if definition[name] == nil then
      check.misuse("aggregate: the function '%s' is missing%s", name, name == "merge"
        and "; merge(a, b) joins the states of two parts of a group, which are made on different threads" or "")
    end
  end
  local aggregate = make "lua"
  for name in pairs(functions) do aggregate[name] = definition[name] end
  aggregate.commutative = definition.commutative or nil
  return aggregate
end

aggregates.constructors = constructors

return aggregates
