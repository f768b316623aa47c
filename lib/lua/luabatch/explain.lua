--- Plans as text: a line for each node, its inputs indented below it.
--
-- A function of the user is shown by its place, with what it runs as (Lua, or a kernel that means the same) and, where it gets
-- rows, the columns that it reads.
-- @module luabatch.explain
local core = require "luabatch.core"
local columns = require "luabatch.columns"

local explain = {}

-- Fields of nodes that are shown as they are.
local shown = {
  "n", "first", "last", "step", "mode", "sep", "pattern", "fraction", "seed", "descending", "partitions",
  "sort_values", "command", "sql", "how", "strategy", "column", "size", "every", "offset", "gap", "top",
  "salt", "compression",
}

-- Fields that are functions, beside fn.
local functions = {
  "create", "merge_value", "merge_combiners", "combiner", "partitioner", "init", "final", "combine", "salt", "zero", "seq", "comb",
}

local MOST_NAMES = 30

-- Names with commas; many are cut.
local function join(list)
  if #list <= MOST_NAMES then return table.concat(list, ", ") end
  return ("%s and %d more"):format(table.concat(list, ", ", 1, MOST_NAMES), #list - MOST_NAMES)
end

--- Where a function is written.
-- @return "job.lua:7", or "a C function"
function explain.place(fn)
  local info = debug.getinfo(fn, "S")
  if info.what == "C" then return "a C function" end
  return ("%s:%d"):format(info.short_src, info.linedefined)
end

-- What a function runs as. `kernel` is the name of the one in its place, or nil; names: of the rows that it gets, or nil.
local function describe_function(fn, kernel, names)
  if kernel then return ("kernel %s (%s)"):format(kernel, explain.place(fn)) end
  local text = ("lua (%s)"):format(explain.place(fn))
  if not names then return text end
  local read = core.row_reads(fn, 1)
  if not read then return text .. " reads the whole row" end
  return text .. (#read > 0 and " reads " .. join(read) or " reads nothing")
end

local function describe_key(key)
  return type(key) == "table" and key.name .. (key.desc and " desc" or "") or tostring(key)
end

local function describe_item(item, names)
  if item.fn then return ("%s = %s"):format(item.name, describe_function(item.fn, nil, names)) end
  local from = item.sql or item.column
  return from == item.name and from or ("%s = %s"):format(item.name, from)
end

local function describe_aggregate(aggregate, names)
  local of = {}
  for i, name in ipairs(aggregate.columns) do
    local item = aggregate.computed and aggregate.computed[i] or {}
    of[i] = name or item.sql or item.fn and describe_function(item.fn, nil, names) or "?"
  end
  local fn = aggregate.fn
  if fn == "lua" then
    fn = "aggregate lua (" .. explain.place(aggregate.step) .. ") "
    if #of == 0 then of[1] = "row" end
  elseif fn == "over" then
    of[1] = describe_function(aggregate.f)
  end
  if aggregate.n then of[#of + 1] = tostring(aggregate.n) end
  return ("%s = %s(%s)"):format(aggregate.name, fn, table.concat(of, ", "))
end

-- Columns of rows: what a node reads, computes, sorts or groups by.
local function describe_columns(node, parts)
  local names = node.inputs and node.inputs[1].names
  local function list(title, of, describe)
    local texts = {}
    for i, one in ipairs(of) do texts[i] = describe(one, names) end
    if #texts > 0 then parts[#parts + 1] = title .. join(texts) end
  end
  if node.source and node.source.names then
    local read = {}
    for _, name in ipairs(node.names) do
      if not node.needed or node.needed[name] then read[#read + 1] = name end
    end
    parts[#parts + 1] = ("reads %d of %d columns:"):format(#read, #node.source.names)
    list("", read, tostring)
  elseif node.op == "file_columns" then
    list("adds ", node.added, function(column) return column.name .. " " .. column.type end)
  elseif node.op == "select" then
    local computed = {}
    for _, item in ipairs(node.items) do
      local is_read = not item.column or not node.needed or node.needed == true or node.needed[item.name]
      if is_read and not columns.is_idle(node, item, node.needed) then computed[#computed + 1] = item end
    end
    list("", computed, describe_item)
  elseif node.op == "window" then
    list("by ", node.partition, tostring)
    list("ordered by ", node.order, describe_key)
    local frame = node.frame
    if frame then
      parts[#parts + 1] = ("%s %s to %s"):format(frame.kind, frame.from or "start", frame.to or "end")
    end
    local computed = {}
    for _, fn in ipairs(node.functions) do
      if not columns.is_idle_function(node, fn, node.needed) then computed[#computed + 1] = fn end
    end
    list("of ", computed, describe_aggregate)
  elseif node.op == "join_rows" then
    for i, key in ipairs { node.left, node.right } do
      if type(key) == "function" then key = { describe_function(key, nil, node.inputs[i].names) } end
      list(i == 1 and "on " or "= ", key, tostring)
    end
    if node.strategy == "auto" and node.how ~= "cross" then
      parts[#parts + 1] = "builds " .. require("luabatch.row_join").build_side(node)
    end
  else
    if node.keys then list("by ", node.keys, describe_key) end
    if node.aggregates then list("of ", node.aggregates, describe_aggregate) end
  end
end

local function describe_node(node)
  local parts = { node.op }
  local names = node.inputs and node.inputs[1] and node.inputs[1].names
  if node.label and node.label ~= node.op then parts[1] = ("%s (%s)"):format(node.op, node.label) end
  if node.paths then parts[#parts + 1] = (core.printable(table.concat(node.paths, " "))) end
  if node.rows then parts[#parts + 1] = ("%d records"):format(#node.rows) end
  if node.picks then parts[#parts + 1] = table.concat(node.picks, ",") end
  for _, name in ipairs(shown) do
    local value = node[name]
    if value ~= nil and type(value) ~= "function" then
      parts[#parts + 1] = ("%s=%s"):format(name, type(value) == "string" and ("%q"):format(value) or tostring(value))
    end
  end
  if node.names then describe_columns(node, parts) end
  if type(node.fn) == "function" then
    parts[#parts + 1] = describe_function(node.fn, node.op == "reduce_by_key" and core.kernel_reduce(node.fn) or nil, names)
  end
  for _, name in ipairs(functions) do
    if type(node[name]) == "function" then parts[#parts + 1] = name .. " " .. describe_function(node[name]) end
  end
  if node.cache then
    parts[#parts + 1] = node.cache.store and "(kept)" or node.cache.off and "(off)" or "(to be kept)"
  end
  return table.concat(parts, " ")
end

--- A graph of logical nodes as text, the last node first.
-- @param node the last logical node
-- @return string
function explain.tree(node)
  local lines = {}
  local function visit(one, indent)
    lines[#lines + 1] = ("  "):rep(indent) .. describe_node(one)
    if one.cache and one.cache.store then return end
    for _, input in ipairs(one.inputs or {}) do visit(input, indent + 1) end
  end
  visit(node, 1)
  -- Columns that only the engine sees (groups.lua).
  return (table.concat(lines, "\n"):gsub("\1", "@"))
end

return explain
