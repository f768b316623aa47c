--- Random windows, in luabatch and as queries.
--
-- A function that depends on the order of rows that are equal in `order_by` needs a total order: the unique column at its
-- end, or all columns, so that equal rows are the same. Ranks, and aggregates over frames that end with all equal
-- rows, do without.
local expressions = require "tests.oracle.expressions"

local windows = {}

local random, pick, quote = math.random, expressions.pick, expressions.quote

-- Names, kinds of arguments, kind of the result, SQL; `total`: needs a total order, `order`: needs an order, `lua`:
-- the function of the frame. Aggregates that sqlite has not over windows are named for DuckDB alone.
local list = {
  { "row_number", {}, "integer", "row_number()", total = true, bound = 1e4 },
  { "rank", {}, "integer", "rank()", order = true, bound = 1e4 },
  { "dense_rank", {}, "integer", "dense_rank()", order = true, bound = 1e4 },
  { "percent_rank", {}, "float", "percent_rank()", order = true },
  { "cume_dist", {}, "float", "cume_dist()", order = true },
  { "ntile", { 3 }, "integer", "ntile(3)", total = true, bound = 3 },
  { "ntile", { 100 }, "integer", "ntile(100)", total = true, bound = 100 },
  { "lag", { "whatever" }, "same", "lag($1)", total = true },
  { "lead", { "whatever", 2 }, "same", "lead($1, 2)", total = true },
  { "lag", { "small", 1, -7 }, "same", "lag($1, 1, -7)", total = true },
  { "nth_value", { "whatever", 2 }, "same", "nth_value($1, 2)", total = true },
  { "count", {}, "integer", "count(*)", bound = 1e4 },
  { "count", { "whatever" }, "integer", "count($1)", bound = 1e4 },
  { "sum", { "small" }, "integer", "sum($1)", is_sum = true },
  { "sum", { "decimal" }, "float", "sum($1)", fuzzy = true },
  { "avg", { "small" }, "float", "avg($1)", fuzzy = true },
  { "avg", { "decimal" }, "float", "avg($1)", fuzzy = true },
  { "min", { "exact" }, "same", "min($1)" },
  { "max", { "exact" }, "same", "max($1)" },
  { "count_distinct", { "exact" }, "integer", duckdb = "count(DISTINCT $1)", bound = 1e4 },
  { "variance", { "small" }, "float", duckdb = "var_samp($1)", fuzzy = true },
  { "stddev", { "decimal" }, "float", duckdb = "stddev_samp($1)", fuzzy = true },
  { "median", { "small" }, "float", duckdb = "quantile_cont(cast($1 as DOUBLE), 0.5)", fuzzy = true },
  { "quantile", { "decimal", 0.75 }, "float", duckdb = "quantile_cont($1, 0.75)", fuzzy = true },
  { "bool_and", { "boolean" }, "boolean", duckdb = "bool_and($1)" },
  { "bool_or", { "boolean" }, "boolean", duckdb = "bool_or($1)" },
  { "over", {}, "integer", "count(*)", lua = "function(frame) return #frame end", bound = 1e4 },
  { "over", { "small" }, "integer", "coalesce(sum($1) OVER w, 0)", is_sum = true,
    lua = "function(frame) local s = 0 for row in frame do s = s + (row[$1] or 0) end return s end" },
  { "over", { "whatever" }, "same", "first_value($1)", total = true,
    lua = "function(frame) return frame[1] and frame[1][$1] end" },
  { "over", { "whatever" }, "same", "last_value($1)", total = true,
    lua = "function(frame) return #frame > 0 and frame[#frame][$1] or nil end", not_boolean = true },
}

local function fits(column, kind)
  if kind == "whatever" then return true end
  if column.fuzzy or column.nan then return false end
  if kind == "exact" then return true end
  if kind == "small" then return column.kind == "integer" and column.bound and column.bound < 1e6 end
  if kind == "decimal" then return column.kind == "float" and column.bound and column.bound < 1e5 end
  return column.kind == kind
end

-- One function: `{ column, Lua text, SQL text }`.
local function make(gen, plan, name, given)
  local entry = pick(list)
  local sql = entry[4] or entry[gen.dialect]
  if not sql or (entry.total and not given.is_total) or (entry.order and not given.has_order) then return nil end
  -- A frame of rows cuts through equal rows, the default one does not.
  if given.needs_total and not given.is_total and not entry.order then return nil end
  local arguments, source = {}, nil
  for i, kind in ipairs(entry[2]) do
    if type(kind) == "number" then
      arguments[i] = tostring(kind)
    else
      local choices = {}
      for _, column in ipairs(plan.columns) do
        if fits(column, kind) and not (entry.not_boolean and column.kind == "boolean") then choices[#choices + 1] = column end
      end
      if #choices == 0 then return nil end
      source = pick(choices)
      arguments[i] = ("%q"):format(source.name)
    end
  end
  sql = sql:gsub("%$1", function() return quote(source.name) end)
  local column = { name = name, kind = entry[3], bound = entry.bound, fuzzy = entry.fuzzy }
  if column.kind == "same" then
    column = { name = name, kind = source.kind, bound = source.bound, plain = source.plain, fuzzy = source.fuzzy, nan = source.nan }
  elseif entry.is_sum then
    column.bound = source.bound * math.max(1, plan.rows)
  end
  local lua = entry.lua and entry.lua:gsub("%$1", function() return arguments[1] end) or table.concat(arguments, ", ")
  if not sql:find "OVER w" then sql = sql .. " OVER w" end
  return { column, ("lb.%s(%s)"):format(entry[1], lua), sql, fn = entry[1] }
end

local function end_of(value, unit)
  if value == -math.huge then return "UNBOUNDED PRECEDING" end
  if value == math.huge then return "UNBOUNDED FOLLOWING" end
  if value == 0 then return "CURRENT ROW" end
  return ("%s%s %s"):format(tostring(math.abs(value)), unit, value < 0 and "PRECEDING" or "FOLLOWING")
end

local function lua_end(value)
  if value == math.huge then return "math.huge" end
  return value == -math.huge and "-math.huge" or tostring(value)
end

-- A frame: Lua text, SQL text.
local function make_frame(kind, order, dialect)
  local ends = kind == "rows" and { -math.huge, -7, -2, -1, 0, 1, 3, math.huge }
    or order[1].kind == "float" and { -math.huge, -20.5, -2, 0, 1.5, 30, math.huge } or { -math.huge, -5, -1, 0, 2, 10, math.huge }
  local from, to = random(#ends - 1), random(2, #ends)
  if from > to then from, to = to, from end
  local unit = kind == "range" and dialect == "duckdb" and (order[1].kind == "float" and "::DOUBLE" or "::BIGINT") or ""
  return ("%s = { %s, %s }"):format(kind, lua_end(ends[from]), lua_end(ends[to])),
    ("%s BETWEEN %s AND %s"):format(kind, end_of(ends[from], unit), end_of(ends[to], unit))
end

local function texts_of(columns)
  local lua, sql = {}, {}
  for i, column in ipairs(columns) do lua[i], sql[i] = ("%q"):format(column.name), quote(column.name) end
  return "{ " .. table.concat(lua, ", ") .. " }", table.concat(sql, ", ")
end

-- Order: the columns, whether it is total.
local function make_order(plan, exact)
  local how = random(5)
  if how == 1 then return {}, false end
  local order = {}
  for i = 1, math.min(#exact, random(0, 2)) do order[i] = exact[i] end
  local seen = {}
  for _, column in ipairs(order) do seen[column.name] = true end
  if how == 2 and #order > 0 then return order, seen[plan.unique or ""] end
  if plan.unique then
    for _, column in ipairs(exact) do
      if column.name == plan.unique and not seen[column.name] then order[#order + 1] = column end
    end
    return order, true
  end
  if #exact < #plan.columns then return order, false end
  for _, column in ipairs(exact) do
    if not seen[column.name] then order[#order + 1] = column end
  end
  return order, true
end

--- The verb window, maybe with a condition on a rank behind it.
-- @param extend function that makes the longer plan
function windows.step(gen, plan, extend)
  local plans = require "tests.oracle.plans"
  local partition = plans.exact(plan.columns, pick { 0, 1, 1, 2 })
  local order, is_total = make_order(plan, plans.exact(plan.columns))
  local given = { is_total = is_total, has_order = #order > 0 }
  local settings, over, frame_sql = {}, {}, ""
  if #partition > 0 then
    local lua, sql = texts_of(partition)
    settings[#settings + 1], over[#over + 1] = "partition_by = " .. lua, "PARTITION BY " .. sql
  end
  if #order > 0 then
    local lua, sql = plans.order_keys(order)
    settings[#settings + 1], over[#over + 1] = "order_by = { " .. lua .. " }", "ORDER BY " .. sql
    local kind = pick { "none", "rows", "range" }
    if kind == "range" and (#order ~= 1 or not order[1].bound or order[1].nan) then kind = "rows" end
    if kind ~= "none" then
      local lua_frame
      lua_frame, frame_sql = make_frame(kind, order, gen.dialect)
      settings[#settings + 1] = lua_frame
      given.needs_total = kind == "rows"
    end
  end
  local columns, sql, fields, rank = { table.unpack(plan.columns) }, {}, {}, nil
  for i, column in ipairs(plan.columns) do sql[i] = quote(column.name) end
  for _, name in ipairs { "w1", "w2", "w3" } do
    local taken = false
    for _, column in ipairs(plan.columns) do taken = taken or column.name == name end
    local one = not taken and random(3) > 1 and make(gen, plan, name, given)
    if one then
      columns[#columns + 1], sql[#sql + 1] = one[1], one[3] .. " AS " .. quote(name)
      fields[#fields + 1] = ("%s = %s"):format(name, one[2])
      if one.fn == "row_number" or one.fn == "rank" then rank = name end
    end
  end
  if #fields == 0 then return nil end
  over[#over + 1] = frame_sql
  for _, field in ipairs(fields) do settings[#settings + 1] = field end
  local result = extend(gen, plan, (":window { %s }"):format(table.concat(settings, ", ")),
    ("SELECT %s FROM %s WINDOW w AS (%s)"):format(table.concat(sql, ", "), plan.last, table.concat(over, " ")), columns,
    { unique = false })
  if rank and random(2) == 1 then
    local n = random(0, 5)
    return extend(gen, result, (":where(%q)"):format(("%s <= %d"):format(rank, n)),
      ("SELECT * FROM %s WHERE %s <= %d"):format(result.last, quote(rank), n), columns, {})
  end
  return result
end

return windows
