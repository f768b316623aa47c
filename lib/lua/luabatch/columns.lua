--- Columns of rows: their names, their types, and what a step reads of them.
--
-- A logical node of rows has `names`, the list of its columns. The engine knows columns by number only.
-- @module luabatch.columns
local core = require "luabatch.core"
local check = require "luabatch.check"
local compat = require "luabatch.compat"

local columns = {}

--- Names to numbers.
-- @param names list of strings
function columns.index(names)
  local index = {}
  for i, name in ipairs(names) do index[name] = i end
  return index
end

--- Names as a set.
function columns.set(names)
  local set = {}
  for _, name in ipairs(names) do set[name] = true end
  return set
end

--- The end of a message about an unknown name that is like none: which there are; of many the first ten.
function columns.listed(names)
  local list = {}
  for i = 1, math.min(#names, 10) do list[i] = core.printable(names[i]) end
  if #names > 10 then list[11] = ("... (%d in all)"):format(#names) end
  return (#names == 1 and "; the column is %s" or "; the columns are %s"):format(table.concat(list, ", "))
end

--- The number of a column; a wrong name is an error at the user's call.
function columns.find(verb, names, name)
  if type(name) ~= "string" then check.bad(verb, "column", "string", name) end
  for i, known in ipairs(names) do
    if known == name then return i end
  end
  local hint = require("luabatch.suggest").hint(name, names)
  if hint == "" and name:find("[^%w_]") and pcall(columns.sql, verb, name, names) then
    hint = (' (an expression needs a name: with_columns { name = "%s" })'):format(name)
  end
  if hint == "" then hint = columns.listed(names) end
  check.misuse("%s: there is no column '%s'%s", verb, name, hint)
end

--- Checks a list of names of columns, given as arguments or as one list.
-- @return list without repetitions
function columns.list(verb, names, ...)
  local given = type((...)) == "table" and (...) or { ... }
  local list, seen = {}, {}
  for _, name in ipairs(given) do
    columns.find(verb, names, name)
    if not seen[name] then
      seen[name] = true
      list[#list + 1] = name
    end
  end
  return list
end

--- How many columns rows can have.
columns.MOST = 250

--- Checks that names can be the columns of rows: strings, each once, not too many (`most`: more than columns.MOST are possible).
function columns.unique(verb, names, most)
  if #names > (most or columns.MOST) then check.misuse("%s: %d columns (%d are possible)", verb, #names, columns.MOST) end
  local seen = {}
  for _, name in ipairs(names) do
    if type(name) ~= "string" then check.bad(verb, "column", "string", name) end
    if seen[name] then check.misuse("%s: the column '%s' comes twice", verb, name) end
    seen[name] = true
  end
  return names
end

--- Compiles an SQL expression over columns; an error is one of the user's call.
-- @return program, list of the names that it reads
function columns.sql(verb, text, names)
  local sql = require "luabatch.sql"
  local ok, program, used = pcall(sql.compile, text, names)
  if not ok then
    check.pass_on(program)
    check.misuse("%s: %s", verb, tostring(program))
  end
  if not program then check.misuse("%s: %s", verb, tostring(used)) end
  local list = {}
  for key, value in pairs(used) do
    local one = type(value) == "string" and value or key
    list[#list + 1] = type(one) == "number" and names[one] or one
  end
  return program, list
end

--- Compiles an expression of our own: its errors show what the user wrote instead.
-- @param shown text
function columns.sql_shown_as(shown, verb, text, names)
  local program, list = columns.sql(verb, text, names)
  program.text = shown
  for _, step in ipairs(program.steps) do step[2], step[3] = 1, #shown end
  return program, list
end

--- A name as SQL writes it.
function columns.quote(name)
  return '"' .. name:gsub('"', '""') .. '"'
end

--- A constant as SQL writes it.
function columns.literal(verb, value)
  local kind = type(value)
  if kind == "string" then return "'" .. value:gsub("'", "''") .. "'" end
  if kind == "boolean" then return tostring(value) end
  if not compat.math_type(value) or value ~= value or value - value ~= 0 then
    check.misuse("%s: the value must be a string, a boolean or a finite number", verb)
  end
  return core.format(value, "json")
end

-- Types.

local numbers = { integer = true, float = true }

-- Types of aggregates; the others are of their column's type.
local aggregate_types = {
  count = "integer", count_distinct = "integer", approx_count_distinct = "integer", avg = "float", stddev = "float",
  variance = "float", corr = "float", median = "float", quantile = "float", collect_list = "any", collect_set = "any",
  bool_and = "boolean", bool_or = "boolean", row_number = "integer", rank = "integer", dense_rank = "integer",
  ntile = "integer", percent_rank = "float", cume_dist = "float",
}

local types = {}

--- The types of a node's columns, as far as they are known: "boolean", "integer", "float", "string" or "any".
-- @return map from name to type
function columns.types(node)
  local make = types[node.op]
  if make then return make(node) end
  local input = node.inputs and node.inputs[1]
  return node.names and input and input.names and columns.types(input) or {}
end

function types.json(node) return node.source.types end

-- Of a column without a value in the sample nothing is known.
function types.csv(node)
  local result = {}
  for name, kind in pairs(node.source.types) do result[name] = kind ~= "nil" and kind or nil end
  return result
end

function types.file_columns(node)
  local result = {}
  for name, kind in pairs(columns.types(node.inputs[1])) do result[name] = kind end
  for _, column in ipairs(node.added) do result[column.name] = column.type end
  return result
end

function types.unpack(node) return node.types or {} end
types.named = types.unpack

function types.select(node)
  local result, before = {}, columns.types(node.inputs[1])
  local names = node.inputs[1].names
  for _, item in ipairs(node.items) do
    if item.column then
      result[item.name] = before[item.column]
    elseif item.sql then
      local kind = require("luabatch.sql_types").of(item.sql, names, before)
      result[item.name] = kind ~= "null" and kind or nil
    end
  end
  return result
end

function types.join_rows(node)
  if not node.names then return {} end
  local sides, result = { columns.types(node.inputs[1]), columns.types(node.inputs[2]) }, {}
  for _, out in ipairs(node.outputs) do
    result[out.name] = sides[out.left and 1 or 2][out.left or out.right]
  end
  return result
end

function types.group(node)
  local before, result = columns.types(node.inputs[1]), {}
  for _, key in ipairs(node.keys) do result[key] = before[key] end
  for _, agg in ipairs(node.aggregates) do
    local known = aggregate_types[agg.fn]
    local of = agg.fn ~= "lua" and before[agg.columns[1] or false] or nil
    if agg.fn == "sum" and not numbers[of] then of = nil end
    result[agg.name] = known or of
  end
  return result
end

function types.window(node)
  local before, result = columns.types(node.inputs[1]), {}
  for name, kind in pairs(before) do result[name] = kind end
  for _, fn in ipairs(node.functions) do
    local known, of = aggregate_types[fn.fn], before[fn.columns[1] or false]
    if fn.fn == "sum" and not numbers[of] or fn.fn == "over" or fn.fn == "lua" or fn.default ~= nil then of = nil end
    result[fn.name] = known or of
  end
  return result
end

function types.explode(node)
  local result = {}
  for name, kind in pairs(columns.types(node.inputs[1])) do
    if name ~= node.column then result[name] = kind end
  end
  return result
end

function types.union(node)
  local result = columns.types(node.inputs[1])
  for i = 2, #node.inputs do
    local other, merged = columns.types(node.inputs[i]), {}
    for name, kind in pairs(result) do merged[name] = other[name] == kind and kind or nil end
    result = merged
  end
  return result
end

-- What steps read. For a node and the set of its columns that are read later (true: all) each function gives, for
-- each input, the set of columns that are needed (true: all).

local reads = {}

local function set_of(...)
  local set = {}
  for i = 1, select("#", ...) do
    for _, name in ipairs((select(i, ...))) do set[name] = true end
  end
  return set
end

local function join_sets(a, b)
  if a == true or b == true then return true end
  local set = {}
  for name in pairs(a) do set[name] = true end
  for name in pairs(b) do set[name] = true end
  return set
end

-- What a function of a row, its parameter of that number, reads of it.
local function of_function(fn, param)
  local list = fn == nil and {} or type(fn) == "function" and core.row_reads(fn, param or 1)
  return list and set_of(list) or true
end

-- Only what is read later, and what the step itself reads.
local function through(own)
  return function(node, later) return { join_sets(later, own(node)) } end
end

local function nothing() return {} end

for _, op in ipairs { "limit", "sample", "repartition", "coalesce" } do reads[op] = through(nothing) end
for _, op in ipairs { "filter", "sort_by" } do
  reads[op] = through(function(node) return node.op == "sort_by" and not node.fn or of_function(node.fn) end)
end
for _, op in ipairs { "map", "flat_map", "foreach" } do
  reads[op] = function(node) return { of_function(node.fn) } end
end
local function key_set(node)
  local set = {}
  for _, key in ipairs(node.keys) do set[key.name] = true end
  return set
end
reads.order_by = through(key_set)
reads.top = through(function(node) return node.keys and key_set(node) or of_function(node.fn) end)
reads.where = through(function(node) return set_of(node.used) end)
reads.explode = through(function(node) return { [node.column] = true } end)
reads.drop_duplicates = through(function(node) return set_of(node.keys) end)

reads.time_window = through(function(node) return { [node.column] = true } end)
reads.session = through(function(node) return set_of(node.keys, { node.column }) end)

function reads.file_columns(node, later)
  if later == true then return { true } end
  local set = join_sets(later, {})
  for _, column in ipairs(node.added) do set[column.name] = nil end
  return { set }
end

function reads.union(node, later)
  local sets = {}
  for i = 1, #node.inputs do sets[i] = later end
  return sets
end

--- Whether a select need not compute an item: nobody reads it, and computing it cannot fail.
-- @param later set of the select's columns that are read, or true
function columns.is_idle(node, item, later)
  if later == true or later == nil or later[item.name] then return false end
  return require("luabatch.row_rules").is_safe(item, node.inputs[1])
end

--- Whether a window need not compute a function, as for is_idle.
function columns.is_idle_function(node, fn, later)
  if later == true or later == nil or later[fn.name] then return false end
  return require("luabatch.window").is_safe(fn, node.inputs[1])
end

-- Where further columns may come, all are read: only so does the source see them.
local function is_star(node, later)
  return later == true and node.star and require("luabatch.late").is_open(node)
end

function reads.select(node, later)
  if is_star(node, later) then return { true } end
  local set = {}
  for _, item in ipairs(node.items) do
    if later == true or later[item.name] or not columns.is_idle(node, item, later) then
      if item.column then
        set[item.column] = true
      else
        set = join_sets(set, item.fn and of_function(item.fn) or set_of(item.used))
      end
    end
  end
  return { set }
end

-- What an aggregate or window function reads.
local function of_aggregate(agg)
  local set = set_of(agg.used)
  for _, name in ipairs(agg.columns) do
    if name then set[name] = true end
  end
  for _, item in pairs(agg.computed) do
    if item.fn then set = join_sets(set, of_function(item.fn)) end
  end
  if agg.fn == "lua" and #agg.columns == 0 then set = join_sets(set, of_function(agg.step, 2)) end
  return agg.fn == "over" or set
end

function reads.group(node)
  local set = set_of(node.keys)
  for _, agg in ipairs(node.aggregates) do set = join_sets(set, of_aggregate(agg)) end
  return { set }
end

function reads.window(node, later)
  local set, computed = set_of(node.partition), {}
  for _, key in ipairs(node.order) do set[key.name] = true end
  for _, fn in ipairs(node.functions) do
    computed[fn.name] = true
    if not columns.is_idle_function(node, fn, later) then set = join_sets(set, of_aggregate(fn)) end
  end
  for _, name in ipairs(node.inputs[1].names) do
    if set ~= true and (later == true or later[name]) and not computed[name] then set[name] = true end
  end
  return { set }
end

function reads.join_rows(node, later)
  if is_star(node, later) then return { true, true } end
  local sets = {}
  for i, key in ipairs { node.left, node.right } do
    sets[i] = type(key) == "function" and of_function(key) or set_of(key)
    if node.combine then sets[i] = join_sets(sets[i], of_function(node.combine, i)) end
  end
  for _, out in ipairs(node.outputs or {}) do
    if later == true or later[out.name] then
      if out.left then sets[1] = join_sets(sets[1], { [out.left] = true }) end
      if out.right then sets[2] = join_sets(sets[2], { [out.right] = true }) end
    end
  end
  return sets
end

--- The columns that a node needs of its inputs.
-- @param node logical node
-- @param later set of its own columns that are read later, or true
-- @return list of sets (true: all), or nil: all of all
function columns.reads(node, later)
  local make = reads[node.op]
  if type(node.on_error) == "table" then return nil end -- a bad record is written whole
  return make and make(node, node.names and later or true)
end

return columns
