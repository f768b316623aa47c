--- Sources: where datasets begin.
-- @module luabatch
local core = require "luabatch.core"
local builtin = require "luabatch.builtin"
local check = require "luabatch.check"
local compat = require "luabatch.compat"
local dataset = require "luabatch.dataset"
local file_columns = require "luabatch.file_columns"

local source = {}

--- What the option `compression` of sources may be.
source.compressions = { "auto", "none", "gzip", "zstd", "lz4", "bzip2" }

--- A path or a list of paths as a list.
function source.path_list(verb, path)
  if type(path) == "string" then return { path } end
  if type(path) ~= "table" or #path == 0 then
    check.bad(verb, "path", "string or list of strings", path)
  end
  local paths = {}
  for i, one in ipairs(path) do
    if type(one) ~= "string" then
      check.bad(verb, ("path[%d]"):format(i), "string", one)
    end
    paths[i] = one
  end
  return paths
end

--- The lines of text files, without their newlines (LF or CRLF). Plain files are read by all threads.
-- @param path string|list: a file, a directory, a glob, or a list of those; "-" is standard input. Files named .gz, .zst,
--   .lz4 and .bz2 are decompressed, and those that begin as such files do.
-- @param options table?: `compression` ("none": the bytes are the text, whatever the names and first bytes say; "gzip", "zstd", "lz4",
--   "bzip2": all files are such; default "auto"), `filename`, `hive`, as for `csv`: the records are rows then, with the columns
--   `line` and these
-- @return dataset: of strings, or of rows
-- @raise nothing matches the path; a compressed file that is cut off or broken ends the run
-- @usage print(lb.text("logs/*.gz"):grep("ERROR"):count())
function source.text(path, options)
  options = check.options("text", options, {
    compression = source.compressions, filename = file_columns.options.filename, hive = file_columns.options.hive,
  })
  local paths = source.path_list("text", path)
  local node = { op = "text", paths = paths, columns = 1, compression = options.compression }
  local added = file_columns.find("text", paths, options)
  if #added == 0 then return dataset.new(node) end
  node = { op = "named", inputs = { node }, names = { "line" }, columns = 1, types = { line = "string" }, label = "text" }
  return dataset.new(file_columns.add("text", node, added))
end

--- The lines of standard input, as `lb.text "-"`.
-- @param options table?: `compression`, as for `text`
-- @return dataset: of strings
-- @usage print(lb.stdin():count())
function source.stdin(options)
  options = check.options("stdin", options, { compression = source.compressions })
  return dataset.new { op = "text", paths = { "-" }, columns = 1, compression = options.compression }
end

--- Whole files.
-- @param path string|list: as for `text`
-- @param options table?: `compression`, as for `text`; by default files named .gz, .zst, .lz4 and .bz2 are decompressed
-- @return dataset: of pairs: path, content
-- @raise nothing matches the path
-- @usage lb.files("texts/"):map(function(path, content) return path, #content end):show()
function source.files(path, options)
  options = check.options("files", options, { compression = source.compressions })
  return dataset.new { op = "files", paths = source.path_list("files", path), columns = 2, compression = options.compression }
end

-- The names of the columns of files written by `save`, which must be the same; nil: their records are no rows.
local function saved_names(paths)
  local first
  for _, file in ipairs(core.native_names(paths)) do
    first = first or file
    local here, there = file.names or {}, first.names or {}
    if table.concat(here, "\0") ~= table.concat(there, "\0") or #here ~= #there then
      local function shown(names) return names and "rows of " .. table.concat(names, ", ") or "records that are no rows" end
      error(("read: %s has %s, and %s %s; read them one by one and use union"):format(first.path, shown(first.names), file.path,
        shown(file.names)), 0)
    end
  end
  return first and first.names
end

--- Records written by `save`, exactly as they were; rows have their columns again.
-- @param path string|list: as for `text`
-- @param options table?: `filename`, `hive`, as for `csv`, where the records are rows
-- @return dataset
-- @raise nothing matches the path; a file that is no such file, or broken; files of rows with other columns
-- @usage
-- lb.from_pairs({ { "a", 1 } }):save("counts.lbb", { mode = "overwrite" })
-- lb.read("counts.lbb"):show()
function source.read(path, options)
  options = check.options("read", options, file_columns.options)
  local paths = source.path_list("read", path)
  local names, added = saved_names(paths), file_columns.find("read", paths, options)
  if #added > 0 and not names then check.misuse("read: 'filename' and 'hive' add columns to rows, and %s holds no rows", paths[1]) end
  return dataset.new(file_columns.add("read", { op = "read", paths = paths, names = names, columns = names and #names }, added))
end

--- Integers from first to last, last included; `range(n)` begins at 1.
-- @param first integer: the first (or the last, when it is the only argument)
-- @param last integer?: the last
-- @param step integer?: distance, not 0 (default 1)
-- @return dataset: of integers
-- @usage print(lb.range(100):sum())
function source.range(first, last, step)
  first = check.integer("range", last == nil and "n" or "first", first)
  if last == nil then first, last = 1, first end
  last = check.integer("range", "last", last)
  step = step == nil and 1 or check.integer("range", "step", step)
  if step == 0 then check.misuse("bad argument 'step' to range (it must not be 0)") end
  return dataset.new { op = "range", first = first, last = last, step = step, columns = 1 }
end

-- The number of elements of a list; other keys would be lost silently. What table.pack gives has its length in `n`.
local function length(verb, list)
  if type(list) ~= "table" then check.bad(verb, "list", "table", list) end
  local n = #list
  local packed = compat.math_type(list.n) == "integer" and list.n >= n
  if packed then n = list.n end
  for key in pairs(list) do
    if not (compat.math_type(key) == "integer" and key >= 1 and key <= n or packed and key == "n") then
      check.misuse("bad argument 'list' to %s (a list has no key %s%s)", verb,
        type(key) == "string" and ("%q"):format(key) or tostring(key),
        list == _G.arg and "; the arguments alone are {table.unpack(arg)}" or "")
    end
  end
  return n
end

-- Values must be ones that can be records; the path to what cannot is in the message.
local function check_values(verb, list, n)
  local values = n == #list and list or { compat.unpack(list, 1, n) }
  local ok, message = pcall(core.encode, values)
  if not ok then
    check.pass_on(message)
    check.misuse("bad argument 'list' to %s (%s)", verb, tostring(message))
  end
end

-- The names in a list of tables with string keys, in order of bytes, or nil when it is no such list.
local function row_names(list)
  local names, seen = {}, {}
  for i = 1, #list do
    if type(list[i]) ~= "table" then return nil end
    for key in pairs(list[i]) do
      if type(key) ~= "string" then return nil end
      if not seen[key] then
        seen[key] = true
        names[#names + 1] = key
      end
    end
  end
  if #names == 0 or #names > 250 then return nil end
  table.sort(names)
  return names
end

-- The types of columns whose values are all of one.
local function row_types(list)
  local types = {}
  for i = 1, #list do
    for name, value in pairs(list[i]) do
      local kind = compat.math_type(value) or type(value)
      if kind == "table" or types[name] and types[name] ~= kind then kind = "any" end
      types[name] = kind
    end
  end
  return types
end

--- The elements of a list, one record each. Tables with string keys become rows, whose columns are all their keys.
-- @param list list: nil, booleans, numbers, strings and tables of these; `n`, as table.pack sets it, is its length
-- @return dataset: of values or rows
-- @raise an element that cannot be a record, such as a function; keys beside the list's
-- @usage lb.from({ 3, 1, 2 }):sort_by():show()
function source.from(list)
  local n = length("from", list)
  check_values("from", list, n)
  local rows = {}
  for i = 1, n do rows[i] = { list[i] } end
  local node = { op = "list", rows = rows, columns = 1 }
  local names = row_names(list)
  if names then
    node = {
      op = "unpack", label = "from", inputs = { node }, names = names, columns = #names, types = row_types(list),
    }
  end
  return dataset.new(node)
end

--- Pairs (or longer tuples) from a list of lists.
-- @param list list: `{ {key, value}, ... }`; where a value is missing it is nil
-- @return dataset: of pairs
-- @raise an element that is no list, or that cannot be a record
-- @usage lb.from_pairs({ { "a", 1 }, { "b", 2 } }):map_values(function(v) return v * 2 end):show()
function source.from_pairs(list)
  local rows, columns, short = {}, nil, false
  local n = length("from_pairs", list)
  check_values("from_pairs", list, n)
  for i = 1, n do
    local pair = list[i]
    if type(pair) ~= "table" or #pair == 0 then
      check.bad("from_pairs", ("list[%d]"):format(i), "list of a key and values", pair)
    end
    rows[i] = { compat.unpack(pair, 1, #pair) }
    -- { key, nil } is the same list as { key }.
    local width = math.max(#pair, 2)
    short = short or #pair < width
    if i == 1 then columns = width elseif columns ~= width then columns = nil end
  end
  local node = { op = "list", rows = rows, columns = not short and (columns or n == 0 and 2) or nil }
  if short then
    node = { op = "map", fn = builtin.pair, label = "from_pairs", inputs = { node }, columns = columns }
  end
  return dataset.new(node)
end

return source
