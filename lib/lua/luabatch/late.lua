--- Columns that show late: names in the records of a JSON source that the sample of it did not have.
--
-- The run that meets such a name starts over with it as a column. The source's list of names grows, and so do the lists of
-- the nodes above it that pass all columns on; it is the one change that a node sees after it was made. Late columns stand last,
-- in order of bytes: which of them the engine met first does not show.
-- @module luabatch.late
local check = require "luabatch.check"

local late = {}

-- Puts an item in its place among the last `n_late` of a list.
local function insert(list, n_late, item, name_of)
  local at = #list + 1
  while at > #list - n_late + 1 and name_of(list[at - 1]) > name_of(item) do at = at - 1 end
  table.insert(list, at, item)
end

local function itself(name) return name end
local function name_of_item(item) return item.name end

--- Gives a source further columns.
-- @param source that of a `json` node
-- @param added list of { name, type }
function late.add(source, added)
  for _, pair in ipairs(added) do
    local name, kind = pair[1], pair[2]
    if not source.types[name] then
      if #source.names >= 250 then
        check.misuse("json: more than 250 columns, the last is '%s': name those that are wanted with columns = {...}", name)
      end
      insert(source.names, source.late, name, itself)
      source.late = source.late + 1
      source.types[name], source.inferred[name] = kind, true
    end
  end
end

--- Whether the columns of a node may become more.
function late.is_open(node)
  if node.source then return node.source.open end
  for _, input in ipairs(node.names and node.inputs or {}) do
    if late.is_open(input) then return true end
  end
  return false
end

-- The columns of an input that a node does not know yet.
local function unknown(node, input)
  local list = {}
  for _, name in ipairs(input.names) do
    if not node.star[name] then
      node.star[name] = true
      list[#list + 1] = name
    end
  end
  return list
end

local grow = {}

local function has(names, name)
  for _, known in ipairs(names) do if known == name then return true end end
  return false
end

local function add_item(node, list, item)
  if has(node.names, item.name) then return end
  node.late = node.late or 0
  insert(list, node.late, item, name_of_item)
  insert(node.names, node.late, item.name, itself)
  node.late = node.late + 1
end

function grow.select(node)
  for _, name in ipairs(unknown(node, node.inputs[1])) do add_item(node, node.items, { name = name, column = name }) end
end

function grow.file_columns(node)
  if #unknown(node, node.inputs[1]) == 0 then return end
  require("luabatch.file_columns").join(node.label, node.inputs[1].names, node.added, node.names)
end

-- What tells columns of the sides of a join apart was settled when it was made.
function grow.join_rows(node)
  for side, input in ipairs(node.inputs) do
    local list = {}
    for _, name in ipairs(input.names) do
      if not node.star[side][name] then list[#list + 1] = name end
    end
    if #list > 0 then
      check.misuse("%s: its input has a column '%s' that the sample of it did not show; name its columns with json's option "
        .. "columns = {...}", node.label, list[1])
    end
  end
end

--- Brings the lists of the nodes up to date with those of their sources.
-- @param root the last node
function late.sync(root)
  local seen = {}
  local function visit(node)
    if seen[node] then return end
    seen[node] = true
    for _, input in ipairs(node.inputs or {}) do visit(input) end
    if node.star and grow[node.op] then grow[node.op](node) end
    if node.names then node.columns = #node.names end
    if node.op == "union" and node.names then
      for _, input in ipairs(node.inputs) do
        if #input.names ~= #node.names then
          check.misuse("union: an input has a column that the sample of it did not show; name its columns with json's option "
            .. "columns = {...}")
        end
      end
    end
  end
  visit(root)
end

return late
