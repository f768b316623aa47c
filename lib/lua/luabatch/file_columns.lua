--- Columns of the file that rows come from: its path, and what the folders of the path say (`year=2024/month=1/`).
-- They stand behind the columns of the source, and cost nothing per row (src/core/ops/file_columns.c).
-- @module luabatch.file_columns
local core = require "luabatch.core"
local check = require "luabatch.check"
local columns = require "luabatch.columns"

local file_columns = {}

--- The options for them, for check.options.
file_columns.options = { filename = true, hive = "boolean" }

local kinds = { "boolean", "integer", "float", "string" }

-- The names of the folders' columns of a path, and their texts in `texts`, a list for each name.
local function read_path(verb, path, texts)
  local names, seen = {}, {}
  for i, part in ipairs(core.hive_parts(path)) do
    local name, text = part[1], part[2]
    if seen[name] then check.misuse("%s: %s has two folders for the column '%s'", verb, path, name) end
    names[i], seen[name] = name, true
    texts[name] = texts[name] or {}
    texts[name][#texts[name] + 1] = text
  end
  return names
end

local function in_words(names)
  return #names > 0 and table.concat(names, ", ") or "no column"
end

-- The columns of the folders of files, and their types: those that all values fit, or the declared ones.
local function folder_columns(verb, paths, types)
  local first, first_path
  local texts, list = {}, {}
  for _, file in ipairs(core.expand_paths(paths)) do
    local names = read_path(verb, file.path, texts)
    if not first then
      first, first_path = names, file.path
    elseif table.concat(names, "/") ~= table.concat(first, "/") then
      check.misuse("%s: the folders of %s say %s, and those of %s %s", verb, first_path, in_words(first), file.path, in_words(names))
    end
  end
  if first and #first == 0 then
    check.misuse("%s: hive = true reads columns from folders such as year=2024, and the path of %s has none", verb, first_path)
  end
  for i, name in ipairs(first or {}) do
    local kind = types and types[name]
    if kind ~= nil then check.options(verb .. ": types", { [name] = kind }, { [name] = kinds }) end
    list[i] = { name = name, folder = true, type = kind or core.csv_type(texts[name]) }
  end
  return list
end

--- What the options `filename` and `hive` ask for.
-- @param verb for messages
-- @param paths list
-- @param options of the source
-- @return list of the columns, and the option `types` without theirs
function file_columns.find(verb, paths, options)
  local list, types = {}, options.types
  local filename = options.filename
  if options.hive then
    list = folder_columns(verb, paths, types)
    if types then
      local others, is_folder = {}, {}
      for _, column in ipairs(list) do is_folder[column.name] = true end
      for name, kind in pairs(types) do
        if not is_folder[name] then others[name] = kind end
      end
      types = others
    end
  end
  if filename == true then filename = "filename" end
  if filename ~= nil and filename ~= false then
    if type(filename) ~= "string" or filename == "" then
      check.misuse("bad option 'filename' of %s (true, or the name of a column expected)", verb)
    end
    table.insert(list, 1, { name = filename, type = "string" })
  end
  return list, types
end

--- All names: those of the source, then these; no name may come twice.
function file_columns.join(verb, names, list, into)
  local seen, result = columns.set(names), into or {}
  for i, name in ipairs(names) do result[i] = name end
  for i, column in ipairs(list) do
    if seen[column.name] then
      check.misuse("%s: the files have a column '%s' too%s", verb, column.name, column.folder
        and "; leave one out with columns = {...}" or (", name the other with filename = %q"):format("its_" .. column.name))
    end
    seen[column.name] = true
    result[#names + i] = column.name
  end
  return result
end

--- The node with these columns.
-- @param verb for messages
-- @param node of rows
-- @param list see find
function file_columns.add(verb, node, list)
  if #list == 0 then return node end
  local names = columns.unique(verb, file_columns.join(verb, node.names, list))
  return {
    op = "file_columns", inputs = { node }, names = names, columns = #names, added = list, label = verb,
    star = columns.set(node.names),
  }
end

return file_columns
