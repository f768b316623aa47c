--- Joins of rows: the checks of `join` and what its result looks like. lower_join.lua makes the engine's operators of it.
-- @module luabatch.row_join
local core = require "luabatch.core"
local check = require "luabatch.check"
local columns = require "luabatch.columns"

local row_join = {}

local kinds = { "inner", "left", "right", "full", "semi", "anti", "cross" }
local strategies = { "auto", "broadcast", "hash", "merge" }

local EXPECTED = "(a column, a list of columns, a function of the row, or {left = ..., right = ...} expected)"

-- `on` as what both sides are joined by: lists of names, or functions.
local function join_keys(verb, left, right, on)
  local keys = { on, on }
  if type(on) == "table" and (on.left ~= nil or on.right ~= nil) then
    keys = { on.left, on.right }
    check.options(verb .. ": on", on, { left = type(on.left), right = type(on.right) })
  end
  for i, node in ipairs { left, right } do
    local key = keys[i]
    if type(key) == "string" then key = { key } end
    if type(key) == "table" and #key > 0 then
      columns.unique(verb .. ": on", key)
      for _, name in ipairs(key) do columns.find(verb, node.names, name) end
    elseif type(key) ~= "function" then
      check.misuse("bad option 'on' of %s %s", verb, EXPECTED)
    end
    keys[i] = key
  end
  -- A function gives one value, which may be a list.
  local counts = {}
  for i, key in ipairs(keys) do counts[i] = type(key) == "table" and #key or 1 end
  if counts[1] ~= counts[2] then
    check.misuse("%s: 'on' names %d and %d columns", verb, counts[1], counts[2])
  end
  return keys[1], keys[2]
end

-- The columns of a join: the left ones, then the right ones but for the keys. A key comes from the right side where the
-- left one has no record.
local function join_outputs(left, right, keys, right_keys, only_left)
  local outputs, taken, key_of, is_key = {}, {}, {}, {}
  if type(keys) == "table" and type(right_keys) == "table" then
    is_key = columns.index(right_keys)
    for i, name in ipairs(keys) do key_of[name] = right_keys[i] end
  end
  for _, name in ipairs(left.names) do
    outputs[#outputs + 1] = { name = name, left = name, right = key_of[name] }
    taken[name] = true
  end
  for _, name in ipairs(only_left and {} or right.names) do
    if not is_key[name] then
      local free = name
      while taken[free] do free = free .. "_right" end
      taken[free] = true
      outputs[#outputs + 1] = { name = free, right = name }
    end
  end
  return outputs
end

--- The node of a join of rows.
-- @param verb "join", "left_join", ...
-- @param left,right nodes of rows
-- @param options as for row.join
-- @return fields of the node
function row_join.node(verb, left, right, options)
  local on, combine = options.on, options.combine
  local others = {}
  for key, value in pairs(options) do if key ~= "on" then others[key] = value end end
  local allowed = {
    partitions = "integer", strategy = strategies, salt = "salt", combine = "function", on_error = "policy",
  }
  if verb == "join" then allowed.how = kinds end
  if others.how == nil or verb == "join" then allowed.on = true end
  check.options(verb, others, allowed)
  if others.on_error and not combine then check.misuse("%s: 'on_error' is about 'combine', which is not given", verb) end
  local how = others.how or verb:match("^(%a+)_join$") or "inner"
  local keys, right_keys = {}, {}
  if how ~= "cross" then
    if on == nil then check.misuse("%s of rows needs the option 'on', the columns that must be equal", verb) end
    keys, right_keys = join_keys(verb, left, right, on)
  elseif on ~= nil then
    check.misuse("join: a cross join has no 'on'")
  end
  local fields = {
    inputs = { left, right }, how = how, left = keys, right = right_keys, label = verb, strategy = others.strategy or "auto",
    partitions = others.partitions, salt = others.salt, combine = combine, on_error = others.on_error,
  }
  if combine then return fields end
  fields.outputs = join_outputs(left, right, keys, right_keys, how == "semi" or how == "anti")
  fields.names = {}
  for i, out in ipairs(fields.outputs) do fields.names[i] = out.name end
  columns.unique(verb, fields.names)
  fields.columns = #fields.names
  return fields
end

local numbers = { integer = true, float = true }

--- What is wrong with the types of the keys that a plan joins by: an integer never is equal to a string.
-- @param node logical node
-- @return message, or nil
function row_join.mismatch(node, seen)
  seen = seen or {}
  if seen[node] then return nil end
  seen[node] = true
  local left, right = node.left, node.right
  if node.op == "join_rows" and type(left) == "table" and type(right) == "table" then
    local types, others = columns.types(node.inputs[1]), columns.types(node.inputs[2])
    for i, name in ipairs(left) do
      local a, b = types[name], others[right[i]]
      local known = a and b and a ~= "any" and b ~= "any"
      if known and a ~= b and not (numbers[a] and numbers[b]) then
        return ("%s: '%s' is %s on the left, '%s' is %s on the right, which are never equal; declare one type for both in "
          .. "`types`, or convert a side before: with_columns { key = 'cast(%s as %s)' }"):format(node.label, name, a, right[i], b,
          name:find "^[%a_][%w_]*$" and name or columns.quote(name), b)
      end
    end
  end
  for _, input in ipairs(node.inputs or {}) do
    local message = row_join.mismatch(input, seen)
    if message then return message end
  end
end

-- Steps that give about as much as they get, or less.
local narrow = {
  file_columns = true, select = true, where = true, filter = true, sample = true, limit = true, drop_duplicates = true, top = true,
}

local function files_bytes(paths, compression)
  local ok, bytes = pcall(core.text_bytes, paths, compression)
  if ok then return bytes end
  check.pass_on(bytes)
end

--- How many bytes of files a node stands on, if that is known: for joins, to build the table of the smaller side. It depends on the
-- input alone.
-- @return bytes, or nil
function row_join.known_bytes(node)
  if node.cache then return nil end
  if node.paths then return files_bytes(node.paths, node.compression) end
  if node.op == "list" then return #node.rows * 16 * math.max(1, node.columns or 1) end
  if narrow[node.op] then return row_join.known_bytes(node.inputs[1]) end
  if node.op ~= "union" then return nil end
  local sum = 0
  for _, input in ipairs(node.inputs) do
    local bytes = row_join.known_bytes(input)
    if not bytes then return nil end
    sum = sum + bytes
  end
  return sum
end

local exact = { integer = true, string = true, boolean = true }

-- Whether equal keys of both sides are the same values: 1 and 1.0 are equal and not the same.
local function same_keys(node)
  local left, right = node.left, node.right
  if type(left) == "function" or type(right) == "function" then return false end
  local left_types, right_types = columns.types(node.inputs[1]), columns.types(node.inputs[2])
  for i, name in ipairs(left) do
    local kind = left_types[name]
    if not exact[kind] or kind ~= right_types[right[i]] then return false end
  end
  return true
end

--- The side of which the table is made: the right one, unless "auto" finds that the left one's files are less than half as large. A key
-- of the result is the left row's where there is one: where also records without one come out, rows of the right side may
-- stream past only if their keys are the same.
-- @return "left" or "right"
function row_join.build_side(node)
  if node.strategy ~= "auto" then return "right" end
  if (node.how == "right" or node.how == "full") and not same_keys(node) then return "right" end
  local left, right = row_join.known_bytes(node.inputs[1]), row_join.known_bytes(node.inputs[2])
  return left and right and left < right / 2 and "left" or "right"
end

return row_join
