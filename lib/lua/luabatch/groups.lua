--- Groups of rows: what `group_by` gives, and what makes rows of it.
--
-- Columns that only the engine sees have names that begin with a byte 1: no user's column is called so.
-- @module luabatch.groups
local check = require "luabatch.check"
local columns = require "luabatch.columns"
local compat = require "luabatch.compat"
local row = require "luabatch.row"

local groups = {}

local Groups = {}
Groups.__name = "groups"

local methods = { "agg", "count", "pivot" }
local is_aggregate = { sum = true, avg = true, min = true, max = true, median = true, first = true, last = true }

-- Groups are no rows yet: a verb on them was meant for the rows that agg makes, or is an aggregate.
function Groups.__index(_, name)
  if Groups[name] then return Groups[name] end
  local aggregate = name == "mean" and "avg" or name
  check.misuse("groups have no method '%s'; they have %s%s", tostring(name), table.concat(methods, ", "),
    is_aggregate[aggregate] and (', as in agg { v = lb.%s "amount" }'):format(aggregate) or "")
end

function Groups:__tostring()
  return ("groups by %s; agg, count or pivot makes rows of them"):format(table.concat(self.keys, ", "))
end

--- Groups of a node's rows.
-- @param node logical node of rows
-- @param verb for messages
-- @param ... names of columns, lists of them, or tables `{name = SQL expression or function(row)}`; one may be a window of time
function groups.new(node, verb, ...)
  local windows = require "luabatch.windows"
  local names, window, place = {}, nil, nil
  local function add(key)
    if windows.is(key) then
      if window then check.misuse("%s: more than one window of time", verb) end
      window, place = key, #names + 1
    elseif type(key) == "table" and not getmetatable(key) then
      for _, one in ipairs(key) do add(one) end
      local computed
      node, computed = row.with_computed(node, verb, key)
      for _, name in ipairs(computed) do add(name) end
    else
      names[#names + 1] = check.string(verb, "column", key)
    end
  end
  for i = 1, select("#", ...) do add((select(i, ...))) end
  local keys = columns.list(verb, node.names, names)
  local self = setmetatable({ node = node, keys = keys, verb = verb, window = false }, Groups)
  if window then windows.apply(self, window, math.min(place, #keys + 1)) end
  return self
end

-- An aggregate's columns must exist; what is no column's name is an expression, or a function of the row.
local function bound_aggregate(node, item, verb)
  local name, aggregate = item.name, item.aggregate
  local bound = { name = name, label = item.label, columns = {}, used = {}, computed = {} }
  for key, value in pairs(aggregate) do
    if key ~= "columns" then bound[key] = value end
  end
  local index = columns.index(node.names)
  for i, column in ipairs(aggregate.columns or {}) do
    if index[column] then
      bound.columns[i] = column
    elseif type(column) == "function" then
      bound.columns[i], bound.computed[i] = false, { name = name, fn = column }
    else
      local _, used = columns.sql(verb or "agg", column, node.names)
      bound.columns[i], bound.computed[i] = false, { name = name, sql = column }
      for _, one in ipairs(used) do bound.used[#bound.used + 1] = one end
    end
  end
  return bound
end

--- For other verbs that take aggregates.
groups.bound_aggregate = bound_aggregate

--- One row for each group: its columns, then the aggregates.
-- @param self groups
-- @param items list of `{name = column, aggregate = lb.sum "x", label = for messages (default name)}`
-- @param options `partitions` and `salt`, or nil
-- @return dataset, list of the names of its first columns, those of the groups
function groups.rows(self, items, label, options)
  options = options or {}
  local window = self.window
  local all = window and window.hidden or {}
  local names, list = { compat.unpack(self.keys) }, {}
  for i = 1, #items + #all do
    list[i] = bound_aggregate(self.node, items[i] or all[i - #items])
    names[#names + 1] = list[i].name
  end
  local result = row.derive(self.node, "group", {
    keys = self.keys, aggregates = list, partitions = options.partitions, salt = options.salt, on_error = options.on_error,
    label = label, names = columns.unique(label, names),
  })
  if not window then return result, self.keys end
  return require("luabatch.windows").finish(self, result, items)
end

-- Aggregates as a list of `{name =, aggregate =}`: those of the list's tables, one table after the other, then the named ones, each
-- table's in order of bytes, since Lua does not keep the order in which they are written.
local function named_aggregates(given, items)
  local is_aggregate_value = require("luabatch.aggregates").is
  local names, listed = {}, #given
  for key in pairs(given) do
    local is_element = type(key) == "number" and key >= 1 and key <= listed and key % 1 == 0
    if not is_element and type(key) ~= "string" then check.bad("agg", "column", "string as name", key) end
    if not is_element then names[#names + 1] = key end
  end
  for _, one in ipairs(given) do
    if is_aggregate_value(one) then check.misuse("agg: an aggregate needs a name, as in agg { n = lb.count() }") end
    if type(one) ~= "table" or getmetatable(one) then check.bad("agg", "aggregates", "table such as { n = lb.count() }", one) end
    named_aggregates(one, items)
  end
  table.sort(names)
  for _, name in ipairs(names) do
    if not is_aggregate_value(given[name]) then check.bad("agg", name, "aggregate such as lb.count()", given[name]) end
    items[#items + 1] = { name = name, aggregate = given[name] }
  end
  return items
end

--- One row for each group: the group's columns, then the aggregates in order of their names; those of a list of tables in the order of
-- the list. Groups come by partition of a hash, in each in order of the columns.
-- @param aggregates table: `{name = lb.sum "amount", ...}`, or `{ {total = lb.sum "amount"}, {n = lb.count()} }`
-- @param options table?: `partitions` (default 64); `salt`, into how many pieces the merging of a group's states is cut, or a function
--   of the key that says it; `on_error` as for `map`: rows for which an expression or function that an aggregate is of fails, or gives a
--   value that the aggregate refuses, are left out of the group
-- @raise a column that is not there; an integer sum that does not fit 64 bits ends the run
-- @usage lb.csv("sales.csv"):group_by("country"):agg({ n = lb.count(), total = lb.sum "amount * quantity" }):show()
function Groups:agg(aggregates, options)
  options = check.options("agg", options, { partitions = "integer", salt = "salt", on_error = "policy" })
  if type(aggregates) ~= "table" then check.bad("agg", "aggregates", "table", aggregates) end
  local items = named_aggregates(aggregates, {})
  if #items == 0 then check.misuse("agg: no aggregate is named") end
  return (groups.rows(self, items, "agg", options))
end

--- One row for each group: the group's columns, and the number of its rows as `count`.
-- @usage lb.csv("sales.csv"):group_by("country", "year"):count():show()
function Groups:count()
  return (groups.rows(self, { { name = "count", aggregate = { fn = "count", columns = {} } } }, "count"))
end

--- One row for each group, in which the values of a column are columns.
-- @param options table: as for `pivot` of a dataset, without `index`
-- @raise as `pivot` of a dataset
-- @usage lb.csv("sales.csv"):group_by("country"):pivot({ columns = "year", values = lb.sum "amount" }):show()
function Groups:pivot(options)
  options = check.options("pivot", options, {
    index = true, columns = "string", values = "table", names = "table", name = "function", fill = true, on_error = "policy",
  })
  if options.index ~= nil then check.misuse("pivot: the columns of group_by are the index") end
  return require("luabatch.pivot").make(self, options)
end

return groups
