--- Random aggregates, in luabatch and as queries.
--
-- What sqlite has no aggregate for is computed from windows over the same keys, one layer of a subquery on the other:
-- an aggregate's `inner` and `outer` are such columns, its `sql` the aggregate over them. In their texts $1, $2 are
-- the arguments, $k the keys to partition by, $i and $o the names of the inner and outer column, $u the unique column.
local expressions = require "tests.oracle.expressions"

local aggregates = {}

local random, pick, quote = math.random, expressions.pick, expressions.quote

-- Aggregates of the user's own: one whose parts may come in any order, and one that shows their order.
local OWN_SUM = [[lb.aggregate { init = function() return { 0 } end, step = function(s, v) s[1] = s[1] + (v or 0) end,
  merge = function(a, b) return { a[1] + b[1] } end, finish = function(s) return s[1] end, commutative = true }($1)]]
local OWN_LIST = [[lb.aggregate { init = function() return {} end, step = function(list, v) list[#list + 1] = v end,
  merge = function(a, b) return table.move(b, 1, #b, #a + 1, a) end,
  finish = function(list) return table.concat(list, ",") end }($1)]]

-- name in luabatch, kinds of arguments, kind of the result (or "same"), queries.
local list = {
  { "count", {}, "integer", { sql = "count(*)" }, bound = 1e6 },
  { "count", { "whatever" }, "integer", { sql = "count($1)" }, bound = 1e6 },
  { "count_distinct", { "exact" }, "integer", { sql = "count(DISTINCT $1)" }, bound = 1e6 },
  { "sum", { "integer" }, "integer", { sql = "sum($1)" }, is_sum = true },
  { "sum", { "float" }, "float", { sql = "sum($1)" }, fuzzy = true },
  { "avg", { "number" }, "float", { sql = "avg($1)" }, fuzzy = true },
  { "min", { "exact" }, "same", { sql = "min($1)" } },
  -- NaN is the greatest number in DuckDB; here it counts only when there is no other.
  { "max", { "exact" }, "same", { sql = "max($1)", nan = "coalesce(max($1) FILTER (WHERE NOT isnan($1)), max($1))" } },
  { "variance", { "number" }, "float", fuzzy = true, {
    duckdb = "var_samp($1)", inner = "avg($1) OVER (PARTITION BY $k)",
    sqlite = "case when count($1) > 1 then sum(($1 - $i) * ($1 - $i)) / (count($1) - 1) end",
  } },
  { "stddev", { "number" }, "float", fuzzy = true, {
    duckdb = "stddev_samp($1)", inner = "avg($1) OVER (PARTITION BY $k)",
    sqlite = "case when count($1) > 1 then sqrt(sum(($1 - $i) * ($1 - $i)) / (count($1) - 1)) end",
  } },
  -- DuckDB's is NaN for constant columns. One that is nearly constant has no exact value at all: so integers only.
  { "corr", { "integer", "integer" }, "float", fuzzy = true, { duckdb = "nullif(corr($1, $2), 'nan'::DOUBLE)" } },
  { "median", { "number" }, "float", fuzzy = true, {
    duckdb = "quantile_cont(cast($1 as DOUBLE), 0.5)", inner = "row_number() OVER (PARTITION BY $k, $1 IS NULL ORDER BY $1)",
    outer = "count($1) OVER (PARTITION BY $k)",
    sqlite = "avg(case when $1 is not null and $i in (($o + 1) / 2, ($o + 2) / 2) then $1 end)",
  } },
  { "quantile", { "number" }, "float", fuzzy = true, extra = "0.25", { duckdb = "quantile_cont(cast($1 as DOUBLE), 0.25)" } },
  { "mode", { "exact" }, "same", {
    inner = "case when $1 is not null then count(*) OVER (PARTITION BY $k, $1) end", outer = "max($i) OVER (PARTITION BY $k)",
    sql = "min(case when $i = $o then $1 end)",
  } },
  { "bool_and", { "boolean" }, "boolean", { sqlite = "min($1)", duckdb = "bool_and($1)" } },
  { "bool_or", { "boolean" }, "boolean", { sqlite = "max($1)", duckdb = "bool_or($1)" } },
  -- The first that is not nil; the unique column says what is first.
  { "first", { "whatever" }, "same", {
    inner = "min(case when $1 is not null then $u end) OVER (PARTITION BY $k)", sql = "max(case when $u = $i then $1 end)",
  } },
  { "last", { "whatever" }, "same", {
    inner = "max(case when $1 is not null then $u end) OVER (PARTITION BY $k)", sql = "max(case when $u = $i then $1 end)",
  } },
  { "own", { "integer" }, "integer", { sql = "coalesce(sum($1), 0)" }, lua = OWN_SUM, is_sum = true },
  { "own", { "unique" }, "string", { duckdb = "coalesce(string_agg($1, ',' ORDER BY $1), '')" }, lua = OWN_LIST },
  { "min_by", { "whatever", "unique" }, "same", {
    inner = "min($u) OVER (PARTITION BY $k)", sql = "max(case when $u = $i then $1 end)",
  } },
  { "max_by", { "whatever", "unique" }, "same", {
    inner = "max($u) OVER (PARTITION BY $k)", sql = "max(case when $u = $i then $1 end)",
  } },
}

local bounded = { integer = true, float = true }

-- A column of this kind, or an expression.
local function argument(gen, plan, kind)
  if kind == "number" then kind = pick { "integer", "float" } end
  if kind == "unique" then
    if not plan.unique then return nil end
    return { lb = plan.unique, sql = quote(plan.unique), kind = "integer", bound = 5000, is_name = true }
  end
  local choices = {}
  for _, column in ipairs(plan.columns) do
    local fits = kind == "whatever" or (kind == "exact" and not column.fuzzy)
      or (kind == column.kind and not column.fuzzy and not column.nan and (column.bound or not bounded[kind]))
    if fits then choices[#choices + 1] = column end
  end
  if #choices > 0 and random(3) > 1 then
    local column = pick(choices)
    return {
      lb = column.name, sql = quote(column.name), kind = column.kind, bound = column.bound, plain = column.plain, date = column.date,
      fuzzy = column.fuzzy, nan = column.nan, is_name = true,
    }
  end
  if kind == "whatever" or kind == "exact" then kind = pick { "integer", "float", "string", "boolean" } end
  return expressions.make({ dialect = gen.dialect, columns = plan.columns }, kind, 2, bounded[kind])
end

--- One aggregate: `{ column, Lua text, SQL text, inner SQL, outer SQL }`, or nil when it cannot be.
-- @param number of those in one query, which names the inner and outer columns
-- @param partition the keys, as SQL
function aggregates.make(gen, plan, name, number, partition)
  local entry = pick(list)
  local fn, kinds, kind, queries = entry[1], entry[2], entry[3], entry[4]
  local sql = queries[gen.dialect] or queries.sql
  if not sql then return nil end
  -- A peer that has the aggregate needs no windows for it.
  local needs_windows = queries.sql or gen.dialect == "sqlite"
  if sql:find("$u", 1, true) and not plan.unique then return nil end
  local arguments, lua = {}, {}
  for i, wanted in ipairs(kinds) do
    local one = argument(gen, plan, wanted)
    if not one then return nil end
    arguments[i], lua[i] = one, ("%q"):format(one.lb)
    if one.is_name and random(4) == 1 then lua[i] = ("function(row) return row[%q] end"):format(one.lb) end
  end
  local first = arguments[1]
  if first and first.nan and queries.nan then sql = queries.nan end
  if entry.extra then lua[#lua + 1] = entry.extra end
  local column = { name = name, kind = kind, fuzzy = entry.fuzzy, bound = entry.bound }
  if kind == "same" then
    column = {
      name = name, kind = first.kind, bound = first.bound, plain = first.plain, date = first.date, fuzzy = first.fuzzy, nan = first.nan,
    }
  elseif entry.is_sum then
    column.bound = first.bound * math.max(1, plan.rows)
    if column.bound > 2 ^ 50 then return nil end
  elseif kind == "float" and (first.bound or 0) > 1e5 then
    return nil
  end
  local function text(template)
    return template and (template:gsub("%$([%dkiou])", function(what)
      if what == "k" then return partition end
      if what == "i" then return "lb_inner" .. number end
      if what == "o" then return "lb_outer" .. number end
      if what == "u" then return quote(plan.unique) end
      return arguments[tonumber(what)].sql
    end))
  end
  local call = entry.lua and entry.lua:gsub("%$1", function() return lua[1] end)
  return {
    column, call or ("lb.%s(%s)"):format(fn, table.concat(lua, ", ")), text(sql), needs_windows and text(queries.inner),
    needs_windows and text(queries.outer),
  }
end

return aggregates
