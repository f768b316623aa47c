--- Random plans: chains of verbs, each said as luabatch's Lua and as a query of the peer.
--
-- A plan is `{ lb =, ctes =, last =, columns =, unique =, rows =, prev =, order = }`. `lb` is Lua text, `ctes` the
-- peer's queries, one for each verb, of which `last` names the result; `columns` are those of expressions.lua. `unique` is
-- the name of a column of different integers in whose order the rows come, while that is known; without it what hangs on
-- the order of input (limit, first) has no one answer. `rows` is how many rows there are at most, `prev` the plan without the
-- last verb, `order` the keys of a last `order_by` and `order_sql` what the peer sorts by.
local expressions = require "tests.oracle.expressions"
local groups = require "tests.oracle.groups"
local tables = require "tests.oracle.tables"
local windows = require "tests.oracle.windows"

local plans = {}

local random, pick, quote = math.random, expressions.pick, expressions.quote
local shuffled = tables.shuffled

local MOST_ROWS = 6000

local function names_of(columns)
  local list = {}
  for i, column in ipairs(columns) do list[i] = column.name end
  return list
end

local function quoted(columns, prefix)
  local list = {}
  for i, column in ipairs(columns) do list[i] = (prefix or "") .. quote(column.name) end
  return table.concat(list, ", ")
end

local function lua_list(names)
  local list = {}
  for i, name in ipairs(names) do list[i] = ("%q"):format(name) end
  return table.concat(list, ", ")
end

local function has(columns, name)
  for _, column in ipairs(columns) do
    if column.name == name then return column end
  end
end

local function changed(column, values)
  local result = {}
  for key, value in pairs(column) do result[key] = value end
  for key, value in pairs(values) do result[key] = value end
  return result
end

local function scope(gen, plan)
  return { dialect = gen.dialect, columns = plan.columns }
end

-- The plan after one more verb.
local function extend(gen, plan, verb, query, columns, options)
  gen.n = gen.n + 1
  local name = "s" .. gen.n
  local ctes = { table.unpack(plan.ctes) }
  for _, cte in ipairs(options.other and options.other.ctes or {}) do ctes[#ctes + 1] = cte end
  ctes[#ctes + 1] = name .. " AS (" .. query .. ")"
  local unique = options.unique
  if unique == nil then unique = plan.unique end
  -- Another column may have got its name.
  if unique and not (has(columns, unique) or {}).unique then unique = nil end
  return {
    lb = plan.lb .. verb, ctes = ctes, last = name, columns = columns, unique = unique or nil, rows = options.rows or plan.rows,
    prev = plan, order = options.order, order_sql = options.order_sql,
  }
end

--- The plan that reads table number i.
function plans.source(gen, i)
  local t = gen.tables[i]
  return {
    lb = ("t[%d]"):format(i), ctes = {}, last = gen.prefix .. i, columns = tables.order(t), unique = "id", rows = #t.rows,
  }
end

-- A name for a computed column: a new one, or one that is there.
local function target_name(plan)
  if random(4) == 1 then return pick(plan.columns).name end
  return pick { "e", "f", "g", "total", "x y" }
end

-- A computed column: `{ column, Lua text, SQL text }`. Functions of Lua are those that mean the same for nil.
local function computation(gen, plan, name)
  local source = pick(plan.columns)
  if random(6) == 1 then
    local column = changed(source, { name = name, unique = false })
    return { column, ("function(row) return row[%q] end"):format(source.name), quote(source.name) }
  end
  if random(6) == 1 and source.kind == "integer" and source.bound and source.bound < 1e6 and not source.fuzzy then
    return {
      { name = name, kind = "integer", bound = source.bound * 3 + 1 },
      ("function(row) local v = row[%q] return v and v * 3 - 1 end"):format(source.name), quote(source.name) .. " * 3 - 1",
    }
  end
  local made
  if random(12) == 1 then
    made = expressions.fuzzy(scope(gen, plan))
  else
    made = expressions.make(scope(gen, plan), pick { "integer", "float", "string", "boolean" }, random(1, 3), false)
  end
  local column = { name = name, kind = made.kind, bound = made.bound, plain = made.plain, fuzzy = made.fuzzy }
  -- A column by itself keeps whatever it is.
  if made.is_column then column.date = made.date end
  return { column, ("%q"):format(made.lb), made.sql }
end

local steps = {}

function steps.where(gen, plan)
  local condition = expressions.condition(scope(gen, plan))
  return extend(gen, plan, (":where(%q)"):format(condition.lb),
    ("SELECT * FROM %s WHERE %s"):format(plan.last, condition.sql), plan.columns, {})
end

-- Filters by Lua functions; their comparisons are not those of SQL with nil, so they ask for it; and a NaN is
-- less than nothing there, and more than everything in SQL.
function steps.filter(gen, plan)
  local column = pick(plan.columns)
  if column.fuzzy or column.nan then return nil end
  local name = quote(column.name)
  local lua, sql
  if column.kind == "mixed" or random(3) == 1 then
    lua, sql = ("row[%q] ~= nil"):format(column.name), name .. " IS NOT NULL"
  elseif column.kind == "boolean" then
    lua, sql = ("row[%q]"):format(column.name), name
  else
    local literal = expressions.literal(gen.dialect, column.kind)
    local comparison = pick { "<", ">=", "==" }
    local field = column.name:find "^%a%w*$" and column.name ~= "select" and "row." .. column.name or ("row[%q]"):format(column.name)
    lua = ("%s ~= nil and %s %s %q"):format(field, field, comparison, literal.constant)
    sql = ("%s %s %s"):format(name, comparison == "==" and "=" or comparison, literal.sql)
  end
  return extend(gen, plan, (":filter(function(row) return %s end)"):format(lua),
    ("SELECT * FROM %s WHERE %s"):format(plan.last, sql), plan.columns, {})
end

-- Names that are plain columns, and a table of computed ones, whose names come in order of bytes.
function steps.select(gen, plan)
  local kept = shuffled(plan.columns)
  for _ = random(#kept), #kept - 1 do table.remove(kept) end
  if plan.unique and random(3) > 1 and not has(kept, plan.unique) then kept[#kept + 1] = has(plan.columns, plan.unique) end
  local columns, sql, lua = { table.unpack(kept) }, {}, {}
  for i, column in ipairs(kept) do
    sql[i], lua[i] = quote(column.name), ("%q"):format(column.name)
  end
  local computed = {}
  for _ = 1, random(0, 2) do
    local name = target_name(plan)
    if not has(columns, name) and not computed[name] then computed[name] = computation(gen, plan, name) end
  end
  local order, fields = {}, {}
  for name in pairs(computed) do order[#order + 1] = name end
  table.sort(order)
  for i, name in ipairs(order) do
    local one = computed[name]
    columns[#columns + 1], sql[#sql + 1] = one[1], one[3] .. " AS " .. quote(name)
    fields[i] = ("[%q] = %s"):format(name, one[2])
  end
  if #fields > 0 then lua[#lua + 1] = "{ " .. table.concat(fields, ", ") .. " }" end
  return extend(gen, plan, (":select(%s)"):format(table.concat(lua, ", ")),
    ("SELECT %s FROM %s"):format(table.concat(sql, ", "), plan.last), columns, {})
end

function steps.with_columns(gen, plan)
  local computed, fields, order = {}, {}, {}
  for _ = 1, random(1, 3) do
    local name = target_name(plan)
    if not computed[name] and name ~= plan.unique then
      computed[name] = computation(gen, plan, name)
      order[#order + 1] = name
    end
  end
  if #order == 0 then return nil end
  table.sort(order)
  local columns, sql = {}, {}
  for i, column in ipairs(plan.columns) do
    local one = computed[column.name]
    columns[i] = one and one[1] or column
    sql[i] = (one and one[3] .. " AS " or "") .. quote(column.name)
  end
  for i, name in ipairs(order) do
    local one = computed[name]
    fields[i] = ("[%q] = %s"):format(name, one[2])
    if not has(plan.columns, name) then
      columns[#columns + 1], sql[#sql + 1] = one[1], one[3] .. " AS " .. quote(name)
    end
  end
  return extend(gen, plan, (":with_columns { %s }"):format(table.concat(fields, ", ")),
    ("SELECT %s FROM %s"):format(table.concat(sql, ", "), plan.last), columns, {})
end

function steps.rename(gen, plan)
  local i = random(#plan.columns)
  local old, new = plan.columns[i].name, pick { "r1", "r 2", "from" }
  if has(plan.columns, new) or old == plan.unique then return nil end
  local columns, sql = { table.unpack(plan.columns) }, {}
  columns[i] = changed(columns[i], { name = new })
  for c, column in ipairs(plan.columns) do sql[c] = quote(column.name) .. (c == i and " AS " .. quote(new) or "") end
  return extend(gen, plan, (":rename { [%q] = %q }"):format(old, new),
    ("SELECT %s FROM %s"):format(table.concat(sql, ", "), plan.last), columns, {})
end

function steps.drop(gen, plan)
  if #plan.columns < 3 then return nil end
  local columns = { table.unpack(plan.columns) }
  local gone = table.remove(columns, random(#columns))
  return extend(gen, plan, (":drop(%q)"):format(gone.name),
    ("SELECT %s FROM %s"):format(quoted(columns), plan.last), columns, {})
end

function steps.fill_nil(gen, plan)
  local column = pick(plan.columns)
  if column.kind == "mixed" or column.fuzzy then return nil end
  local literal = expressions.literal(gen.dialect, column.kind)
  local columns, sql = {}, {}
  for i, one in ipairs(plan.columns) do
    columns[i], sql[i] = one, quote(one.name)
    if one == column then
      columns[i] = changed(one, { date = false, plain = one.plain and literal.plain, bound = one.bound and math.max(one.bound, 12) })
      sql[i] = ("coalesce(%s, %s) AS %s"):format(quote(one.name), literal.sql, quote(one.name))
    end
  end
  return extend(gen, plan, (":fill_nil { [%q] = %q }"):format(column.name, literal.constant),
    ("SELECT %s FROM %s"):format(table.concat(sql, ", "), plan.last), columns, {})
end

function steps.drop_nil(gen, plan)
  local list = shuffled(plan.columns)
  for _ = random(#list), #list - 1 do table.remove(list) end
  local conditions = {}
  for i, column in ipairs(list) do conditions[i] = quote(column.name) .. " IS NOT NULL" end
  return extend(gen, plan, (":drop_nil(%s)"):format(lua_list(names_of(list))),
    ("SELECT * FROM %s WHERE %s"):format(plan.last, table.concat(conditions, " AND ")), plan.columns, {})
end

-- Columns whose values are exact, as keys must be.
local function exact(columns, most)
  local list = {}
  for _, column in ipairs(shuffled(columns)) do
    if not column.fuzzy and (#list < (most or #columns)) then list[#list + 1] = column end
  end
  return list
end
plans.exact = exact

-- The first row of each group, by the unique column where there is one; else of whole rows, which are all alike.
function steps.drop_duplicates(gen, plan)
  local keys = exact(plan.columns, plan.unique and random(1, 2) or nil)
  if #keys == 0 or (not plan.unique and #keys < #plan.columns) then return nil end
  local order = plan.unique and quote(plan.unique) or "1"
  return extend(gen, plan, (":drop_duplicates(%s)"):format(lua_list(names_of(keys))),
    ("SELECT %s FROM (SELECT *, row_number() OVER (PARTITION BY %s ORDER BY %s) AS lb_place FROM %s) AS inside WHERE lb_place = 1")
      :format(quoted(plan.columns), quoted(keys), order, plan.last), plan.columns, { unique = false })
end

function steps.distinct(gen, plan)
  if #exact(plan.columns) < #plan.columns then return nil end
  return extend(gen, plan, ":distinct()",
    ("SELECT DISTINCT %s FROM %s"):format(quoted(plan.columns), plan.last), plan.columns, { unique = false })
end

-- Nothing that changes rows, only how they are computed.
function steps.placement(gen, plan)
  local verb = pick { ":repartition(3)", ":coalesce(2)", ":cache()" }
  return extend(gen, plan, verb, "SELECT * FROM " .. plan.last, plan.columns, { unique = verb == ":cache()" and nil })
end

local function order_keys(keys)
  local lua, sql = {}, {}
  for i, key in ipairs(keys) do
    local desc = random(3) == 1
    lua[i] = desc and ("lb.desc %q"):format(key.name) or ("%q"):format(key.name)
    -- nil is less than anything; so says sqlite, and DuckDB only when told.
    sql[i] = quote(key.name) .. (desc and " DESC NULLS LAST" or " ASC NULLS FIRST")
  end
  return table.concat(lua, ", "), table.concat(sql, ", ")
end

plans.order_keys = order_keys

-- Sorting, with a limit where all columns are keys, so that rows that are equal are the same.
function steps.order_by(gen, plan)
  local keys = exact(plan.columns, random(3) == 1 and random(1, 2) or nil)
  if #keys == 0 then return nil end
  local lua, sql = order_keys(keys)
  local verb, query, rows = (":order_by(%s)"):format(lua), ("SELECT * FROM %s ORDER BY %s"):format(plan.last, sql), plan.rows
  if #keys == #plan.columns and random(2) == 1 then
    local n = pick { 0, 1, 3, 10, 50 }
    verb, query, rows = verb .. (":limit(%d)"):format(n), query .. (" LIMIT %d"):format(n), math.min(rows, n)
  end
  return extend(gen, plan, verb, query, plan.columns, {
    unique = false, rows = rows, order = keys, order_sql = sql,
  })
end

function steps.limit(gen, plan)
  if not plan.unique then return nil end
  local n = pick { 0, 1, 5, 30 }
  return extend(gen, plan, (":limit(%d)"):format(n),
    ("SELECT * FROM %s ORDER BY %s LIMIT %d"):format(plan.last, quote(plan.unique), n), plan.columns, { rows = math.min(plan.rows, n) })
end

function steps.group(gen, plan)
  return groups.group(gen, plan, extend)
end

function steps.pivot(gen, plan)
  return groups.pivot(gen, plan, extend)
end

function steps.time(gen, plan)
  return groups.time(gen, plan, extend)
end

function steps.window(gen, plan)
  return windows.step(gen, plan, extend)
end

-- The kinds of two columns that become one.
local function merged(a, b)
  if a.kind ~= b.kind then return { name = a.name, kind = "mixed" } end
  return {
    name = a.name, kind = a.kind, bound = a.bound and b.bound and math.max(a.bound, b.bound), plain = a.plain and b.plain,
    date = a.date and b.date, fuzzy = a.fuzzy or b.fuzzy, nan = a.nan or b.nan,
  }
end

-- Another plan, of another table or the same one.
local function other_plan(gen, steps_at_most)
  local other = plans.source(gen, random(#gen.tables))
  for _ = 1, random(0, steps_at_most) do
    other = steps[pick { "where", "select", "with_columns", "drop_nil", "group" }](gen, other) or other
  end
  return other
end

-- Pairs of columns that can be equal.
local function key_pairs(a, b, dialect)
  local list = {}
  for _, left in ipairs(exact(a.columns)) do
    for _, right in ipairs(exact(b.columns)) do
      local numbers = (left.kind == "integer" and right.kind == "float" or left.kind == "float" and right.kind == "integer")
        -- DuckDB would make floats of all.
        and (dialect == "sqlite" or left.bound and right.bound)
      -- sqlite's booleans are the numbers 0 and 1.
      local has_mixed = (left.kind == "mixed" or right.kind == "mixed") and left.kind ~= "boolean" and right.kind ~= "boolean"
      if left.kind == right.kind or numbers or (dialect == "sqlite" and has_mixed) then
        list[#list + 1] = { left, right }
        -- Keys that are made to meet are better than others.
        if left.name == "k" and right.name == "k" then list[#list + 1] = list[#list] end
      end
    end
  end
  return shuffled(list)
end

local function join_columns(plan, other, keys, how)
  local columns, sql, is_key = {}, {}, {}
  local key_of = {}
  for _, pair in ipairs(keys) do key_of[pair[1].name], is_key[pair[2].name] = pair[2], true end
  for i, column in ipairs(plan.columns) do
    local right = key_of[column.name]
    if right and (how == "right" or how == "full") then
      columns[i] = merged(column, right)
      sql[i] = ("coalesce(l.%s, r.%s) AS %s"):format(quote(column.name), quote(right.name), quote(column.name))
    else
      columns[i], sql[i] = column, "l." .. quote(column.name)
    end
  end
  if how == "semi" or how == "anti" then return columns, sql end
  for _, column in ipairs(other.columns) do
    if not is_key[column.name] then
      local name = column.name
      while has(columns, name) do name = name .. "_right" end
      columns[#columns + 1] = changed(column, { name = name, unique = false })
      sql[#sql + 1] = ("r.%s AS %s"):format(quote(column.name), quote(name))
    end
  end
  return columns, sql
end

local function join_on(keys)
  local left, right = {}, {}
  for i, pair in ipairs(keys) do left[i], right[i] = pair[1].name, pair[2].name end
  if table.concat(left, "\0") == table.concat(right, "\0") then
    return #left == 1 and ("%q"):format(left[1]) or "{ " .. lua_list(left) .. " }"
  end
  if #left == 1 then return ("{ left = %q, right = %q }"):format(left[1], right[1]) end
  return ("{ left = { %s }, right = { %s } }"):format(lua_list(left), lua_list(right))
end

local function functions_on(pair)
  return ("{ left = function(row) return row[%q] end, right = function(row) return row[%q] end }"):format(pair[1].name, pair[2].name)
end

local sql_joins = { inner = "JOIN", left = "LEFT JOIN", right = "RIGHT JOIN", full = "FULL JOIN" }

function steps.join(gen, plan)
  local other = other_plan(gen, 2)
  local how = pick { "inner", "inner", "left", "right", "full", "semi", "anti", "cross" }
  if how == "cross" then
    if plan.rows * other.rows > MOST_ROWS then return nil end
    local columns, sql = join_columns(plan, other, {}, how)
    return extend(gen, plan, (":join(%s, { how = %q })"):format(other.lb, how),
      ("SELECT %s FROM %s AS l CROSS JOIN %s AS r"):format(table.concat(sql, ", "), plan.last, other.last), columns,
      { other = other, unique = false, rows = plan.rows * other.rows })
  end
  local found, keys = key_pairs(plan, other, gen.dialect), {}
  local used_left, used_right = {}, {}
  for i = 1, random(1, 2) do
    local pair = found[i]
    if pair and not used_left[pair[1].name] and not used_right[pair[2].name] then
      keys[#keys + 1] = pair
      used_left[pair[1].name], used_right[pair[2].name] = true, true
    end
  end
  if #keys == 0 then return nil end
  local rows = plan.rows + other.rows + plan.rows * other.rows // 3
  if rows > MOST_ROWS then return nil end
  -- A function has no name: the columns that it reads stay as they are.
  local by_function = #keys == 1 and random(6) == 1
  local columns, sql = join_columns(plan, other, by_function and {} or keys, how)
  local conditions = {}
  for i, pair in ipairs(keys) do conditions[i] = ("l.%s = r.%s"):format(quote(pair[1].name), quote(pair[2].name)) end
  local condition = table.concat(conditions, " AND ")
  local query
  if how == "semi" or how == "anti" then
    query = ("SELECT %s FROM %s AS l WHERE %sEXISTS (SELECT 1 FROM %s AS r WHERE %s)")
      :format(table.concat(sql, ", "), plan.last, how == "anti" and "NOT " or "", other.last, condition)
    rows = plan.rows
  else
    query = ("SELECT %s FROM %s AS l %s %s AS r ON %s")
      :format(table.concat(sql, ", "), plan.last, sql_joins[how], other.last, condition)
  end
  local options = { "on = " .. (by_function and functions_on(keys[1]) or join_on(keys)), ("how = %q"):format(how) }
  if random(2) == 1 then options[#options + 1] = ("strategy = %q"):format(pick { "auto", "broadcast", "hash", "merge" }) end
  if random(5) == 1 then options[#options + 1] = "salt = " .. pick { "3", "false", "function(key) if key ~= nil then return 4 end end" } end
  return extend(gen, plan, (":join(%s, { %s })"):format(other.lb, table.concat(options, ", ")), query, columns,
    { other = other, unique = false, rows = rows })
end

-- Unions and differences need two plans of the same columns: the same one with another filter.
local function alike(gen, plan)
  local other = steps.where(gen, plan) or plan
  if random(2) == 1 then other = steps.where(gen, other) or other end
  -- The text of the plan's own queries is there already.
  local known, ctes = {}, {}
  for _, cte in ipairs(plan.ctes) do known[cte] = true end
  for _, cte in ipairs(other.ctes) do
    if not known[cte] then ctes[#ctes + 1] = cte end
  end
  return changed(other, { ctes = ctes })
end

function steps.union(gen, plan)
  if plan.rows * 2 > MOST_ROWS then return nil end
  local other = alike(gen, plan)
  local order = shuffled(plan.columns)
  local verb = (":union(%s:select(%s))"):format(other.lb, lua_list(names_of(order)))
  return extend(gen, plan, verb, ("SELECT %s FROM %s UNION ALL SELECT %s FROM %s")
    :format(quoted(plan.columns), plan.last, quoted(plan.columns), other.last), plan.columns,
    { other = other, unique = false, rows = plan.rows * 2 })
end

-- intersection gives each record once; subtract keeps the left side's duplicates. nil is equal to nil in both.
function steps.set(gen, plan)
  if #exact(plan.columns) < #plan.columns then return nil end
  local other = alike(gen, plan)
  local conditions = {}
  for i, column in ipairs(plan.columns) do
    local name = quote(column.name)
    conditions[i] = ("l.%s IS NOT DISTINCT FROM r.%s"):format(name, name)
  end
  local is_difference = random(2) == 1
  return extend(gen, plan, (":%s(%s)"):format(is_difference and "subtract" or "intersection", other.lb),
    ("SELECT %s%s FROM %s AS l WHERE %sEXISTS (SELECT 1 FROM %s AS r WHERE %s)"):format(is_difference and "" or "DISTINCT ",
      quoted(plan.columns, "l."), plan.last, is_difference and "NOT " or "", other.last, table.concat(conditions, " AND ")),
    plan.columns, { other = other, unique = false })
end

local weights = {
  where = 6, filter = 3, select = 4, with_columns = 5, rename = 1, drop = 1, fill_nil = 2, drop_nil = 1, drop_duplicates = 2,
  distinct = 2, placement = 1, order_by = 4, limit = 2, group = 7, join = 7, union = 2, set = 2, window = 4, pivot = 2, time = 3,
}
local drawn = {}
for name, weight in pairs(weights) do
  for _ = 1, weight do drawn[#drawn + 1] = name end
end
table.sort(drawn)

--- A random plan of a few verbs over gen's tables.
-- @param gen `{ dialect =, tables =, prefix = }`; the peer's tables are named by the prefix and the number
function plans.make(gen)
  gen.n = 0
  local plan = plans.source(gen, 1)
  local wanted, n, tries = random(1, 5), 0, 0
  while n < wanted and tries < 40 do
    tries = tries + 1
    local longer = steps[pick(drawn)](gen, plan)
    if longer and #longer.lb < 20000 then plan, n = longer, n + 1 end
  end
  return plan
end

--- The peer's query for a plan.
-- @param columns SQL for the columns
function plans.query(plan, columns)
  local with = #plan.ctes > 0 and "WITH " .. table.concat(plan.ctes, ",\n") .. "\n" or ""
  return ("%sSELECT %s FROM %s%s"):format(with, columns, plan.last, plan.order_sql and " ORDER BY " .. plan.order_sql or "")
end

return plans
