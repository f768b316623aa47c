--- Aggregates for `group_by(...):agg`. A column is a name or an SQL expression; nil values are left out.
-- @module luabatch
local check = require "luabatch.check"

local aggregates = {}
local meta = { __name = "aggregate" }
local constructors = {}

--- Whether a value is an aggregate.
function aggregates.is(value)
  return getmetatable(value) == meta
end

local function make(fn, column, ...)
  return setmetatable({ fn = fn, columns = { column, ... } }, meta)
end

local function of_column(fn)
  return function(column)
    return make(fn, check.string(fn, "column", column))
  end
end

local function of_two(fn, first, second)
  return function(a, b)
    return make(fn, check.string(fn, first, a), check.string(fn, second, b))
  end
end

--- The number of rows, or of those in which a column is not nil.
function constructors.count(column)
  if column == nil then return make("count") end
  return make("count", check.string("count", "column", column))
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
  local aggregate = make("quantile", check.string("quantile", "column", column))
  check.number("quantile", "p", p)
  if not (p >= 0 and p <= 1) then check.bad("quantile", "p", "number from 0 to 1", p) end
  aggregate.p = p + 0.0
  return aggregate
end

aggregates.constructors = constructors

return aggregates
