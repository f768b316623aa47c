--- Datasets: immutable, lazy descriptions of records.
--
-- A verb makes a new dataset and does no work; an action (action.lua, loaded when first used) runs the plan. A record is one
-- value, or several columns: a pair is a key and a value. User functions get the columns as arguments. A row has named
-- columns (row.lua has its verbs, by_key.lua those of pairs by key); functions get it as one table.
-- @module luabatch.dataset
local check = require "luabatch.check"
local builtin = require "luabatch.builtin"
local compat = require "luabatch.compat"

local dataset = {}

local Dataset = {}
local meta = {}

--- Makes a dataset of a logical node (plan.lua).
function dataset.new(node)
  return setmetatable({ _node = node }, meta)
end

--- Whether a value is a dataset.
function dataset.is(value)
  return getmetatable(value) == meta
end

-- The node of an argument that must be a dataset.
function dataset.check(verb, name, value)
  if not dataset.is(value) then check.bad(verb, name, "dataset", value) end
  return value._node
end

-- What verbs make of rows: rows of the same columns, or records of what functions make of the row. For the others of
-- these a row is one value, a table.
local keep_rows = {
  filter = true, sample = true, limit = true, repartition = true, coalesce = true, sort_by = true, distinct = true,
  union = true, intersection = true, subtract = true,
}
local take_rows = { map = true, flat_map = true, map_partitions = true, key_by = true }
local take_values = { value_counts = true, cartesian = true, zip_with_index = true, pipe = true }

-- Rows as records of one value, tables.
local function as_value(node)
  if not node.names then return node end
  return { op = "pack_row", label = "rows as tables", inputs = { node }, columns = 1 }
end
dataset.as_value = as_value

-- A new dataset whose node stands on this one.
function dataset.derive(self, op, node)
  node.op, node.label = op, node.label or op
  node.inputs = node.inputs or { self._node }
  local rows = false
  for _, input in ipairs(node.inputs) do rows = rows or input.names ~= nil end
  if not rows or take_rows[op] then return dataset.new(node) end
  if keep_rows[op] then
    node.names = self._node.names
  elseif take_values[op] then
    local columns = 0
    for i, input in ipairs(node.inputs) do
      node.inputs[i] = as_value(input)
      columns = columns and node.inputs[i].columns and columns + node.inputs[i].columns
    end
    if op == "cartesian" then node.columns = columns elseif op == "zip_with_index" then node.columns = 2 end
  else
    check.misuse("%s does not take rows; make other records of them with map or key_by, or use a verb of rows such as "
      .. "select, group_by or join with {on = ...}", node.label)
  end
  return dataset.new(node)
end
local derive = dataset.derive

-- The node of the other dataset of a set operation; rows must have the same columns, in any order.
local function same_columns(self, verb, other)
  if self._node.names then return require("luabatch.row").aligned(verb, self._node.names, other) end
  if other._node.names then check.misuse("%s: only the other dataset has named columns", verb) end
  return other._node
end

-- What a choice of `columns` leaves: picks of a known number of columns.
local function pick(self, picks)
  return derive(self, "project", { picks = picks, columns = #picks })
end

local on_error = { on_error = "policy" }
local by_key = { partitions = "integer" }

-- One record after the other.

--- The values that f returns are the new record: one value, or several columns, of which the first is the key.
-- Keeps the order of the input. A row reaches f as one table.
-- @param f function(record...) -> values
-- @param options table?: `{on_error = "skip"}` leaves out records for which f raises, counts them and tells at the end;
--   `{on_error = {to = path}}` writes them there, too, as JSON lines
-- @raise an error of f ends the run; the message has its line and the record
-- @usage lb.range(3):map(function(n) return n, n * n end):show()
function Dataset:map(f, options)
  check.func("map", "f", f)
  options = check.options("map", options, on_error)
  return derive(self, "map", { fn = f, on_error = options.on_error })
end

--- Any number of records from one: those that f emits, and the elements of a list that it returns.
-- @param f function(record..., emit) -> list?: calls `emit(values...)` once for each new record
-- @param options table?: `{on_error = "skip"}` as for `map`; what f emitted before it failed stays
-- @raise an error of f ends the run
-- @usage lb.text("a.txt"):flat_map(function(line, emit)
--   for n in line:gmatch("%d+") do emit(tonumber(n)) end
-- end):show()
function Dataset:flat_map(f, options)
  check.func("flat_map", "f", f)
  options = check.options("flat_map", options, on_error)
  return derive(self, "flat_map", { fn = f, on_error = options.on_error })
end

--- Keeps the records for which f returns a true value, in order.
-- @param f function(record...) -> boolean
-- @param options table?: `{on_error = "skip"}` as for `map`
-- @raise an error of f ends the run
-- @usage print(lb.range(10):filter(function(n) return n % 2 == 0 end):count())
function Dataset:filter(f, options)
  if type(f) == "string" and self._node.names then return self:where(f) end
  check.func("filter", "f", f)
  options = check.options("filter", options, on_error)
  return derive(self, "filter", { fn = f, on_error = options.on_error, columns = self._node.columns })
end

--- Calls f once for each piece of the input: the place to open something, or to load a small table, once for many records.
-- How many pieces there are depends on the size of the input, not on the number of threads.
-- @param f function(iterator, emit, index): the iterator gives the piece's records in order; index is the piece's number, from 1
-- @raise an error of f ends the run
-- @usage lb.text("a.txt"):map_partitions(function(records, emit)
--   local n = 0
--   for _ in records do n = n + 1 end
--   emit(n)
-- end):show()
function Dataset:map_partitions(f)
  check.func("map_partitions", "f", f)
  return derive(self, "map_partitions", { fn = f })
end

--- Pairs of f's result and the record.
-- @param f function(record...) -> key
-- @param options table?: `{on_error = "skip"}` as for `map`
-- @raise an error of f ends the run
-- @usage lb.from({ "apple", "fig" }):key_by(function(s) return #s end):show()
function Dataset:key_by(f, options)
  check.func("key_by", "f", f)
  options = check.options("key_by", options, on_error)
  local columns = self._node.columns
  if self._node.names then columns = 1 end
  return derive(self, "key_by", { fn = f, on_error = options.on_error, columns = columns and columns + 1 })
end

--- The keys of pairs, in order.
-- @usage lb.from_pairs({ { "a", 1 }, { "b", 2 } }):keys():show()
function Dataset:keys()
  check.pairs("keys", self._node)
  return pick(self, { 1 })
end

--- The values of pairs, in order. A tuple of more columns loses its first one.
-- @usage lb.from_pairs({ { "a", 1 }, { "b", 2 } }):values():show()
function Dataset:values()
  check.pairs("values", self._node)
  if self._node.columns == 2 then return pick(self, { 2 }) end
  return derive(self, "map", { fn = builtin.rest, label = "values" })
end

--- Keys and values change places.
-- @usage lb.from_pairs({ { "a", 1 } }):swap():show()
function Dataset:swap()
  check.pairs("swap", self._node)
  if self._node.columns == 2 then return pick(self, { 2, 1 }) end
  return derive(self, "map", { fn = builtin.swap, label = "swap", columns = 2 })
end

--- The key stays, f sees the value.
-- @param f function(value...) -> values
-- @param options table?: `{on_error = "skip"}` as for `map`
-- @raise an error of f ends the run
-- @usage lb.from_pairs({ { "a", 1 } }):map_values(function(v) return v + 1 end):show()
function Dataset:map_values(f, options)
  check.pairs("map_values", self._node)
  check.func("map_values", "f", f)
  options = check.options("map_values", options, on_error)
  return derive(self, "map_values", { fn = f, on_error = options.on_error })
end

--- As `flat_map` for the value; each result is a pair with the key.
-- @param f function(value..., emit) -> list?
-- @param options table?: `{on_error = "skip"}` as for `map`
-- @raise an error of f ends the run
-- @usage lb.from_pairs({ { "a", "x y" } }):flat_map_values(function(s, emit)
--   for word in s:gmatch("%a+") do emit(word) end
-- end):show()
function Dataset:flat_map_values(f, options)
  check.pairs("flat_map_values", self._node)
  check.func("flat_map_values", "f", f)
  options = check.options("flat_map_values", options, on_error)
  return derive(self, "flat_map_values", { fn = f, on_error = options.on_error })
end

-- Native helpers on text. They never enter Lua.

--- The words of each line: runs of bytes other than blanks. Never enters Lua.
-- @raise a record that is no string ends the run
-- @usage lb.text("book.txt"):words():value_counts():show(5)
function Dataset:words()
  check.text("words", self._node)
  return derive(self, "words", { columns = 1 })
end

--- The fields of each line, as columns; lines may differ in their number of fields. Never enters Lua.
-- @param sep string?: separator, plain text; nil: runs of blanks, as in awk
-- @raise a record that is no string ends the run
-- @usage lb.from({ "a:1", "b:2" }):fields(":"):show()
function Dataset:fields(sep)
  check.text("fields", self._node)
  if sep ~= nil and check.string("fields", "sep", sep) == "" then
    check.misuse("bad argument 'sep' to fields (it must not be empty)")
  end
  return derive(self, "fields", { sep = sep })
end

--- The n-th field of each line, nil where there is none. Never enters Lua.
-- @param n integer: 1 is the first
-- @param sep string?: as for `fields`
-- @raise a record that is no string ends the run
-- @usage lb.text("access.log"):field(7):value_counts():show()
function Dataset:field(n, sep)
  check.text("field", self._node)
  n = check.integer("field", "n", n, 1)
  if sep ~= nil and check.string("field", "sep", sep) == "" then
    check.misuse("bad argument 'sep' to field (it must not be empty)")
  end
  return derive(self, "field", { n = n, sep = sep, columns = 1 })
end

--- The lines in which `string.find` finds a Lua pattern. Never enters Lua.
-- @param pattern string: a Lua pattern; one that is wrong is an error of the call
-- @raise a record that is no string ends the run
-- @usage print(lb.text("access.log"):grep(" 404 "):count())
function Dataset:grep(pattern)
  check.text("grep", self._node)
  check.string("grep", "pattern", pattern)
  local ok, message = pcall(string.find, "", pattern)
  if not ok then check.misuse("bad argument 'pattern' to grep (%s)", tostring(message)) end
  return derive(self, "grep", { pattern = pattern, columns = self._node.columns })
end

--- `string.lower` of each line: ASCII letters only. Never enters Lua.
-- @raise a record that is no string ends the run
-- @usage lb.text("book.txt"):lower():words():value_counts():show(5)
function Dataset:lower()
  check.text("lower", self._node)
  return derive(self, "lower", { columns = self._node.columns })
end

-- All records.

--- The records of this dataset, then those of the others. Columns of rows go by name.
-- @param ... dataset: at least one
-- @raise where one has rows and another has not, or a column is missing
-- @usage lb.range(2):union(lb.range(3), lb.from { "x" }):show()
function Dataset:union(...)
  local inputs = { self._node }
  for i = 1, select("#", ...) do
    local other = select(i, ...)
    dataset.check("union", ("other[%d]"):format(i), other)
    inputs[i + 1] = same_columns(self, "union", other)
  end
  local columns = inputs[1].columns
  for _, input in ipairs(inputs) do
    if input.columns ~= columns then columns = nil end
  end
  if #inputs == 1 then return self end
  return derive(self, "union", { inputs = inputs, columns = columns })
end

--- The records that both have, each once, by partition of a hash.
-- @param other dataset: of rows with the same columns, when these are rows
-- @param options table?: `{partitions = n}`, how many (default 64)
-- @usage lb.range(5):intersection(lb.range(4, 9)):show()
function Dataset:intersection(other, options)
  dataset.check("intersection", "other", other)
  local node = same_columns(self, "intersection", other)
  options = check.options("intersection", options, by_key)
  return derive(self, "intersection", {
    inputs = { self._node, node }, partitions = options.partitions, columns = self._node.columns,
  })
end

--- The records of this dataset that the other has not, by partition of a hash. Records that are there twice stay twice.
-- @param other dataset: of rows with the same columns, when these are rows
-- @param options table?: `{partitions = n}`, how many (default 64)
-- @usage lb.range(5):subtract(lb.range(2, 4)):sort_by():show()
function Dataset:subtract(other, options)
  dataset.check("subtract", "other", other)
  local node = same_columns(self, "subtract", other)
  options = check.options("subtract", options, by_key)
  return derive(self, "subtract", {
    inputs = { self._node, node }, partitions = options.partitions, columns = self._node.columns,
  })
end

--- Each record once, by partition of a hash.
-- @param options table?: `{partitions = n}`, how many (default 64)
-- @usage lb.from({ "b", "a", "b" }):distinct():sort_by():show()
function Dataset:distinct(options)
  options = check.options("distinct", options, by_key)
  return derive(self, "distinct", { partitions = options.partitions, columns = self._node.columns })
end

--- Each record with each of the other dataset, which is kept in memory or on disk meanwhile.
-- @param other dataset: the one that is kept; the smaller of the two
-- @usage lb.range(2):cartesian(lb.from { "a", "b" }):show()
function Dataset:cartesian(other)
  local node = dataset.check("cartesian", "other", other)
  local a, b = self._node.columns, node.columns
  return derive(self, "cartesian", { inputs = { self._node, node }, columns = a and b and a + b })
end

--- The records with their position, from 0, as last column. They are kept, in memory or on disk, until all are counted.
-- @usage lb.from({ "a", "b" }):zip_with_index():show()
function Dataset:zip_with_index()
  local columns = self._node.columns
  return derive(self, "zip_with_index", { columns = columns and columns + 1 })
end

--- A random part of the records, in order; the same one for the same seed and input, whatever the threads.
-- @param fraction number: the probability of each record, from 0 to 1
-- @param seed integer?: (default 0)
-- @usage print(lb.range(1000):sample(0.1, 42):count())
function Dataset:sample(fraction, seed)
  check.number("sample", "fraction", fraction)
  if not (fraction >= 0 and fraction <= 1) then
    check.bad("sample", "fraction", "number from 0 to 1", fraction)
  end
  seed = seed == nil and 0 or check.integer("sample", "seed", seed)
  return derive(self, "sample", { fraction = fraction + 0.0, seed = seed, columns = self._node.columns })
end

--- The first n records; reads little more of the input than it needs.
-- @param n integer: how many, from 0
-- @usage lb.text("book.txt"):limit(3):show()
function Dataset:limit(n)
  n = check.integer("limit", "n", n, 0)
  return derive(self, "limit", { n = n, columns = self._node.columns })
end

--- Spreads the records evenly over n partitions, so that what follows runs on all threads, or `save_*` writes n parts.
-- @param n integer: how many, from 1
-- @usage lb.range(10):repartition(2):show()
function Dataset:repartition(n)
  n = check.integer("repartition", "n", n, 1)
  return derive(self, "repartition", { n = n, columns = self._node.columns })
end

--- Brings the records into at most n partitions; with 1 they keep their order.
-- @param n integer: how many, from 1
-- @usage lb.range(10):coalesce(1):show()
function Dataset:coalesce(n)
  n = check.integer("coalesce", "n", n, 1)
  return derive(self, "coalesce", { n = n, columns = self._node.columns })
end

--- Brings the records into n partitions by f(key, n), an integer that is taken modulo n; without f by the
-- key's hash, and each partition in order of keys. `save_*` to a directory then writes a part for each.
-- @param n integer: how many, from 1
-- @param f function(key, n)? -> integer
-- @param options table?: `on_error` as for `map`
-- @raise f gives no integer
-- @usage lb.range(5):partition_by(2, function(n) return n end):show()
function Dataset:partition_by(n, f, options)
  n = check.integer("partition_by", "n", n, 1)
  check.optional_func("partition_by", "f", f)
  options = check.options("partition_by", options, on_error)
  if options.on_error and not f then check.misuse("partition_by: 'on_error' is about a function, and none is given") end
  return derive(self, "partition_by", { n = n, fn = f, columns = self._node.columns, on_error = options.on_error })
end

--- The lines that a shell command writes when it reads the records as lines; it is run once for each piece of the input. Use
-- `coalesce(1)` before a command that wants to see all records.
-- @param command string: for `sh -c`
-- @raise a command that fails ends the run
-- @usage lb.text("a.txt"):pipe("tr a-z A-Z"):show()
function Dataset:pipe(command)
  check.string("pipe", "command", command)
  return derive(self, "pipe", { command = command, columns = 1 })
end

local sort_options = { desc = "boolean", on_error = "policy" }

--- Sorts by f's result, or by the records themselves, in the order of values. Records with equal keys keep their order. What does
-- not fit in memory is sorted on disk.
-- @param f function(record...)? -> key: a list sorts by several things
-- @param options table?: `{desc = true}` for descending order; `on_error` as for `map`
-- @usage lb.text("a.txt"):sort_by(function(line) return #line end, { desc = true }):show()
function Dataset:sort_by(f, options)
  if type(f) == "table" and options == nil then f, options = nil, f end
  check.optional_func("sort_by", "f", f)
  options = check.options("sort_by", options, sort_options)
  return derive(self, "sort_by", {
    fn = f, descending = options.desc, on_error = options.on_error, columns = self._node.columns,
  })
end

--- Sorts pairs by their keys; pairs with equal keys keep their order.
-- @param options table?: `{desc = true}` for descending order
-- @usage lb.from_pairs({ { "b", 1 }, { "a", 2 } }):sort_by_key():show()
function Dataset:sort_by_key(options)
  check.pairs("sort_by_key", self._node)
  options = check.options("sort_by_key", options, { desc = "boolean" })
  return derive(self, "sort_by_key", { descending = options.desc, columns = self._node.columns })
end

-- Keeping.

--- Keeps the records, in memory or on disk, from the first action that computes them; later actions read them there.
-- @return dataset: this one
-- @usage
-- local words = lb.text("book.txt"):words():cache()
-- print(words:count(), words:distinct():count())
function Dataset:cache()
  if not (self._node.cache and not self._node.cache.off) then
    self._node = {
      op = "cache", label = "cache", inputs = { self._node }, cache = {}, columns = self._node.columns,
      names = self._node.names,
    }
  end
  return self
end

--- Forgets the records that `cache` kept.
-- @return dataset: this one
-- @usage
-- local words = lb.text("book.txt"):words():cache()
-- print(words:count())
-- words:uncache()
function Dataset:uncache()
  local cache = self._node.op == "cache" and self._node.cache
  if cache then
    if cache.store then cache.store:close() end
    cache.store, cache.off = nil, true
    self._node = self._node.inputs[1]
  end
  return self
end

--- Keeps the records on disk until the job has ended well: a job that was killed and is run again with `--resume` goes on from
-- there. The first action that needs them computes and writes them, all of them; it and later ones read them. The order of records stays.
-- What counts as the same: the functions with what they capture, the parameters, the input files' sizes and times. What functions read
-- by themselves, from files or the clock, is not looked at.
-- @param name string: for messages, and to tell it from others
-- @return dataset: this one
-- @usage
-- local counts = lb.text("book.txt"):words():value_counts():checkpoint("counts")
-- print(counts:count(), counts:keys():count())
function Dataset:checkpoint(name)
  if check.string("checkpoint", "name", name) == "" then
    check.misuse("bad argument 'name' to checkpoint (it must not be empty)")
  end
  local node = self._node
  self._node = {
    op = "checkpoint", name = name, label = ("checkpoint %s"):format(name), inputs = { node }, cache = {}, columns = node.columns,
    names = node.names,
  }
  return self
end

-- Methods of other modules, in the order in which they are looked for.
local row_verbs = {
  "select", "where", "with_columns", "rename", "drop", "fill_nil", "drop_nil", "drop_duplicates", "explode", "order_by",
  "group_by", "agg", "pivot", "window",
}
local is_row_verb = {}
for _, name in ipairs(row_verbs) do is_row_verb[name] = true end

-- What a user gets as ds.name: the method, which tells when it was not called with a colon.
local methods_given = {}

-- What is meant by a string where a verb wants a function.
local for_columns = {
  sort_by = "order_by", distinct = "drop_duplicates", value_counts = 'group_by("a"):count()', map = "select or with_columns",
  top = 'order_by(lb.desc "a"):limit(n)', take_ordered = 'order_by("a"):limit(n)', intersection = "join with how = \"semi\"",
}

local function given(name, method)
  local info = debug.getinfo(method, "u")
  local most = not info.isvararg and info.nparams - 1
  methods_given[name] = function(self, ...)
    if not dataset.is(self) then check.misuse("%s is a method: call it with ':', as in ds:%s(...)", name, name) end
    local n = select("#", ...)
    if most and n > most then
      check.misuse("%s takes %s, got %d", name, most == 0 and "no argument" or most == 1 and "one argument"
        or ("at most %d arguments"):format(most), n)
    end
    if for_columns[name] and self._node.names and (type((...)) == "string" or type((select(2, ...))) == "string") then
      check.misuse("%s takes no name of a column; with columns there is %s", name, for_columns[name])
    end
    return method(self, ...)
  end
  return methods_given[name]
end

--- The names of all verbs and actions, sorted.
-- @return list of strings
function dataset.verbs()
  local names = { compat.unpack(row_verbs) }
  for _, methods in ipairs { Dataset, require "luabatch.by_key", (require "luabatch.action") } do
    for name in pairs(methods) do names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

function meta.__index(_, name)
  if methods_given[name] then return methods_given[name] end
  local method = is_row_verb[name] and require("luabatch.row")[name]
    or Dataset[name] or require("luabatch.by_key")[name] or require("luabatch.action")[name]
  if method then return given(name, method) end
  local names = dataset.verbs()
  check.misuse("a dataset has no verb '%s'%s", tostring(name),
    require("luabatch.suggest").hint(tostring(name), names))
end

function meta.__newindex(_, name)
  check.misuse("a dataset is immutable; '%s' cannot be set", tostring(name))
end

function meta.__len()
  check.misuse("a dataset has no length before it is computed; use ds:count()")
end

function meta.__tostring(self)
  return "dataset (" .. self._node.op .. ")"
end

meta.__name = "dataset"

return dataset
