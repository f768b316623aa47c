--- Actions that write files: the methods of a dataset from save_text to save.
-- @module luabatch.save
local check = require "luabatch.check"
local columns = require "luabatch.columns"
local runtime = require "luabatch.runtime"

local action = {}

local save_options = {
  mode = { "error", "overwrite", "append", "ignore" },
  compression = { "none", "gzip", "zstd", "lz4", "bzip2" },
}

-- Of the text formats.
local text_options = { mode = save_options.mode, compression = save_options.compression, partition_by = "table" }
local csv_options = {
  mode = save_options.mode, compression = save_options.compression, partition_by = "table", header = "boolean",
}

-- Checks the columns that folders are named by.
local function check_partition_by(verb, path, node, keys)
  if not node.names then check.misuse("%s: partition_by needs rows with named columns", verb) end
  if path:sub(-1) ~= "/" then check.misuse("%s: partition_by makes folders in a directory, whose path ends in '/'", verb) end
  local list = columns.list(verb, node.names, keys)
  if #list == 0 then check.misuse("%s: partition_by names no column", verb) end
  if #list == #node.names then check.misuse("%s: partition_by leaves no column for the files", verb) end
  return list
end

local function save(self, verb, path, format, options)
  local place = check.place()
  runtime.check_path(verb, path)
  runtime.check_promise(verb, path, format)
  if type(options) == "table" and options.partition_by ~= nil then
    local copy = {}
    for key, value in pairs(options) do copy[key] = value end
    if type(copy.partition_by) == "string" then copy.partition_by = { copy.partition_by } end
    options = copy
  end
  local allowed = (format == "csv" or format == "tsv") and csv_options or format == "native" and save_options or text_options
  options = check.options(verb, options, allowed)
  if options.partition_by then
    options.partition_by = check_partition_by(verb, path, self._node, options.partition_by)
  end
  return runtime.save(verb, self._node, path, format, options, place)
end

--- Writes the records as lines: columns separated by tabs, tables as JSON, nil as `nil`.
-- @param path string: a file; ending in "/": a directory of parts. It appears whole or not at all
-- @param options table?: `mode` ("error", "overwrite", "append", "ignore"), `compression` ("none", "gzip", "zstd", "lz4", "bzip2";
--   otherwise by the path's extension), for rows `partition_by` (columns that become folders, `year=2024/`, of a directory)
-- @return integer: the number of records
-- @raise the path exists and `mode` is "error"; the disk is full
-- @usage lb.text("a.txt"):words():save_text("words.txt.gz", { mode = "overwrite" })
function action:save_text(path, options)
  return save(self, "save_text", path, "text", options)
end

--- Writes rows as comma-separated values under a line of the columns' names, or other records without such a line. Values
-- are quoted where needed, nil is empty.
-- @param path string: as for `save_text`
-- @param options table?: as for `save_text`, and `header` (false: no line of names)
-- @return integer: the number of records
-- @raise as `save_text`
-- @usage lb.csv("sales.csv"):select("id", "item"):save_csv("items.csv", { mode = "overwrite" })
function action:save_csv(path, options)
  return save(self, "save_csv", path, "csv", options)
end

--- Writes rows as tab-separated values under a line of the columns' names, as `save_csv` with tabs: a value with a tab, a newline or a
-- quote is quoted, and `lb.tsv` reads all of it back.
-- @param path string: as for `save_text`
-- @param options table?: as for `save_csv`
-- @return integer: the number of records
-- @raise as `save_text`
-- @usage lb.csv("sales.csv"):save_tsv("sales.tsv", { mode = "overwrite" })
function action:save_tsv(path, options)
  return save(self, "save_tsv", path, "tsv", options)
end

--- Writes each row as a JSON object on a line of its own, and other records as JSON values.
-- @param path string: as for `save_text`
-- @param options table?: as for `save_text`
-- @return integer: the number of records
-- @raise as `save_text`
-- @usage lb.csv("sales.csv"):save_json("sales.jsonl.gz", { mode = "overwrite" })
function action:save_json(path, options)
  return save(self, "save_json", path, "json", options)
end

--- Writes the records exactly, to be read by `lb.read`; rows with the names of their columns.
-- @param path string: as for `save_text`
-- @param options table?: `mode` and `compression` as for `save_text`
-- @return integer: the number of records
-- @raise as `save_text`
-- @usage lb.range(1000):save("numbers.lbb", { mode = "overwrite" })
function action:save(path, options)
  return save(self, "save", path, "native", options)
end

return action
