--- Random groups: keys with aggregates, pivot tables, windows of time; in luabatch and as queries.
local aggregates = require "tests.oracle.aggregates"
local expressions = require "tests.oracle.expressions"

local groups = {}

local random, pick, quote = math.random, expressions.pick, expressions.quote

-- Lists, taken apart again: the values of each group, or the different ones.
local function lists(gen, plan, extend, keys, names, selected)
  local choices = {}
  for _, column in ipairs(plan.columns) do
    if not column.fuzzy and column.name ~= "m" then choices[#choices + 1] = column end
  end
  if #choices == 0 then return nil end
  local column, is_set = pick(choices), random(2) == 1
  local columns, taken = { table.unpack(keys) }, false
  for _, key in ipairs(keys) do taken = taken or key.name == "m" end
  if taken then return nil end
  columns[#columns + 1] = {
    name = "m", kind = column.kind, bound = column.bound, plain = column.plain, date = column.date, nan = column.nan,
  }
  local by = #keys > 0 and (":group_by(%s)"):format(names) or ""
  return extend(gen, plan, ("%s:agg { m = lb.%s(%q) }:explode \"m\""):format(by, is_set and "collect_set" or "collect_list", column.name),
    ("SELECT %s%s%s AS m FROM %s WHERE %s IS NOT NULL"):format(is_set and "DISTINCT " or "", selected, quote(column.name), plan.last,
      quote(column.name)), columns, { unique = false })
end

local function aliased(items, prefix)
  local texts = {}
  for i = 1, 9 do
    if items[i] then texts[#texts + 1] = (", %s AS %s%d"):format(items[i], prefix, i) end
  end
  return table.concat(texts)
end

-- Up to four aggregates over `from`; the columns that they make are added to `columns`.
-- @return Lua fields, SQL items, what to select them from; or nil
local function some(gen, plan, columns, partition)
  local taken, fields, sql, inner, outer = {}, {}, {}, {}, {}
  for _, column in ipairs(columns) do taken[column.name] = true end
  for i, name in ipairs { "m", "n", "p", "q 1" } do
    local one = not taken[name] and random(2) == 1 and aggregates.make(gen, plan, name, i, partition)
    if one then
      columns[#columns + 1] = one[1]
      fields[#fields + 1] = ("[%q] = %s"):format(name, one[2])
      sql[#sql + 1] = one[3] .. " AS " .. quote(name)
      inner[i], outer[i] = one[4] or nil, one[5] or nil
    end
  end
  if #fields == 0 then return nil end
  local from = plan.last
  if next(inner) then from = ("(SELECT *%s FROM %s) AS inside"):format(aliased(inner, "lb_inner"), from) end
  if next(outer) then from = ("(SELECT *%s FROM %s) AS outside"):format(aliased(outer, "lb_outer"), from) end
  return table.concat(fields, ", "), table.concat(sql, ", "), from
end

--- The verb group_by with agg or count, or agg of everything.
-- @param extend function that makes the longer plan
function groups.group(gen, plan, extend)
  local keys, names, sql_keys = {}, {}, {}
  local exact = require("tests.oracle.plans").exact(plan.columns)
  for i = 1, math.min(#exact, pick { 0, 1, 1, 1, 2, 2, 3 }) do
    keys[i] = exact[i]
    names[i], sql_keys[i] = ("%q"):format(exact[i].name), quote(exact[i].name)
  end
  local partition = #keys > 0 and table.concat(sql_keys, ", ") or "1"
  local by = #keys > 0 and (":group_by(%s)"):format(table.concat(names, ", ")) or ""
  local group_sql = #keys > 0 and " GROUP BY " .. partition or ""
  local columns = { table.unpack(keys) }
  for i, column in ipairs(columns) do
    if column.unique then
      columns[i] = { name = column.name, kind = column.kind, bound = column.bound }
    end
  end
  local rows = #keys > 0 and plan.rows or 1
  local selected = #keys > 0 and partition .. ", " or ""
  if random(8) == 1 then return lists(gen, plan, extend, columns, table.concat(names, ", "), selected) end
  local taken = {}
  for _, column in ipairs(keys) do taken[column.name] = true end
  if #keys > 0 and not taken.count and random(6) == 1 then
    columns[#columns + 1] = { name = "count", kind = "integer", bound = 1e6 }
    return extend(gen, plan, by .. ":count()", ("SELECT %scount(*) AS \"count\" FROM %s%s"):format(selected, plan.last, group_sql),
      columns, { unique = false, rows = rows })
  end
  local fields, sql, from = some(gen, plan, columns, partition)
  if not fields then return nil end
  return extend(gen, plan, by .. (":agg { %s }"):format(fields), ("SELECT %s%s FROM %s%s"):format(selected, sql, from, group_sql),
    columns, { unique = false, rows = rows })
end

-- What a pivot table may ask of a column's values.
local pivot_values = {
  integer = { 0, 1, 2, 5, -3 }, string = { "a", "ab", "zz", "é", "it's" }, boolean = { true, false },
}

--- The verb pivot, with the values named.
function groups.pivot(gen, plan, extend)
  local exact = require("tests.oracle.plans").exact(plan.columns)
  local source
  for _, column in ipairs(exact) do
    if pivot_values[column.kind] and not column.unique then source = column end
  end
  if not source then return nil end
  local keys, taken = {}, {}
  for i = 1, random(0, 2) do
    if exact[i] and exact[i] ~= source then keys[#keys + 1] = exact[i] end
  end
  local columns, names, selected = {}, {}, {}
  for i, key in ipairs(keys) do
    columns[i] = { name = key.name, kind = key.kind, bound = key.bound, plain = key.plain, date = key.date, nan = key.nan }
    names[i], selected[i] = ("%q"):format(key.name), quote(key.name)
    taken[key.name] = true
  end
  local value = pick(exact)
  local fn, kind, bound = "count", "integer", 1e6
  if value.nan then return nil end
  if random(2) == 1 then fn, kind, bound = pick { "min", "max" }, value.kind, value.bound end
  local fill = kind == "integer" and random(2) == 1
  -- "true" is no name to sqlite, not even in quotes.
  local named = (source.kind == "boolean" or random(3) == 1) and "p_" or ""
  local wanted = {}
  for i, one in ipairs(require("tests.oracle.tables").shuffled(pivot_values[source.kind])) do
    local name = named .. tostring(one)
    if i > 3 or taken[name] then break end
    wanted[i] = ("%q"):format(one)
    local condition = ("%s = %s"):format(quote(source.name),
      type(one) == "string" and expressions.string_literal(one) or tostring(one))
    -- A cell without rows is nil, also of count, which else is 0 for rows without a value.
    local cell = ("case when count(*) FILTER (WHERE %s) > 0 then %s(%s) FILTER (WHERE %s) end"):format(condition, fn, quote(value.name),
      condition)
    selected[#selected + 1] = (fill and "coalesce(%s, 0)" or "%s"):format(cell) .. " AS " .. quote(name)
    columns[#columns + 1] = { name = name, kind = kind, bound = bound, plain = value.plain, date = kind == "string" and value.date }
  end
  if #wanted == 0 then return nil end
  local options = { ("columns = %q"):format(source.name), ("names = { %s }"):format(table.concat(wanted, ", ")),
    ("values = lb.%s(%q)"):format(fn, value.name) }
  if #keys > 0 then options[#options + 1] = ("index = { %s }"):format(table.concat(names, ", ")) end
  if named ~= "" then options[#options + 1] = ("name = function(value) return %q .. tostring(value) end"):format(named) end
  if fill then options[#options + 1] = "fill = 0" end
  local group_sql = #keys > 0 and " GROUP BY " .. table.concat(selected, ", ", 1, #keys) or ""
  return extend(gen, plan, (":pivot { %s }"):format(table.concat(options, ", ")),
    ("SELECT %s FROM %s%s"):format(table.concat(selected, ", "), plan.last, group_sql), columns,
    { unique = false, rows = #keys > 0 and plan.rows or 1 })
end

-- The greatest multiple of `every`, moved by `offset`, that is not greater than the time.
local function floored(dialect, time, every, offset)
  local moved = ("(%s - (%d))"):format(time, offset)
  local template = dialect == "sqlite" and "(%s / %d - (%s %% %d < 0))" or "(%s // %d - case when %s %% %d < 0 then 1 else 0 end)"
  return ("(%s * %d + (%d))"):format(template:format(moved, every, moved, every), every, offset)
end

-- Each window: Lua, and a query that adds lb_start and lb_end to the rows with a time.
local time_windows = {}

function time_windows.tumble(gen, plan, time, name)
  local size, offset = pick { 1, 4, 10 }, pick { 0, 0, 3, -5 }
  local start = floored(gen.dialect, time, size, offset)
  return ("lb.tumble(%q, %d, %d)"):format(name, size, offset),
    ("SELECT *, %s AS lb_start, %s + %d AS lb_end FROM %s WHERE %s IS NOT NULL"):format(start, start, size, plan.last, time)
end

function time_windows.slide(gen, plan, time, name)
  local size, every = pick { 2, 5, 9 }, pick { 1, 3, 4, 10 }
  local start = floored(gen.dialect, time, every, 0)
  local numbers = {}
  for i = 0, (size + every - 1) // every - 1 do numbers[#numbers + 1] = "SELECT " .. i .. " AS lb_n" end
  return ("lb.slide(%q, %d, %d)"):format(name, size, every),
    ("SELECT * FROM (SELECT *, %s - lb_n * %d AS lb_start, %s - lb_n * %d + %d AS lb_end FROM %s CROSS JOIN (%s) AS numbers "
      .. "WHERE %s IS NOT NULL) AS slid WHERE %s < lb_end"):format(start, every, start, every, size, plan.last,
      table.concat(numbers, " UNION ALL "), time, time)
end

-- A session begins where the time before is `gap` away; it is numbered by how many began until then.
function time_windows.session(_, plan, time, name, partition)
  local gap = pick { 1, 3, 8 }
  local over = partition == "" and "" or "PARTITION BY " .. partition
  local whole = "PARTITION BY " .. partition .. (partition == "" and "" or ", ") .. "lb_session"
  return ("lb.session(%q, %d)"):format(name, gap),
    ("SELECT *, min(%s) OVER (%s) AS lb_start, max(%s) OVER (%s) + %d AS lb_end FROM (SELECT *, sum(lb_first) OVER (%s ORDER BY %s) "
      .. "AS lb_session FROM (SELECT *, case when %s - lag(%s) OVER (%s ORDER BY %s) < %d then 0 else 1 end AS lb_first FROM %s "
      .. "WHERE %s IS NOT NULL) AS firsts) AS sessions"):format(time, whole, time, whole, gap, over, time, time, time, over, time, gap,
      plan.last, time)
end

--- group_by with a window of time, of a column of integers.
function groups.time(gen, plan, extend)
  local exact = require("tests.oracle.plans").exact(plan.columns)
  local time
  for _, column in ipairs(exact) do
    if column.kind == "integer" and column.bound and column.bound < 1e6 then time = column end
  end
  if not time then return nil end
  local kind = pick { "tumble", "slide", "session" }
  local names, selected, columns = {}, {}, {}
  for i = 1, random(0, 2) do
    local key = exact[i]
    if key and key ~= time and not key.name:find "^window_" then
      names[#names + 1], selected[#selected + 1] = ("%q"):format(key.name), quote(key.name)
      columns[#columns + 1] = { name = key.name, kind = key.kind, bound = key.bound, plain = key.plain, date = key.date, nan = key.nan }
    end
  end
  local lua, query = time_windows[kind](gen, plan, quote(time.name), time.name, table.concat(selected, ", "))
  names[#names + 1] = lua
  selected[#selected + 1], selected[#selected + 2] = "lb_start", "lb_end"
  local partition = table.concat(selected, ", ")
  selected[#selected - 1], selected[#selected] = "lb_start AS window_start", "lb_end AS window_end"
  for _, name in ipairs { "window_start", "window_end" } do
    columns[#columns + 1] = { name = name, kind = "integer", bound = time.bound * 2 + 20 }
  end
  -- The records of a session come by time, so that the unique column does not say which is first.
  local unique = kind ~= "session" and plan.unique or false
  local inside = setmetatable({ last = ("(%s) AS timed"):format(query), unique = unique }, { __index = plan })
  local fields, sql, from = some(gen, inside, columns, partition)
  if not fields then return nil end
  return extend(gen, plan, (":group_by(%s):agg { %s }"):format(table.concat(names, ", "), fields),
    ("SELECT %s, %s FROM %s GROUP BY %s"):format(table.concat(selected, ", "), sql, from, partition), columns,
    { unique = false, rows = plan.rows * (kind == "slide" and 9 or 1) })
end

return groups
