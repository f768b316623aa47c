--- Pivot tables: the values of one column become columns.
--
-- IDEA  Two groupings, one after the other: by the index columns and the pivoted one, with the aggregates that were asked
--       for; then, of the rows that are left, by the index columns alone, where each cell is the one value with its number.
-- @module luabatch.pivot
local core = require "luabatch.core"
local check = require "luabatch.check"
local columns = require "luabatch.columns"
local compat = require "luabatch.compat"
local dataset = require "luabatch.dataset"

local pivot = {}

-- Columns between the two groupings (groups.lua).
local VALUE, AT, CELL = "\1value", "\1at", "\1cell"

-- More values than this are not looked for.
local MOST_VALUES = 10000

local function text_of(value) return core.format(value, "text") end

-- The different values of a column, in their order; their number (the first may be nil).
local function find_values(node, name)
  local rows = dataset.new(node):group_by(name):count():limit(MOST_VALUES + 1):collect()
  if #rows > MOST_VALUES then
    check.misuse("pivot: '%s' has more than %d values; say with 'names' which of them become columns", name, MOST_VALUES)
  end
  local values = {}
  table.sort(rows, function(a, b) return core.compare(a[name], b[name]) < 0 end)
  for i, one in ipairs(rows) do values[i] = one[name] end
  return values, #rows
end

local function given_values(list)
  local n = 0
  for _ in pairs(list) do n = n + 1 end
  for i = 1, n do
    if list[i] == nil then check.bad("pivot", "names", "list of values", list) end
  end
  return list, n
end

-- A function of a row that gives the number of its value, or nil. Lua's tables take 1 and 1.0 for one key, as groups do.
local function numberer(values, n)
  local number, nil_number, nan_number = {}, nil, nil
  for i = 1, n do
    local value = values[i]
    if value == nil then nil_number = i elseif value ~= value then nan_number = i else number[value] = i end
  end
  return function(row)
    local value = row["\1value"]
    if value == nil then return nil_number end
    if value ~= value then return nan_number end
    return number[value]
  end
end

-- The aggregates in order of their names; one alone has none.
local function aggregates_of(values)
  local aggregates = require "luabatch.aggregates"
  if aggregates.is(values) then return { { aggregate = values, label = values.fn } } end
  local list, names = {}, {}
  for name in pairs(values) do names[#names + 1] = check.string("pivot", "name of an aggregate", name) end
  table.sort(names)
  for i, name in ipairs(names) do
    if not aggregates.is(values[name]) then check.bad("pivot", name, "aggregate such as lb.count()", values[name]) end
    list[i] = { aggregate = values[name], name = name, label = name }
  end
  if #list == 0 then check.misuse("pivot: no aggregate is named") end
  return list
end

-- Names of the cells, value by value.
local function cell_names(values, n, aggregates, name_of)
  local names = {}
  for i = 1, n do
    if type(values[i]) == "table" then check.misuse("pivot: a table among the values cannot be the name of a column") end
    for _, one in ipairs(aggregates) do
      local name = text_of(values[i]) .. (one.name and "_" .. one.name or "")
      if name_of then
        name = name_of(values[i], one.name)
        if type(name) ~= "string" then check.misuse("pivot: the function 'name' gave a %s, no string", type(name)) end
      end
      names[#names + 1] = name
    end
  end
  return names
end

--- One row for each group, see `pivot` in row.lua.
-- @param by groups
-- @param options checked by type
function pivot.make(by, options)
  local groups = require "luabatch.groups"
  local name = options.columns
  if name == nil then check.misuse("pivot needs the option 'columns', the column whose values become columns") end
  columns.find("pivot", by.node.names, name)
  for _, key in ipairs(by.keys) do
    if key == name then check.misuse("pivot: '%s' is a column of the index already", name) end
  end
  if options.values == nil then check.misuse("pivot needs the option 'values', an aggregate or a table of them") end
  local aggregates = aggregates_of(options.values)
  local values, n
  if options.names then values, n = given_values(options.names) else values, n = find_values(by.node, name) end
  local names = cell_names(values, n, aggregates, options.name)

  local items, renamed, numbered = {}, {}, {}
  for i, one in ipairs(aggregates) do items[i] = { name = CELL .. i, aggregate = one.aggregate, label = one.label } end
  local both = {}
  for key, value in pairs(by) do both[key] = value end
  both.keys = { compat.unpack(by.keys) }
  both.keys[#both.keys + 1] = name
  local cells, index = groups.rows(setmetatable(both, getmetatable(by)), items, "pivot", { on_error = options.on_error })
  local by_index = {}
  for _, key in ipairs(index) do
    if key ~= name then by_index[#by_index + 1] = key end
  end
  local all = { compat.unpack(by_index) }
  for _, cell in ipairs(names) do all[#all + 1] = cell end
  if #all == 0 then check.misuse("pivot: '%s' has no values, and without index no column is left", name) end
  columns.unique("pivot", all)

  for i, key in ipairs(by_index) do renamed[i], numbered[i] = key, key end
  for i in ipairs(aggregates) do
    renamed[#renamed + 1], numbered[#numbered + 1] = CELL .. i, CELL .. i
  end
  renamed[#renamed + 1] = { [VALUE] = columns.quote(name) }
  numbered[#numbered + 1] = { [AT] = numberer(values, n) }
  local few = cells:select(compat.unpack(renamed)):select(compat.unpack(numbered))

  items = {}
  for i = 1, n do
    for k in ipairs(aggregates) do
      local sql = ("case when %s = %d then %s end"):format(columns.quote(AT), i, columns.quote(CELL .. k))
      items[#items + 1] = { name = names[#items + 1], aggregate = { fn = "any_value", columns = { sql } } }
    end
  end
  local result = groups.rows(groups.new(few._node, "pivot", by_index), items, "pivot")
  if options.fill == nil or n == 0 then return result end
  local fill = {}
  for _, cell in ipairs(names) do fill[cell] = options.fill end
  return result:fill_nil(fill)
end

return pivot
