--- Optimiser rules for rows: conditions go down to the sources, choices of columns become one, constants are computed.
--
-- Each is a function from a node, whose inputs are optimised, to one that means the same; `apply` optimises a node that a rule makes
-- below. A condition never passes what may fail, for then it would hide an error, nor goes where it could meet rows
-- that it did not see before unless it cannot fail itself.
-- @module luabatch.row_rules
local core = require "luabatch.core"
local columns = require "luabatch.columns"

local row_rules = {}

local function sql_types() return require "luabatch.sql_types" end

local function with(node, changes)
  local copy = {}
  for k, v in pairs(node) do copy[k] = v end
  for k, v in pairs(changes) do copy[k] = v end
  return copy
end

-- What stays as it is: its records are kept, or those that fail are left out.
local function is_kept(node) return node.cache ~= nil or node.on_error ~= nil end

--- Whether computing an item of a select cannot fail.
function row_rules.is_safe(item, input)
  if item.column then return true end
  if item.fn then return false end
  local _, safe = sql_types().of(item.sql, input.names, columns.types(input))
  return safe
end

local function all_safe(node)
  for _, item in ipairs(node.items) do
    if not row_rules.is_safe(item, node.inputs[1]) then return false end
  end
  return true
end

-- A where of this condition over a node.
local function where(like, condition, used, input)
  return with(like, {
    op = "where", sql = condition, used = used, inputs = { input }, names = input.names, columns = #input.names,
  })
end

local function used_by(list)
  local used, seen = {}, {}
  for _, part in ipairs(list) do
    for _, name in ipairs(part.used) do
      if not seen[name] then
        seen[name] = true
        used[#used + 1] = name
      end
    end
  end
  return used
end

-- Divides the condition of a where into what may go down and what stays. `fits(part)` says what can; parts may change their order
-- only where none of them can fail. `must_be_safe`: below there are rows that the condition did not see.
local function divide(node, fits, must_be_safe)
  local types = columns.types(node.inputs[1])
  local down, stay, stay_safe = {}, {}, true
  for _, part in ipairs(sql_types().conjuncts(node.sql, node.names)) do
    local _, safe = sql_types().of(part.text, node.names, types)
    if fits(part) and stay_safe and (safe or (#stay == 0 and not must_be_safe)) then
      down[#down + 1] = part
    else
      stay[#stay + 1] = part
      stay_safe = stay_safe and safe
    end
  end
  return down, stay
end

local function renamed(list, names, map)
  local result = {}
  for i, part in ipairs(list) do
    local used = {}
    for j, name in ipairs(part.used) do used[j] = map[name] end
    result[i] = { text = sql_types().rename(part.text, names, map), used = used }
  end
  return result
end

-- What stays of a condition over the new input.
local function rest(node, stay, input)
  if #stay == 0 then return input end
  return where(node, sql_types().conjunction(stay), used_by(stay), input)
end

local function below(node, list, input)
  return where(node, sql_types().conjunction(list), used_by(list), input)
end

--- Constant parts of expressions are computed once.
function row_rules.fold_constants(node)
  if node.folded then return node end
  if node.op == "where" then
    local text = sql_types().fold(node.sql, node.names)
    if text ~= node.sql then text = sql_types().conjunction(sql_types().conjuncts(text, node.names)) end
    if text == "true" then return node.inputs[1] end
    return text ~= node.sql and with(node, { sql = text, folded = true }) or node
  elseif node.op == "select" then
    local items, changed = {}, false
    for i, item in ipairs(node.items) do
      local text = item.sql and sql_types().fold(item.sql, node.inputs[1].names)
      items[i] = item
      if text ~= item.sql then
        items[i], changed = with(item, { sql = text }), true
      end
    end
    return changed and with(node, { items = items, folded = true }) or node
  end
  return node
end

--- Two conditions are one.
function row_rules.merge_wheres(node)
  local input = node.inputs and node.inputs[1]
  if node.op ~= "where" or node.on_error or input.op ~= "where" or is_kept(input) then return node end
  local list = {}
  for _, one in ipairs { input, node } do
    for _, part in ipairs(sql_types().conjuncts(one.sql, one.names)) do list[#list + 1] = part end
  end
  return where(node, sql_types().conjunction(list), used_by(list), input.inputs[1])
end

-- Names of a select that are columns of its input: to which.
local function passed(select_node)
  local map = {}
  for _, item in ipairs(select_node.items) do map[item.name] = item.column end
  return map
end

local function covers(map)
  return function(part)
    for _, name in ipairs(part.used) do
      if not map[name] then return false end
    end
    return #part.used > 0
  end
end

--- A condition on columns that a select only passes on is decided below it.
function row_rules.where_below_select(node, apply)
  local input = node.inputs and node.inputs[1]
  if node.op ~= "where" or node.on_error or input.op ~= "select" or is_kept(input) or not all_safe(input) then return node end
  local map = passed(input)
  local down, stay = divide(node, covers(map), false)
  if #down == 0 then return node end
  local condition = below(node, renamed(down, node.names, map), input.inputs[1])
  return rest(node, stay, with(input, { inputs = { apply(condition) } }))
end

--- A function that keeps rows by columns that a select passes on under their names is called below it.
function row_rules.filter_below_select(node, apply)
  local input = node.inputs and node.inputs[1]
  if node.op ~= "filter" or not node.names or input.op ~= "select" or node.on_error or is_kept(input) then return node end
  local read, map = core.row_reads(node.fn, 1), passed(input)
  for _, name in ipairs(read or { false }) do
    if map[name] ~= name then return node end
  end
  if not all_safe(input) then return node end
  local from = input.inputs[1]
  return with(input, { inputs = { apply(with(node, { inputs = { from }, names = from.names, columns = from.columns })) } })
end

--- A condition on a union is one on each of its inputs.
function row_rules.filter_below_union(node, apply)
  local input = node.inputs and node.inputs[1]
  if (node.op ~= "where" and node.op ~= "filter") or node.on_error or input.op ~= "union" or is_kept(input) then return node end
  local inputs = {}
  for i, one in ipairs(input.inputs) do inputs[i] = apply(with(node, { inputs = { one } })) end
  return with(input, { inputs = inputs })
end

--- Rows that a condition drops need not be sorted.
function row_rules.where_below_order(node, apply)
  local input = node.inputs and node.inputs[1]
  if node.op ~= "where" or node.on_error or input.op ~= "order_by" or is_kept(input) then return node end
  return with(input, { inputs = { apply(with(node, { inputs = input.inputs })) } })
end

-- Which sides of a join may lose rows by a condition on their columns alone.
local sides = {
  inner = { left = true, right = true }, cross = { left = true, right = true }, left = { left = true }, right = { right = true },
  semi = { left = true }, anti = { left = true },
}

--- A condition on one side of a join is decided before the join, if it cannot fail for rows that match nothing.
function row_rules.where_below_join(node, apply)
  local input = node.inputs and node.inputs[1]
  local allowed = input and input.op == "join_rows" and sides[input.how]
  if node.op ~= "where" or node.on_error or not allowed or input.combine or not input.outputs or is_kept(input) then return node end
  for number, side in ipairs { "left", "right" } do
    local map = {}
    for _, out in ipairs(input.outputs) do
      -- A key of the left side is its own; where it may come from either side it is no side's.
      local is_own = side == "left" and out.left or side == "right" and out.right and not out.left
      if is_own and not (input.how == "right" and out.left and out.right) then map[out.name] = out[side] end
    end
    local down, stay = {}, {}
    if allowed[side] then down, stay = divide(node, covers(map), true) end
    if #down > 0 then
      local inputs = { input.inputs[1], input.inputs[2] }
      inputs[number] = apply(below(node, renamed(down, node.names, map), inputs[number]))
      local join = with(input, { inputs = inputs })
      return #stay > 0 and row_rules.where_below_join(rest(node, stay, join), apply) or join
    end
  end
  return node
end

-- Aggregates that cannot fail.
local never_fails = { count = true, min = true, max = true, first = true, last = true, any_value = true }

--- A condition on the keys of groups is decided before grouping.
function row_rules.where_below_group(node, apply)
  local input = node.inputs and node.inputs[1]
  if node.op ~= "where" or node.on_error or input.op ~= "group" or is_kept(input) or type(input.keys[1]) ~= "string" then return node end
  local types, map = columns.types(input.inputs[1]), {}
  for _, key in ipairs(input.keys) do
    -- Values of one group are alike only in a column of one type.
    if type(key) == "string" and types[key] and types[key] ~= "any" then map[key] = key end
  end
  for _, aggregate in ipairs(input.aggregates) do
    if not never_fails[aggregate.fn] or next(aggregate.computed) then return node end
  end
  local down, stay = divide(node, covers(map), false)
  if #down == 0 then return node end
  return rest(node, stay, with(input, { inputs = { apply(below(node, down, input.inputs[1])) } }))
end

-- How often the outer select reads each column of the inner one.
local function uses(outer)
  local counts = {}
  for _, item in ipairs(outer.items) do
    local list = item.column and { item.column } or item.used or core.row_reads(item.fn, 1)
    if not list then return nil end
    for _, name in ipairs(list) do counts[name] = (counts[name] or 0) + 1 end
  end
  return counts
end

-- The outer item over the inner select's input, or nil.
local function merged_item(item, inner, by_name, map)
  if item.column then return with(by_name[item.column], { name = item.name }) end
  local list, used = item.used or core.row_reads(item.fn, 1), {}
  if not list then return nil end -- for want of memory, as `uses` got it
  for i, name in ipairs(list) do
    if not map[name] or (item.fn and map[name] ~= name) then return nil end
    used[i] = map[name]
  end
  if item.fn then return item end
  return with(item, { sql = sql_types().rename(item.sql, inner.names, map), used = used })
end

--- A select of a select is one, if nothing would be computed twice and nothing that may fail left out.
function row_rules.merge_selects(node)
  local inner = node.inputs and node.inputs[1]
  if node.op ~= "select" or inner.op ~= "select" or is_kept(inner) or node.on_error then return node end
  local counts, by_name, map = uses(node), {}, passed(inner)
  for _, item in ipairs(inner.items) do
    by_name[item.name] = item
    local n = counts and counts[item.name] or 0
    if not item.column and (n > 1 or (n == 0 and not row_rules.is_safe(item, inner.inputs[1]))) then return node end
  end
  if not counts then return node end
  local items = {}
  for i, item in ipairs(node.items) do
    items[i] = merged_item(item, inner, by_name, map)
    if not items[i] then return node end
  end
  return with(node, { items = items, inputs = inner.inputs })
end

local sorts = { order_by = true, sort_by = true, sort_by_key = true }

--- The first rows of a select over sorted rows are the select of the first of these, which need no sort.
function row_rules.limit_below_select(node, apply)
  local input = node.inputs and node.inputs[1]
  if node.op ~= "limit" or input.op ~= "select" or is_kept(input) then return node end
  local from = input
  while from.op == "select" and not is_kept(from) do from = from.inputs[1] end
  if not sorts[from.op] or is_kept(from) then return node end
  local first = input.inputs[1]
  return with(input, { inputs = { apply(with(node, { inputs = { first }, names = first.names, columns = first.columns })) } })
end

-- More rows of a partition than this are sorted rather than kept in a heap.
local LARGEST_TOP = 10000

--- Of each partition only the first k rows are brought together when a condition on their number wants no others.
function row_rules.top_of_window(node)
  local input = node.inputs and node.inputs[1]
  if node.op ~= "where" or node.on_error or input.op ~= "window" or input.top or is_kept(input) then return node end
  local n, ties = require("luabatch.window").first_rows(input, node.sql)
  if not n or n < 1 or n > LARGEST_TOP then return node end
  return with(node, { inputs = { with(input, { top = n, ties = ties or nil }) } })
end

--- The rules, in the order in which they are tried.
row_rules.all = {
  row_rules.fold_constants, row_rules.merge_wheres, row_rules.where_below_select, row_rules.filter_below_select,
  row_rules.filter_below_union, row_rules.where_below_order, row_rules.where_below_join, row_rules.where_below_group,
  row_rules.merge_selects, row_rules.limit_below_select, row_rules.top_of_window,
}

return row_rules
