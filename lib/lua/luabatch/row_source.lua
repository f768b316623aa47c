--- Sources of rows: delimited text and JSON.
-- @module luabatch
local core = require "luabatch.core"
local check = require "luabatch.check"
local columns = require "luabatch.columns"
local dataset = require "luabatch.dataset"
local file_columns = require "luabatch.file_columns"
local runtime = require "luabatch.runtime"
local source = require "luabatch.source"

local row_source = {}

local kinds = { "boolean", "integer", "float", "string" }
local json_kinds = { "boolean", "integer", "float", "string", "any" }

-- Types that the user declared, which replace those of the sample.
local function declared(verb, known, types, allowed)
  local inferred = {}
  for name in pairs(known.types) do inferred[name] = true end
  for name, kind in pairs(types or {}) do
    columns.find(verb, known.names, name)
    check.options(verb .. ": types", { [name] = kind }, { [name] = allowed })
    known.types[name], inferred[name] = kind, false
  end
  known.inferred = inferred
  return known
end

-- `types` of a sniff, by number, as a map from names.
local function by_name(names, types)
  local map = {}
  for i, name in ipairs(names) do map[name] = types[i] or types[name] end
  return map
end

local function null_list(verb, null)
  if type(null) == "string" then null = { null } end
  if type(null) ~= "table" then check.bad(verb, "null", "string or list of strings", null) end
  for i, text in ipairs(null) do
    if type(text) ~= "string" then check.bad(verb, ("null[%d]"):format(i), "string", text) end
  end
  return null
end

-- The names that files have are too many for rows: the files are to blame, not the call.
local function check_number(paths, names)
  if #names <= columns.MOST then return end
  local path = core.expand_paths(paths)[1].path
  check.bad_data("%s: %d columns (%d are possible at once: `columns` says which)", path == "-" and "standard input" or path, #names,
    columns.MOST)
end

local function delimited(verb, path, options, sep)
  local paths = source.path_list(verb, path)
  options = check.options(verb, options, {
    header = "boolean", sep = "string", quote = "string", columns = "table", types = "table", null = true,
    on_bad = "policy", filename = true, hive = "boolean", compression = source.compressions,
  })
  local added, types = file_columns.find(verb, paths, options)
  local format = {
    sep = options.sep or sep, quote = options.quote or '"', header = options.header ~= false,
    null = null_list(verb, options.null or { "" }), compression = options.compression,
  }
  if format.sep == "" then check.misuse("bad option 'sep' of %s (it must not be empty)", verb) end
  if #format.quote > 1 then check.misuse("bad option 'quote' of %s (one byte, or \"\" for none, expected)", verb) end
  runtime.make_room()
  local sniffed = core.csv_sniff(paths, format)
  local file_names = sniffed.names
  local names = file_names
  if options.columns then
    names = columns.unique(verb, options.columns)
    if format.header then
      for _, name in ipairs(names) do columns.find(verb, file_names, name) end
    elseif #names ~= #file_names then
      check.misuse("%s: %d columns are named, and %s has %d", verb, #names, paths[1], #file_names)
    else
      file_names = names
    end
  end
  check_number(paths, names)
  columns.unique(verb, file_names, math.huge)
  columns.unique(verb, names)
  local known = declared(verb, { names = file_names, types = by_name(file_names, sniffed.types) }, types, kinds)
  known.format, known.on_bad, known.verb = format, options.on_bad or "fail", verb
  local node = {
    op = "csv", paths = paths, source = known, names = names, columns = #names, label = verb, compression = options.compression,
  }
  return dataset.new(file_columns.add(verb, node, added))
end

--- Rows of comma-separated files. A type that is not declared is found from a sample and widened when a later value does not fit;
-- no value is changed by it. In an input that cannot be read twice, as standard input ("-"), such a value is an error that says what to
-- declare.
-- @param path string|list: a file, a directory, a glob, or a list of those; as for `text`
-- @param options table?: `header` (false: the first line is a row; columns are then column1, column2, ... or those of `columns`), `sep`,
--   `quote`, `columns` (those wanted, in this order), `types` (`{name = "integer"}`; "boolean", "integer", "float", "string"), `null`
--   (list of texts that stand for nil, default `{""}`), `on_bad` ("fail", "skip" or `{to = path}`), `filename` (true, or a name: adds a
--   column with the path of each row's file), `hive` (true: folders such as `year=2024`, as save's `partition_by` writes them, add
--   columns), `compression`, as for `text`
-- @return dataset: of rows
-- @raise nothing matches the path; a bad record (wrong number of fields, quotes, a declared type that does not fit) ends the run
-- @usage lb.csv("sales.csv"):where("amount > 100"):show()
function row_source.csv(path, options)
  return delimited("csv", path, options, ",")
end

--- Rows of tab-separated files.
-- @param path string|list: as for `csv`
-- @param options table?: as for `csv`
-- @return dataset: of rows
-- @raise as `csv`
-- @usage lb.tsv("people.tsv", { header = false, columns = { "name", "age" } }):show()
function row_source.tsv(path, options)
  return delimited("tsv", path, options, "\t")
end

-- The names that `types` declares and a sample does not show, where the input cannot be read twice: they may come later. Of others the
-- names that come later are found; there such a name is a mistake.
local function late_names(paths, known, types)
  local list, once = {}, false
  for name in pairs(types or {}) do
    if type(name) == "string" and not known[name] then list[#list + 1] = name end
  end
  for _, file in ipairs(#list > 0 and core.expand_paths(paths) or {}) do once = once or not file.is_regular end
  table.sort(list)
  return once and list or {}
end

-- The sample's names and types. Where no record gave a name the first one that is bad says why: the scan finds it.
local function sniff_json(paths, names, compression)
  runtime.make_room()
  local ok, result = pcall(core.json_sniff, paths, names ~= nil, compression)
  if ok then return result end
  if type(result) == "table" and result.status ~= 4 then error(result, 0) end
  local setting = require("luabatch.runtime").setting
  local _, problem = pcall(core.execute, {
    nodes = {
      {
        op = "scan.json", paths = paths, compression = compression,
        columns = { "" }, types = { "any" }, inferred = { false }, known = { "" },
        watch = {}, watch_all = true, on_bad = "fail", label = "json",
      },
      { op = "count", inputs = { 1 }, result = true },
    },
  }, { threads = setting "threads", memory = setting "memory", tmp = setting "tmp" })
  error(type(problem) == "table" and problem.status == 4 and problem or result, 0)
end

--- Rows of JSON: objects, one a line, or all in one array. Columns and types that are not declared are found from a sample; a name that
-- comes later becomes a column, too, and a type is widened when a later value does not fit.
-- @param path string|list: a file, a directory, a glob, or a list of those; as for `text`
-- @param options table?: `columns` (those wanted, in this order; the others are passed over), `types` (`{name = "integer"}`; "boolean",
--   "integer", "float", "string", "any"), `on_bad`, `filename`, `hive`, `compression`, as for `csv`
-- @return dataset: of rows
-- @raise nothing matches the path; a bad record (no object, or a declared type that does not fit) ends the run
-- @usage lb.json("events.json"):group_by("kind"):count():show()
function row_source.json(path, options)
  local verb = "json"
  local paths = source.path_list(verb, path)
  options = check.options(verb, options, {
    columns = "table", types = "table", on_bad = "policy", filename = true, hive = "boolean", compression = source.compressions,
  })
  local added, declared_types = file_columns.find(verb, paths, options)
  local names = options.columns and columns.unique(verb, options.columns)
  local sniffed = sniff_json(paths, names, options.compression)
  local types = by_name(sniffed.names, sniffed.types)
  -- What is declared need not be in the sample.
  for _, name in ipairs(names or late_names(paths, types, declared_types)) do
    if not types[name] then
      sniffed.names[#sniffed.names + 1] = name
      types[name] = "any"
    end
  end
  local known = declared(verb, { names = sniffed.names, types = types }, declared_types, json_kinds)
  known.on_bad, known.verb, known.open, known.late = options.on_bad or "fail", verb, names == nil, 0
  check_number(paths, names or sniffed.names)
  names = names or columns.unique(verb, sniffed.names)
  local node = {
    op = "json", paths = paths, source = known, names = names, columns = #names, label = verb, compression = options.compression,
  }
  return dataset.new(file_columns.add(verb, node, added))
end

return row_source
