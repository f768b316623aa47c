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

-- An argument that is one too many was meant to do something.
local function no_more(fn, takes, ...)
  if select("#", ...) > 0 then check.misuse("%s takes %s; conditions go into it: %s \"case when x > 0 then y end\"", fn, takes, fn) end
end

local function of_column(fn)
  return function(column, ...)
    no_more(fn, "one column", ...)
    return make(fn, check.column(fn, "column", column))
  end
end

local function of_two(fn, first, second)
  return function(a, b, ...)
    no_more(fn, "two columns", ...)
    return make(fn, check.column(fn, first, a), check.column(fn, second, b))
  end
end

--- For `agg`, `pivot` and `window`: the number of rows, or of those in which a column is not nil.
-- @param column string|function?: name, SQL expression or function of the row
-- @return aggregate
-- @usage lb.csv("people.csv"):agg({ n = lb.count(), aged = lb.count "age" }):show()
function constructors.count(column)
  if column == nil then return make("count") end
  return make("count", check.column("count", "column", column))
end

--- The sum of a column's numbers: of integers an integer, exactly; with a float among them a float that does not depend
-- on the order of the rows. nil of none.
-- @function lb.sum(column)
-- @param column string|function: name, SQL expression or function of the row
-- @return aggregate
-- @raise an integer sum that does not fit 64 bits, or a value that is no number, ends the run
-- @usage lb.csv("sales.csv"):agg({ v = lb.sum "amount * quantity" }):show()
constructors.sum = of_column "sum"

--- The mean of a column's numbers, a float. nil of none.
-- @function lb.avg(column)
-- @param column string|function: name, SQL expression or function of the row
-- @return aggregate
-- @raise a value that is no number ends the run
-- @usage lb.csv("sales.csv"):agg({ v = lb.avg "amount" }):show()
constructors.avg = of_column "avg"

--- A column's least value in the order of values; NaN only when there is no other number.
-- @function lb.min(column)
-- @param column string|function: name, SQL expression or function of the row
-- @return aggregate
-- @usage lb.csv("sales.csv"):agg({ v = lb.min "day" }):show()
constructors.min = of_column "min"

--- A column's greatest value in the order of values; NaN only when there is no other number.
-- @function lb.max(column)
-- @param column string|function: name, SQL expression or function of the row
-- @return aggregate
-- @usage lb.csv("sales.csv"):agg({ v = lb.max "day" }):show()
constructors.max = of_column "max"

--- A column's first value in input order that is not nil. In `window`: its value in the frame's first row, nil or not.
-- @function lb.first(column)
-- @param column string|function: name, SQL expression or function of the row
-- @return aggregate
-- @usage lb.csv("sales.csv"):group_by("country"):agg({ v = lb.first "item" }):show()
constructors.first = of_column "first"

--- A column's last value in input order that is not nil. In `window`: its value in the frame's last row, nil or not.
-- @function lb.last(column)
-- @param column string|function: name, SQL expression or function of the row
-- @return aggregate
-- @usage lb.csv("sales.csv"):group_by("country"):agg({ v = lb.last "item" }):show()
constructors.last = of_column "last"

--- One of a column's values that are not nil, always the same one.
-- @function lb.any_value(column)
-- @param column string|function: name, SQL expression or function of the row
-- @return aggregate
-- @usage lb.csv("sales.csv"):group_by("country"):agg({ v = lb.any_value "item" }):show()
constructors.any_value = of_column "any_value"

--- The number of a column's different values, exactly. At the end those of one group are in memory at once.
-- @function lb.count_distinct(column)
-- @param column string|function: name, SQL expression or function of the row
-- @return aggregate
-- @usage lb.csv("sales.csv"):agg({ v = lb.count_distinct "user" }):show()
constructors.count_distinct = of_column "count_distinct"

--- The number of a column's different values with a standard error of 1.6 %, in little memory. In `window` it is exact.
-- @function lb.approx_count_distinct(column)
-- @param column string|function: name, SQL expression or function of the row
-- @return aggregate
-- @usage lb.csv("sales.csv"):agg({ v = lb.approx_count_distinct "user" }):show()
constructors.approx_count_distinct = of_column "approx_count_distinct"

--- The standard deviation of a sample of numbers, the square root of `variance`; nil of fewer than two.
-- @function lb.stddev(column)
-- @param column string|function: name, SQL expression or function of the row
-- @return aggregate
-- @raise a value that is no number ends the run
-- @usage lb.csv("sales.csv"):agg({ v = lb.stddev "amount" }):show()
constructors.stddev = of_column "stddev"

--- The variance of a sample of numbers (divided by their number less one); nil of fewer than two.
-- @function lb.variance(column)
-- @param column string|function: name, SQL expression or function of the row
-- @return aggregate
-- @raise a value that is no number ends the run
-- @usage lb.csv("sales.csv"):agg({ v = lb.variance "amount" }):show()
constructors.variance = of_column "variance"

--- The value in the middle of a column's numbers, exact and interpolated, a float. At the end those of one group are in memory at once.
-- @function lb.median(column)
-- @param column string|function: name, SQL expression or function of the row
-- @return aggregate
-- @raise a value that is no number ends the run
-- @usage lb.csv("sales.csv"):agg({ v = lb.median "amount" }):show()
constructors.median = of_column "median"

--- A column's most frequent value; of several the least. At the end the different ones of one group are in memory at once.
-- @function lb.mode(column)
-- @param column string|function: name, SQL expression or function of the row
-- @return aggregate
-- @usage lb.csv("sales.csv"):agg({ v = lb.mode "item" }):show()
constructors.mode = of_column "mode"

--- The list of a column's values in input order, nil left out.
-- @function lb.collect_list(column)
-- @param column string|function: name, SQL expression or function of the row
-- @return aggregate
-- @usage lb.csv("sales.csv"):group_by("country"):agg({ v = lb.collect_list "item" }):show()
constructors.collect_list = of_column "collect_list"

--- The list of a column's different values in the order of values, nil left out.
-- @function lb.collect_set(column)
-- @param column string|function: name, SQL expression or function of the row
-- @return aggregate
-- @usage lb.csv("sales.csv"):group_by("country"):agg({ v = lb.collect_set "item" }):show()
constructors.collect_set = of_column "collect_set"

--- Whether all booleans of a column are true; nil of none.
-- @function lb.bool_and(column)
-- @param column string|function: name, SQL expression or function of the row
-- @return aggregate
-- @raise a value that is no boolean ends the run
-- @usage lb.csv("sales.csv"):agg({ v = lb.bool_and "amount > 0" }):show()
constructors.bool_and = of_column "bool_and"

--- Whether any boolean of a column is true; nil of none.
-- @function lb.bool_or(column)
-- @param column string|function: name, SQL expression or function of the row
-- @return aggregate
-- @raise a value that is no boolean ends the run
-- @usage lb.csv("sales.csv"):agg({ v = lb.bool_or "amount > 100" }):show()
constructors.bool_or = of_column "bool_or"

--- A column's value in the first row in which `by` is least; it may be nil there. Rows in which `by` is nil do not count.
-- @function lb.min_by(column, by)
-- @param column string|function: what is given: name, SQL expression or function of the row
-- @param by string|function: what is compared: name, SQL expression or function of the row
-- @return aggregate
-- @usage lb.csv("sales.csv"):group_by("country"):agg({ v = lb.min_by("item", "amount") }):show()
constructors.min_by = of_two("min_by", "column", "by")

--- A column's value in the first row in which `by` is greatest; it may be nil there. Rows in which `by` is nil do not count.
-- @function lb.max_by(column, by)
-- @param column string|function: what is given: name, SQL expression or function of the row
-- @param by string|function: what is compared: name, SQL expression or function of the row
-- @return aggregate
-- @usage lb.csv("sales.csv"):group_by("country"):agg({ v = lb.max_by("item", "amount") }):show()
constructors.max_by = of_two("max_by", "column", "by")

--- Pearson's correlation of two columns of numbers, of rows where neither is nil; nil when one is constant.
-- @function lb.corr(a, b)
-- @param a string|function: one column: name, SQL expression or function of the row
-- @param b string|function: the other: name, SQL expression or function of the row
-- @return aggregate
-- @usage lb.csv("sales.csv"):agg({ v = lb.corr("amount", "quantity") }):show()
constructors.corr = of_two("corr", "a", "b")

--- The value below which a part p of a column's numbers lies, exact and interpolated, a float. At the end those of one group
-- are in memory at once.
-- @param column string|function: name, SQL expression or function of the row
-- @param p number: from 0 to 1; 0.5 is the median
-- @return aggregate
-- @usage lb.csv("sales.csv"):agg({ p90 = lb.quantile("amount", 0.9) }):show()
function constructors.quantile(column, p)
  local aggregate = make("quantile", check.column("quantile", "column", column))
  check.number("quantile", "p", p)
  if not (p >= 0 and p <= 1) then check.bad("quantile", "p", "number from 0 to 1", p) end
  aggregate.p = p + 0.0
  return aggregate
end

local functions = { init = true, step = true, merge = true, finish = true }

--- An aggregate of your own. What it makes of a group begins with `init()`, takes each row in with
-- `step(state, ...)`, joins the states of parts of the group with `merge(a, b)`, where the rows of a come before those of
-- b, and ends with `finish(state)`.
--
-- `mine "amount"` or `mine("a", "b * 2", function(row) ... end)` in `agg` gives step the values of these columns, SQL expressions or
-- functions of the row, nil among them; `mine` alone gives it the row. A state is any value; step and merge return the new one, or
-- nothing when they have changed the table that they got.
-- @param definition table: `init` function() -> state, `step` function(state, ...) -> state, `merge` function(a, b) -> state, `finish`
--   function(state) -> value (without it the state is the value), `commutative` (true: merge may be given a and b in any order, which is
--   faster where there are many groups)
-- @return aggregate
-- @raise init, step or merge is missing; an error of one of them ends the run
-- @usage
-- local longest = lb.aggregate {
--   init = function() return "" end,
--   step = function(best, s) return s and #s > #best and s or best end,
--   merge = function(a, b) return #b > #a and b or a end,
-- }
-- lb.csv("sales.csv"):group_by("country"):agg({ longest = longest "item" }):show()
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

--- Those that refuse no value.
aggregates.takes_any = {
  count = true, min = true, max = true, first = true, last = true, any_value = true, count_distinct = true,
  approx_count_distinct = true, mode = true, collect_list = true, collect_set = true, min_by = true, max_by = true,
}

return aggregates
