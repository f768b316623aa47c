--- Optimiser rules: small functions from a logical node to an equivalent, cheaper one.
--
-- A rule gets a node whose inputs are optimised already and returns it, or another node that means the
-- same. Nodes are never changed, for datasets share them.
-- @module luabatch.rules
local core = require "luabatch.core"
local row_rules = require "luabatch.row_rules"

local rules = {}

-- A copy of a node with some fields changed.
local function with(node, changes)
  local copy = {}
  for k, v in pairs(node) do copy[k] = v end
  for k, v in pairs(changes) do copy[k] = v end
  return copy
end

--- Whether a function is known to give back its first argument and nothing else.
function rules.is_identity(f)
  return type(f) == "function" and core.kernel_reduce(f) == "first"
end

--- A text source cut into words at once, or to one field: the scan finds them as it reads.
function rules.fuse_text(node)
  local input = node.inputs and node.inputs[1]
  if not input or input.op ~= "text" or input.mode then return node end
  if node.op == "words" then
    return with(input, { mode = "words" })
  elseif node.op == "field" then
    return with(input, { mode = "field", n = node.n, sep = node.sep })
  end
  return node
end

--- A choice of columns of a choice of columns is one choice.
function rules.merge_projects(node)
  local input = node.inputs and node.inputs[1]
  if node.op ~= "project" or input.op ~= "project" then return node end
  local picks = {}
  for i, column in ipairs(node.picks) do
    picks[i] = input.picks[column]
    if not picks[i] then return node end
  end
  return with(node, { picks = picks, inputs = input.inputs })
end

--- A choice of all columns in their order is no choice, unless it makes records of rows.
function rules.drop_project(node)
  if node.op == "project" and node.inputs[1].names and not node.names then return node end
  if node.op ~= "project" or node.inputs[1].columns ~= #node.picks then return node end
  for i, column in ipairs(node.picks) do
    if i ~= column then return node end
  end
  return node.inputs[1]
end

--- The first n of the first m are the first min(n, m).
function rules.merge_limits(node)
  local input = node.inputs and node.inputs[1]
  if node.op ~= "limit" or input.op ~= "limit" then return node end
  return with(node, { n = math.min(node.n, input.n), inputs = input.inputs })
end

-- More records than this are sorted rather than kept in a heap.
local LARGEST_TOP = 10000

--- The first few of a sorted dataset need no sort.
function rules.limit_of_sort(node)
  local input = node.inputs and node.inputs[1]
  if node.op ~= "limit" or node.n > LARGEST_TOP then return node end
  if input.op ~= "sort_by" and input.op ~= "sort_by_key" and input.op ~= "order_by" then return node end
  return {
    op = "top", n = node.n, fn = input.op == "sort_by_key" and "first" or input.fn, keys = input.keys,
    descending = input.descending, on_error = input.on_error,
    label = input.label, inputs = input.inputs, columns = node.columns, names = node.names,
  }
end

--- A select of all columns in their order is no select.
function rules.drop_select(node)
  if node.op ~= "select" or #node.items ~= #node.inputs[1].names then return node end
  for i, name in ipairs(node.inputs[1].names) do
    if node.items[i].column ~= name or node.items[i].name ~= name then return node end
  end
  return node.inputs[1]
end

--- Distinct records of distinct records are they themselves.
function rules.merge_distincts(node)
  local input = node.inputs and node.inputs[1]
  if node.op ~= "distinct" or input.op ~= "distinct" then return node end
  return with(input, { partitions = node.partitions or input.partitions })
end

--- Unions of unions are one union.
function rules.flatten_unions(node)
  if node.op ~= "union" then return node end
  local inputs, changed = {}, false
  for _, input in ipairs(node.inputs) do
    if input.op == "union" then
      changed = true
      for _, inner in ipairs(input.inputs) do inputs[#inputs + 1] = inner end
    else
      inputs[#inputs + 1] = input
    end
  end
  return changed and with(node, { inputs = inputs }) or node
end

--- A new distribution over partitions makes an earlier one needless.
function rules.merge_repartitions(node)
  local input = node.inputs and node.inputs[1]
  if node.op ~= "repartition" or input.op ~= "coalesce" then return node end
  return with(node, { inputs = input.inputs })
end

--- A key that is the first column itself needs no Lua.
function rules.native_keys(node)
  if not rules.is_identity(node.fn) or node.inputs[1].names then return node end
  local columns = node.inputs[1].columns
  if node.op == "sort_by" then
    return with(node, { op = "sort_by_key" })
  elseif node.op == "top" then
    return with(node, { fn = "first" })
  elseif node.op == "key_by" and columns then
    local picks = { 1 }
    for i = 1, columns do picks[i + 1] = i end
    return { op = "project", picks = picks, inputs = node.inputs, columns = columns + 1 }
  end
  return node
end

--- A job step that adds up, or counts, is an aggregate: nothing is sorted and no group is walked in Lua.
-- A sum only when the job has a combiner that sums too, for then the user allowed any order of adding.
function rules.native_reducer(node)
  if node.op ~= "groups" or not node.is_step or node.partitioner or node.init or node.final
    or (node.on_error or "fail") ~= "fail" then
    return node
  end
  local kernel = core.kernel_group(node.fn)
  local combiner = node.combiner and core.kernel_group(node.combiner)
  if kernel == "sum" and combiner == "sum" then
    return {
      op = "sum_by_key", inputs = node.inputs, partitions = node.partitions, label = node.label, columns = 2,
    }
  elseif kernel == "count" and not node.combiner then
    return {
      op = "count_groups", inputs = node.inputs, partitions = node.partitions, label = node.label,
      columns = 2,
    }
  end
  return node
end

-- In the order in which they are tried on each node.
local all = {
  rules.fuse_text, rules.merge_projects, rules.drop_project, rules.merge_limits, rules.limit_of_sort,
  rules.native_keys, rules.merge_distincts, rules.flatten_unions, rules.merge_repartitions,
  rules.native_reducer, rules.drop_select,
}
for _, rule in ipairs(row_rules.all) do all[#all + 1] = rule end

-- Tries the rules on a node whose inputs are optimised, until none changes it.
local function apply(node)
  local i = 1
  while i <= #all do
    local next_node = all[i](node, apply)
    i = next_node == node and i + 1 or 1
    node = next_node
  end
  return node
end

--- Sources of rows read only the columns that a later step reads.
-- @param root the last node of an optimised graph
-- @param read the set of its columns that are read (nil: all)
-- @return the last node of an equivalent graph
function rules.prune(root, read)
  local columns = require "luabatch.columns"
  local order, seen, needed = {}, {}, { [root] = read or true }
  local function visit(node)
    if seen[node] then return end
    seen[node] = true
    if not (node.cache and node.cache.store) then
      for _, input in ipairs(node.inputs or {}) do visit(input) end
    end
    order[#order + 1] = node
  end
  visit(root)
  -- From the last node down: by then all who read a node have said what.
  for i = #order, 1, -1 do
    local node = order[i]
    local sets = node.inputs and columns.reads(node, needed[node] or true)
    for j, input in ipairs(node.inputs or {}) do
      local set, before = sets and sets[j] or true, needed[input]
      if before == nil or set == true then
        needed[input] = before == true or set
      elseif before ~= true then
        local both = {}
        for name in pairs(before) do both[name] = true end
        for name in pairs(set) do both[name] = true end
        needed[input] = both
      end
    end
  end
  local done = {}
  for _, node in ipairs(order) do
    local inputs, changed = {}, false
    for j, input in ipairs(node.inputs or {}) do
      inputs[j] = done[input] or input
      changed = changed or inputs[j] ~= input
    end
    if (node.op == "select" or node.op == "join_rows" or node.op == "window") and needed[node] ~= true then
      done[node] = with(node, { inputs = inputs, needed = needed[node] })
    elseif changed then
      done[node] = with(node, { inputs = inputs })
    elseif node.source and needed[node] ~= true then
      done[node] = with(node, { needed = needed[node] })
    else
      done[node] = node
    end
  end
  return done[root]
end

-- The inputs of a node; those of unions in a union are its own, so that a long chain of them is not copied at every step.
local function flat_inputs(node)
  if node.op ~= "union" then return node.inputs end
  local inputs, waiting = {}, { node }
  while #waiting > 0 do
    local last = table.remove(waiting)
    if last == node or last.op == "union" then
      for i = #last.inputs, 1, -1 do waiting[#waiting + 1] = last.inputs[i] end
    else
      inputs[#inputs + 1] = last
    end
  end
  return inputs
end

--- Applies all rules to a graph, inputs first, until nothing changes.
-- @param node the last node
-- @return the last node of an equivalent graph; nodes used twice stay shared
function rules.optimise(node)
  local done = {}

  local function visit(old)
    if done[old] then return done[old] end
    local new = old
    -- What a cache holds already was computed; what is below it is not looked at any more.
    if old.inputs and not (old.cache and old.cache.store) then
      local inputs, changed = {}, false
      for i, input in ipairs(flat_inputs(old)) do
        inputs[i] = visit(input)
        changed = changed or inputs[i] ~= old.inputs[i]
      end
      if changed then new = with(old, { inputs = inputs }) end
    end
    new = apply(new)
    done[old] = new
    return new
  end

  return visit(node)
end

return rules
