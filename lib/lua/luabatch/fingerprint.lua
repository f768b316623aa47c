--- What a plan is, so that it is known again in another process: its fingerprint, and the files that it reads.
-- @module luabatch.fingerprint
local core = require "luabatch.core"

local fingerprint = {}

--- All nodes below one, each once, in an order that depends on the graph alone.
-- @param root logical node
-- @return list of nodes
function fingerprint.nodes_below(root)
  local list, seen = {}, {}
  local function visit(node)
    if seen[node] then return end
    seen[node] = true
    for _, input in ipairs(node.inputs or {}) do visit(input) end
    list[#list + 1] = node
  end
  visit(root)
  return list
end

-- The graph without what this process keeps, and with a mark in place of each checkpoint.
local function pure(root)
  local done = {}
  local function visit(node)
    if done[node] then return done[node] end
    local result
    if node.op == "checkpoint" then
      local mark = fingerprint.of_checkpoint(node).plan
      result = { op = "read", paths = { "checkpoint " .. mark }, columns = node.columns, names = node.names }
    elseif node.op == "cache" then
      result = visit(node.inputs[1])
    elseif node.inputs then
      result = {}
      for key, value in pairs(node) do result[key] = value end
      result.inputs = {}
      for i, input in ipairs(node.inputs) do result.inputs[i] = visit(input) end
    else
      result = node
    end
    done[node] = result
    return result
  end
  return visit(root)
end

-- The files of the modules that are loaded: functions that belong to them travel by name. Not those of the library, which is known by its
-- version, nor lpeg, which safe mode loads before it closes the door.
local function module_files()
  local paths = {}
  for name in pairs(package.loaded) do
    if type(name) == "string" and name ~= "luabatch" and name ~= "lpeg" and not name:find("^luabatch%.") and package.searchpath then
      local path = package.searchpath(name, package.path) or package.searchpath(name, package.cpath)
      if path then paths[#paths + 1] = path end
    end
  end
  table.sort(paths)
  return paths
end

--- The files that a graph reads, or nil and the one that cannot be looked at again.
-- @param root logical node
-- @return list of `{ path, size, changed, stamp }`, or nil and a path
function fingerprint.files(root)
  local files, seen = {}, {}
  local function add(paths)
    for _, file in ipairs(core.expand_paths(paths)) do
      if not file.is_regular then return file.path end
      if not seen[file.path] then
        seen[file.path] = true
        files[#files + 1] = { path = file.path, size = file.size, changed = file.changed, stamp = file.stamp }
      end
    end
  end
  for _, node in ipairs(fingerprint.nodes_below(root)) do
    local wrong = node.paths and add(node.paths)
    if wrong then return nil, wrong end
  end
  local modules = module_files()
  if #modules > 0 then add(modules) end
  return files
end

--- The plan of a graph as a fingerprint. `more` says what is done with its records.
-- @param root logical node
-- @param more encodable
-- @return string; and the set of the files for records that are left out which it names
function fingerprint.plan(root, more)
  local description = require("luabatch.plan").build(pure(root), function(b, stream)
    return b:add { op = "store", inputs = { stream } }
  end)
  local left_out = {}
  for _, node in ipairs(description.nodes) do
    for _, option in ipairs { "on_bad", "on_error" } do
      if type(node[option]) == "table" then left_out[node[option].to] = true end
    end
  end
  return core.hash(core.encode {
    version = core.version .. " " .. core.build, options = require("luabatch").options, nodes = description.nodes, more = more,
  }), left_out
end

--- What tells a checkpoint from others: `plan`, and `inputs` or else `unsure`, the input that cannot be looked at again; and `left_out`,
-- the set of the files for records that are left out which it and the checkpoints below name.
-- Found once, before anything below it runs.
-- @param node logical node of a checkpoint
-- @return what is kept about it
function fingerprint.of_checkpoint(node)
  local kept = node.cache
  if not kept.plan then
    kept.plan, kept.left_out = fingerprint.plan(node.inputs[1], node.name)
    for _, below in ipairs(fingerprint.nodes_below(node.inputs[1])) do
      if below.op == "checkpoint" then
        for to in pairs(fingerprint.of_checkpoint(below).left_out) do kept.left_out[to] = true end
      end
    end
    kept.inputs, kept.unsure = fingerprint.files(node.inputs[1])
  end
  return kept
end

--- Whether files are what they were.
-- @param one list as `files` gives it, or nil
-- @param other the one of now
-- @return boolean; if false, the one that is another, unless the lists differ
function fingerprint.same_files(one, other)
  if not one or not other or #one ~= #other then return false end
  for i, file in ipairs(one) do
    local now = other[i]
    if file.path ~= now.path or file.size ~= now.size or file.changed ~= now.changed or file.stamp ~= now.stamp then
      return false, now.path
    end
  end
  return true
end

--- Whether inputs are what they were.
-- @param before list as `files` gave it, or nil
-- @param now,unsure what `files` gives
-- @return boolean; if false, a clause that says what is wrong with them
function fingerprint.same_inputs(before, now, unsure)
  if not now then return false, ("it reads %s, which cannot be checked"):format(unsure == "-" and "standard input" or unsure) end
  if not before then return false, "what it had read could not be checked" end
  local same, changed = fingerprint.same_files(before, now)
  return same, not same and (changed or "the list of its inputs") .. " has changed since" or nil
end

return fingerprint
