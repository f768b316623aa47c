--- Rows: verbs of datasets whose records have named columns.
--
-- A column is computed by a string, an SQL expression that the engine evaluates, or by a Lua function of the row. Names
-- are checked when a verb is called. The verbs of this module are methods of datasets.
-- @module luabatch.row
local check = require "luabatch.check"
local columns = require "luabatch.columns"
local compat = require "luabatch.compat"
local dataset = require "luabatch.dataset"

local row = {}

-- What gives the values that it takes.
local keeps_values = {
  grep = true, lower = true, filter = true, sample = true, limit = true, distinct = true, sort_by = true, repartition = true,
  coalesce = true, cache = true, top = true,
}

-- A new dataset of rows whose node stands on `node`.
local function derive(node, op, fields)
  fields.op, fields.label = op, fields.label or op
  fields.inputs = fields.inputs or { node }
  fields.names = fields.names or node.names
  fields.columns = #fields.names
  return dataset.new(fields)
end

-- The only column of records that are single values and no tables: its name and type; nothing of other records.
local function only_column(node)
  local op = node.op
  if op == "text" then return "line", "string" end
  if op == "words" then return "word", "string" end
  if op == "field" then return "field", "string" end
  if op == "range" then return "value", "integer" end
  if op == "list" then
    for _, record in ipairs(node.rows) do
      if type(record[1]) == "table" then return nil end
    end
    if node.columns == 1 and #node.rows > 0 then return "value", "any" end
  elseif keeps_values[op] then
    return only_column(node.inputs[1])
  end
end

-- The node of a dataset as rows. Lines and other plain values are rows of one column. Where the columns are not known, records
-- being tables, those that the verb mentions are taken from them.
local function rows(self, verb, mentioned)
  local node = self._node
  if node.names then return node end
  local name, kind = only_column(node)
  if name then
    return { op = "named", inputs = { node }, names = { name }, columns = 1, types = { [name] = kind }, label = verb }
  end
  if node.op == "fields" then
    check.misuse("%s needs rows, and a record is the fields of a line here; rows are what "
      .. "lb.csv(path, { sep = ..., header = false, columns = { ... } }) gives, or map(function(a, b) return { a = a, b = b } end)"
      .. ":select(\"a\", \"b\")", verb)
  end
  if node.columns and node.columns ~= 1 then
    check.misuse("%s needs rows, and a record has %d values here; make a table with string keys of them with map", verb,
      node.columns)
  end
  if not mentioned or #mentioned == 0 then
    check.misuse('%s: the columns are not known here; name them first with select("a", "b")', verb)
  end
  return {
    op = "unpack", inputs = { node }, names = columns.unique(verb, mentioned), columns = #mentioned, label = verb,
  }
end

--- A dataset's node as rows, for other modules; a new dataset of rows that stands on a node.
row.node, row.derive = rows, derive

-- The item of a select that computes `name`.
local function computed(verb, names, name, how)
  if type(how) == "function" then return { name = name, fn = how } end
  if type(how) ~= "string" then check.bad(verb, name, "SQL expression or function", how) end
  for _, known in ipairs(names) do
    if known == how then return { name = name, column = how } end
  end
  local _, used = columns.sql(verb, how, names)
  return { name = name, sql = how, used = used }
end

-- star: what comes to the columns later (late.lua) is selected, too.
local function select_items(node, verb, items, star, on_error)
  local names = {}
  for i, item in ipairs(items) do names[i] = item.name end
  columns.unique(verb, names)
  star = star and columns.set(node.names)
  return derive(node, "select", { items = items, names = names, label = verb, star = star, on_error = on_error })
end

local function kept_items(node)
  local items = {}
  for i, name in ipairs(node.names) do items[i] = { name = name, column = name } end
  return items
end

local function sorted_keys(verb, t)
  local keys = {}
  for key in pairs(t) do
    if type(key) ~= "string" then check.bad(verb, "column", "string as name", key) end
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

-- The options of a select are a table of their own behind the columns, with nothing in it but on_error.
local function select_options(arguments)
  local last = arguments[#arguments]
  if #arguments < 2 or type(last) ~= "table" or getmetatable(last) or next(last, next(last)) ~= nil then return nil end
  local value = last.on_error
  if value ~= "skip" and value ~= "fail" and type(value) ~= "table" then return nil end -- a column of that name
  arguments[#arguments] = nil
  return check.options("select", last, { on_error = "policy" }).on_error
end

--- The columns named, and computed ones: a table's names stand in order of bytes behind those before it. Records that are tables
-- become rows of the columns named.
-- @param ... string|table: names of columns, "*" for all, tables `{name = SQL expression or function(row)}`; behind them
--   `{on_error = "skip"}` or `{on_error = {to = path}}` as for `map`: rows for which one of the computed ones fails are left out
-- @raise a column that is not there, or an expression that is wrong, is an error of the call
-- @usage lb.csv("people.csv"):select("name", { next = "age + 1", initial = function(r) return r.name:sub(1, 1) end }):show()
function row:select(...)
  local arguments, plain = { ... }, {}
  local on_error = select_options(arguments)
  if #arguments == 0 then check.bad("select", "column", "string or table", nil) end
  for i, argument in ipairs(arguments) do
    if type(argument) == "string" and plain then plain[i] = argument else plain = nil end
  end
  local node, items, star = rows(self, "select", plain), {}, false
  for _, argument in ipairs(arguments) do
    if argument == "*" then
      star = true
      for _, item in ipairs(kept_items(node)) do items[#items + 1] = item end
    elseif type(argument) == "string" then
      columns.find("select", node.names, argument)
      items[#items + 1] = { name = argument, column = argument }
    elseif type(argument) == "table" and not getmetatable(argument) then
      local given = {}
      for key, value in pairs(argument) do
        if compat.math_type(key) ~= "integer" then given[key] = value end
      end
      for _, name in ipairs(argument) do
        columns.find("select", node.names, name)
        items[#items + 1] = { name = name, column = name }
      end
      for _, name in ipairs(sorted_keys("select", given)) do
        items[#items + 1] = computed("select", node.names, name, argument[name])
      end
    else
      check.bad("select", "column", "string or table", argument)
    end
  end
  if #items == 0 then check.misuse("select: no column is named") end
  if on_error then
    local has_computed = false
    for _, item in ipairs(items) do has_computed = has_computed or not item.column end
    if not has_computed then check.misuse("select: 'on_error' is about computed columns, and there is none") end
    if type(on_error) == "string" and columns.index(node.names)[on_error] then
      check.misuse("select: { on_error = %q } is the option, or the column '%s' under another name; write %s for the column, or "
        .. "with_columns and then select", on_error, on_error, "'\"" .. on_error .. "\"'")
    end
  end
  return select_items(node, "select", items, star, on_error)
end

--- The rows for which a condition is true: neither false nor nil.
-- @param condition string|function: an SQL expression, or a function of the row, as for `filter`
-- @param options table?: `{on_error = "skip"}` or `{on_error = {to = path}}` as for `map`: rows for which the condition fails are left out
-- @raise a column that is not there, an expression that is wrong, or that is no boolean
-- @usage lb.csv("people.csv"):where("age >= 18 and country in ('SE', 'NO')"):show()
function row:where(condition, options)
  if type(condition) == "function" then return self:filter(condition, options) end
  local on_error = check.options("where", options, { on_error = "policy" }).on_error
  check.string("where", "condition", condition)
  local node = rows(self, "where")
  local _, used = columns.sql("where", condition, node.names)
  return derive(node, "where", { sql = condition, used = used, on_error = on_error })
end

--- All columns, and computed ones; a column that exists is replaced where it stands.
-- @param computations table: `{name = SQL expression or function(row)}`, all of them computed from the columns before
-- @param options table?: `{on_error = "skip"}` or `{on_error = {to = path}}` as for `map`: rows for which one of them fails are left out
-- @raise a column that is not there, or an expression that is wrong
-- @usage lb.csv("sales.csv"):with_columns({ total = "amount * quantity" }):show()
function row:with_columns(computations, options)
  local on_error = check.options("with_columns", options, { on_error = "policy" }).on_error
  if type(computations) ~= "table" then check.bad("with_columns", "columns", "table", computations) end
  local node = rows(self, "with_columns")
  local items, index = kept_items(node), columns.index(node.names)
  for _, name in ipairs(sorted_keys("with_columns", computations)) do
    items[index[name] or #items + 1] = computed("with_columns", node.names, name, computations[name])
  end
  return select_items(node, "with_columns", items, true, on_error)
end

--- A node with the columns that keys are computed into: `{name = SQL expression or function(row)}`, list elements left aside.
-- @return node, list of the new columns' names
function row.with_computed(node, verb, t)
  local given = {}
  for name, how in pairs(t) do
    if compat.math_type(name) ~= "integer" then given[name] = how end
  end
  local names = sorted_keys(verb, given)
  if #names == 0 then return node, names end
  local items, index = kept_items(node), columns.index(node.names)
  for _, name in ipairs(names) do
    if index[name] then
      check.misuse("%s: there is a column '%s' already; what is computed needs another name", verb, name)
    end
    items[#items + 1] = computed(verb, node.names, name, given[name])
  end
  return select_items(node, verb, items)._node, names
end

--- Other names for columns.
-- @param names table: `{old = "new"}`
-- @raise a column that is not there, or a name that is there twice
-- @usage lb.csv("people.csv"):rename({ country = "land" }):show()
function row:rename(names)
  if type(names) ~= "table" then check.bad("rename", "names", "table", names) end
  local node = rows(self, "rename")
  local items, index = kept_items(node), columns.index(node.names)
  for _, old in ipairs(sorted_keys("rename", names)) do
    columns.find("rename", node.names, old)
    items[index[old]].name = check.string("rename", old, names[old])
  end
  return select_items(node, "rename", items, true)
end

--- All columns but those named.
-- @param ... string: names of columns, or one list of them
-- @raise a column that is not there, or none would be left
-- @usage lb.csv("people.csv"):drop("age"):show()
function row:drop(...)
  local node = rows(self, "drop")
  local gone, items = columns.index(columns.list("drop", node.names, ...)), {}
  for _, item in ipairs(kept_items(node)) do
    if not gone[item.name] then items[#items + 1] = item end
  end
  if #items == 0 then check.misuse("drop: no column would be left") end
  return select_items(node, "drop", items, true)
end

--- Values in place of nil.
-- @param values table: `{column = value}` of strings, numbers and booleans
-- @raise a column that is not there
-- @usage lb.csv("people.csv"):fill_nil({ age = 0, country = "?" }):show()
function row:fill_nil(values)
  if type(values) ~= "table" then check.bad("fill_nil", "values", "table", values) end
  local node = rows(self, "fill_nil")
  local items, index = kept_items(node), columns.index(node.names)
  for _, name in ipairs(sorted_keys("fill_nil", values)) do
    columns.find("fill_nil", node.names, name)
    local sql = ("coalesce(%s, %s)"):format(columns.quote(name), columns.literal("fill_nil", values[name]))
    items[index[name]] = computed("fill_nil", node.names, name, sql)
  end
  return select_items(node, "fill_nil", items, true)
end

--- The rows in which none of these columns is nil (without names: no column).
-- @param ... string?: names of columns
-- @raise a column that is not there
-- @usage lb.csv("people.csv"):drop_nil("age"):show()
function row:drop_nil(...)
  local node = rows(self, "drop_nil")
  local list = select("#", ...) == 0 and node.names or columns.list("drop_nil", node.names, ...)
  local conditions = {}
  for i, name in ipairs(list) do conditions[i] = columns.quote(name) .. " is not null" end
  local sql = table.concat(conditions, " and ")
  return derive(node, "where", { sql = sql, used = list, label = "drop_nil" })
end

--- The first row for each combination of values of these columns (without names: of all), by partition of a hash.
-- @param ... string?: names of columns
-- @raise a column that is not there
-- @usage lb.csv("sales.csv"):drop_duplicates("user"):show()
function row:drop_duplicates(...)
  local node = rows(self, "drop_duplicates")
  local keys = select("#", ...) == 0 and node.names or columns.list("drop_duplicates", node.names, ...)
  return derive(node, "drop_duplicates", { keys = keys })
end

--- A row for each element of the list in a column, in the list's place; a row whose list is nil or empty goes.
-- @param name string: the column
-- @raise a column that is not there; a value that is no list ends the run
-- @usage lb.json("events.json"):explode("tags"):show()
function row:explode(name)
  local node = rows(self, "explode")
  columns.find("explode", node.names, name)
  return derive(node, "explode", { column = name, label = ("explode(%s)"):format(name) })
end

local Descending = {}

--- For `order_by`: a column in descending order.
-- @function lb.desc(name)
-- @param name string: the column
-- @return order: for `order_by`, of the verb and of `window`
-- @usage lb.csv("people.csv"):order_by("country", lb.desc "age"):show()
function row.desc(name)
  return setmetatable({ name = check.string("desc", "column", name) }, Descending)
end

-- Names of columns and lb.desc as a list of {name, desc}.
local function order_keys(verb, node, ...)
  local keys, given = {}, { ... }
  if #given == 1 and type(given[1]) == "table" and not getmetatable(given[1]) then given = given[1] end
  for i, key in ipairs(given) do
    local desc = getmetatable(key) == Descending
    local name = desc and key.name or key
    if type(name) ~= "string" then check.bad(verb, "column", "string or lb.desc(string)", name) end
    local plain = name:match("^(.-)%s+[dD][eE][sS][cC]$")
    if plain and columns.index(node.names)[plain] then check.misuse('%s: in descending order is lb.desc "%s"', verb, plain) end
    keys[i] = { name = name, desc = desc }
  end
  if #keys == 0 then check.bad(verb, "column", "string", nil) end
  for _, key in ipairs(keys) do columns.find(verb, node.names, key.name) end
  return keys
end

--- Sorts rows by columns; rows that are equal in all of them keep their order. nil is least.
-- @param ... string: names of columns, or `lb.desc(name)`
-- @raise a column that is not there
-- @usage lb.csv("people.csv"):order_by("country", lb.desc "age"):show()
function row:order_by(...)
  if select("#", ...) == 0 then check.bad("order_by", "column", "string", nil) end
  local node = rows(self, "order_by")
  return derive(node, "order_by", { keys = order_keys("order_by", node, ...) })
end

-- Groups (groups.lua).

--- Groups of rows that are equal in these columns; `agg`, `count` or `pivot` makes rows of them. nil is a group as any other value.
-- @param ... string|table: names of columns, tables `{name = SQL expression or function(row)}` of computed ones, and perhaps
--   one window of time: `lb.tumble`, `lb.slide` or `lb.session`
-- @return groups: with the methods `agg`, `count` and `pivot`
-- @raise a column that is not there
-- @usage lb.csv("sales.csv"):group_by("country"):agg({ n = lb.count(), total = lb.sum "amount" }):show()
function row:group_by(...)
  return require("luabatch.groups").new(rows(self, "group_by"), "group_by", ...)
end

--- One row of aggregates over all rows, also when there are none.
-- @param aggregates table: `{name = lb.sum "amount", ...}`, as for `agg` of groups
-- @raise a column that is not there
-- @usage lb.csv("sales.csv"):agg({ n = lb.count(), total = lb.sum "amount" }):show()
function row:agg(aggregates)
  return self:group_by():agg(aggregates)
end

--- A table in which the values of one column are columns.
-- @param options table: `index` (a column, a list of columns, or a window of time: a row for each combination; none: one row),
--   `columns` (the column whose values become columns), `values` (an aggregate, or a table of them), `names` (list of the values
--   that become columns, in this order; without it they are looked for at once, in their order), `name` (function(value,
--   aggregate) -> name of a column; default the value, with several aggregates `value_aggregate`), `fill` (in place of nil),
--   `on_error` as for `agg`; a value that only rows have that are left out is still a column
-- @raise a column that is not there, more than 10000 values without `names`, more than 250 columns
-- @usage lb.csv("sales.csv"):pivot({ index = "country", columns = "year", values = lb.sum "amount", fill = 0 }):show()
function row:pivot(options)
  if type(options) ~= "table" then check.bad("pivot", "options", "table", options) end
  local rest = {}
  for key, value in pairs(options) do if key ~= "index" then rest[key] = value end end
  local index = options.index
  if type(index) ~= "table" or getmetatable(index) then index = { index } end
  return require("luabatch.groups").new(rows(self, "pivot"), "pivot", compat.unpack(index)):pivot(rest)
end

-- Windows.

--- Columns computed for each row from the rows of its partition, in an order: their place, neighbours, and aggregates over a
-- frame of rows around it. A column that exists is replaced where it stands.
--
-- The frame of a row is, with `rows = {from, to}`, the rows that many places away; with `range = {from, to}`, those whose
-- value in the one column of order_by (numbers, or ISO 8601 times, then in seconds) lies so far away, in the direction of
-- the order. -math.huge and math.huge are unbounded ends. Without either it is all of the partition, or with order_by the rows
-- from its beginning to the last that is equal to the row in order.
--
-- Rows come out by partition, in it in order; rows equal in order as they came.
-- @param options table: `partition_by` (a column or a list; without it all rows are one partition), `order_by` (columns, or
--   `lb.desc(name)`), `rows` or `range`, and under each other name the function of a new column: `lb.row_number() rank()
--   dense_rank() percent_rank() cume_dist() ntile(n) lag(column, n, default) lead(column, n, default) nth_value(column, n)
--   first(column) last(column) over(function(frame))`, and every aggregate. lb.first and lb.last give the value of the
--   frame's first or last row, nil or not. `on_error` as for `map`: rows for which an expression or function that a column is
--   of fails, or gives a value that its aggregate refuses, are left out before the window; rows for whose frame an `lb.over`
--   fails, of the result
-- @raise a column that is not there; a function that needs `order_by` and has none
-- @usage lb.csv("sales.csv"):window({ partition_by = "country", order_by = lb.desc "amount", place = lb.row_number() })
--   :where("place <= 3"):show()
function row:window(options)
  local node = require("luabatch.window").node(rows(self, "window"), options, {
    order_keys = order_keys,
    bind = function(on, name, fn)
      return require("luabatch.groups").bound_aggregate(on, { name = name, aggregate = fn }, "window")
    end,
    is_desc = function(key) return getmetatable(key) == Descending end,
  })
  columns.unique("window", node.names)
  return dataset.new(node)
end

--- Rows of both datasets side by side, where the keys named by `on` are equal; nil equals nothing. The columns are the left ones and
-- the right ones without the keys; equal names get the suffix "_right".
--
-- Unless the strategy is "merge", the rows come in order of the left dataset, for each in order of the right one; rows of the
-- right one without a match follow. With "auto" it is the other way round where the files of the left dataset are known to have
-- less than half the bytes of the right one's: then the left rows are kept in memory, and the right ones stream past.
-- @function ds:join(other, options)
-- @param other dataset: of rows
-- @param options table: `on`: a column, a list of columns, a function of the row that gives the key, or `{left =, right =}` of these;
--   `how`: "inner" (default), "left", "right", "full", "semi", "anti" or "cross"; `strategy`: "auto" (default), "broadcast" (the
--   other dataset's rows are kept in memory), "hash" (both sides are divided by key, on disk) or "merge" (both are sorted by key);
--   `salt`: "auto", false, a number or a function of the key: into how many pieces the left rows of a key are cut where rows
--   are divided by key; `combine(left, right)`: makes the record of two rows, nil for the one that is missing
-- @raise a column that is not there, or `on` that does not fit both sides
-- @usage lb.csv("people.csv"):join(lb.csv("sales.csv"), { on = { left = "name", right = "user" }, how = "left" }):show()
function row.join(self, other, options, label)
  if not dataset.is(other) then check.bad(label, "other", "dataset", other) end
  if options ~= nil and type(options) ~= "table" then check.bad(label, "options", "table", options) end
  local left, right = rows(self, label), rows(other, label)
  local fields = require("luabatch.row_join").node(label, left, right, options or {})
  fields.op, fields.star = "join_rows", fields.names and { columns.set(left.names), columns.set(right.names) } or nil
  return dataset.new(fields)
end

--- The node of `other` with its columns in the order of `names`.
function row.aligned(verb, names, other)
  local node = other._node
  if not node.names then check.misuse("%s: the other dataset has no named columns", verb) end
  local same, mine, others = #node.names == #names, columns.index(names), columns.index(node.names)
  for i, name in ipairs(names) do
    if not others[name] then check.misuse("%s: the other dataset has no column '%s'", verb, name) end
    same = same and node.names[i] == name
  end
  for _, name in ipairs(node.names) do
    if not mine[name] then check.misuse("%s: only the other dataset has a column '%s'", verb, name) end
  end
  return same and node or other:select(compat.unpack(names))._node
end

return row
