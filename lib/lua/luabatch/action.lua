--- Actions: the methods of a dataset that run its plan.
--
-- A record of one column is given as its value, one of several columns as the list of them, a row as a table.
-- @module luabatch.action
local core = require "luabatch.core"
local check = require "luabatch.check"
local columns = require "luabatch.columns"
local builtin = require "luabatch.builtin"
local dataset = require "luabatch.dataset"
local runtime = require "luabatch.runtime"

local action = {}

-- The sink that keeps all records, or the first `limit`.
local function store_sink(limit)
  return function(b, stream)
    return b:add { op = "store", inputs = { stream }, limit = limit, result = true }
  end
end

-- Calls visit(n_columns, value...) for each record of a store.
local function each(store, visit, names)
  local rows = store:rows(names)
  local n = store:count()
  local function pass(...)
    return visit(select("#", ...), ...)
  end
  for _ = 1, n do pass(rows()) end
end

-- A record as one value.
local function record(n, ...)
  if n <= 1 then return (...) end
  return { ... }
end

-- The records that a plan ends with, kept in a store.
local function stored(name, node, limit)
  return runtime.run(name, node, store_sink(limit)).store
end

--- All records, in order, as a list of your script: outside of `--memory`.
-- @return list: values; lists of a pair's or tuple's columns; rows as tables
-- @usage for _, pair in ipairs(lb.from_pairs({ { "a", 1 } }):collect()) do print(pair[1], pair[2]) end
function action:collect()
  return stored("collect", self._node):list(self._node.names)
end

--- The number of records.
-- @return integer
-- @usage print(lb.text("book.txt"):words():count())
function action:count()
  return runtime.run("count", self._node, function(b, stream)
    return b:add { op = "count", inputs = { stream }, result = true }
  end, {}).n
end

-- The first n records as a node.
local function limited(node, n)
  return { op = "limit", n = n, inputs = { node }, columns = node.columns, names = node.names }
end

--- The first n records; reads little more of the input than it needs.
-- @param n integer: how many, from 0
-- @return list: as `collect` gives it, of at most n
-- @usage for _, line in ipairs(lb.text("book.txt"):take(3)) do print(line) end
function action:take(n)
  n = check.integer("take", "n", n, 0)
  return stored("take", limited(self._node, n)):list(self._node.names)
end

--- The first record; reads little more of the input than it needs.
-- @return value: nil when there are no records
-- @usage print(lb.text("book.txt"):first())
function action:first()
  return stored("first", limited(self._node, 1)):list(self._node.names)[1]
end

--- Whether there are no records; reads little more of the input than it needs.
-- @return boolean
-- @usage print(lb.text("book.txt"):grep("whale"):is_empty())
function action:is_empty()
  return stored("is_empty", self._node, 1):count() == 0
end

local function top(self, name, n, f, descending, options)
  n = check.integer(name, "n", n, 0)
  check.optional_func(name, "f", f)
  local on_error = check.options(name, options, { on_error = "policy" }).on_error
  if on_error and not f then check.misuse("%s: 'on_error' is about a function, and none is given", name) end
  local node = {
    op = "top", n = n, fn = f, descending = descending, inputs = { self._node }, label = name,
    columns = self._node.columns, names = self._node.names, on_error = on_error,
  }
  return runtime.run(name, node, "top").store:list(node.names)
end

--- The n greatest records, the greatest first. Of equal ones the first in the input stay.
-- @param n integer: how many, from 0; they are kept in memory
-- @param f function(record...)? -> value: what is compared (default: the record)
-- @param options table?: `on_error` as for `map`
-- @return list
-- @usage lb.from(lb.text("book.txt"):words():value_counts():top(5, function(_, n) return n end)):show()
function action:top(n, f, options) return top(self, "top", n, f, true, options) end

--- The n least records, the least first.
-- @param n integer: how many, from 0; they are kept in memory
-- @param f function(record...)? -> value: what is compared (default: the record)
-- @param options table?: `on_error` as for `map`
-- @return list
-- @usage print(lb.from({ 3, 1, 2 }):take_ordered(1)[1])
function action:take_ordered(n, f, options) return top(self, "take_ordered", n, f, nil, options) end

--- The heaviest keys and how many records each has, the heaviest first, then by key; the counts are exact.
-- @param k integer: how many
-- @param ... string?: for rows: the columns that are the key; of several the key is a list
-- @return list: of `{key, n}`
-- @usage for _, hot in ipairs(lb.csv("sales.csv"):hot_keys(3, "country")) do print(hot[1], hot[2]) end
function action:hot_keys(k, ...)
  k = check.integer("hot_keys", "k", k, 0)
  local node, names = self._node, nil
  if node.names then
    if select("#", ...) == 0 then check.misuse("hot_keys of rows needs the columns that are the key") end
    node = self:group_by(...):count()._node
    names = node.names
    local picks = {}
    for i in ipairs(names) do picks[i] = i end
    node = { op = "project", picks = picks, inputs = { node }, columns = #names, label = "hot_keys" }
  else
    check.pairs("hot_keys", node)
    if select("#", ...) > 0 then check.bad("hot_keys", "column", "nothing for pairs", (...)) end
    node = { op = "count_groups", inputs = { node }, columns = 2, label = "hot_keys" }
  end
  local list = top(dataset.new(node), "hot_keys", k, builtin.by_last, nil)
  if names and #names > 2 then
    for i, hot in ipairs(list) do list[i] = { table.move(hot, 1, #names - 1, 1, {}), hot[#names] } end
  end
  return list
end

-- The states of a fold, in input order.
local function states(self, name, create, step, packed)
  local node = dataset.as_value(self._node)
  local store = runtime.run(name, node, function(b, stream)
    if packed and node.columns ~= 1 then stream = b:add { op = "pack", inputs = { stream } } end
    local fold = b:add {
      op = "lua.fold", inputs = { stream }, label = name, create = core.ship(create, name), step = core.ship(step, name),
    }
    return store_sink()(b, fold)
  end).store
  return store:list(), store:count()
end

-- States brought together, or nil when there are none.
local function merged(list, n, merge)
  local state = list[1]
  for i = 2, n do state = merge(state, list[i]) end
  return state
end

--- All records brought together two by two.
-- @param f function(a, b) -> value: associative
-- @return value: nil when there are no records
-- @raise an error of f ends the run
-- @usage print(lb.range(10):reduce(function(a, b) return a * b end))
function action:reduce(f)
  check.func("reduce", "f", f)
  local list, n = states(self, "reduce", builtin.first, f, true)
  return merged(list, n, f)
end

--- As `reduce`, beginning with zero.
-- @param zero value: what an empty dataset gives
-- @param f function(a, b) -> value: associative
-- @return value
-- @raise an error of f ends the run
-- @usage print(lb.range(10):fold(0, function(a, b) return a + b end))
function action:fold(zero, f)
  check.func("fold", "f", f)
  local list, n = states(self, "fold", builtin.first, f, true)
  if n == 0 then return builtin.copy(zero) end
  return f(builtin.copy(zero), merged(list, n, f))
end

--- Records taken into states, states brought together.
-- @param zero value: state to begin with, for each piece of the input: one that adds nothing
-- @param seq function(state, record...) -> state
-- @param comb function(state, state) -> state
-- @return value: the last state; a copy of zero when there are no records
-- @raise an error of seq or comb ends the run
-- @usage print(lb.text("a.txt"):aggregate(0, function(n, line) return n + #line end, function(a, b) return a + b end))
function action:aggregate(zero, seq, comb)
  check.func("aggregate", "seq", seq)
  check.func("aggregate", "comb", comb)
  local list, n = states(self, "aggregate", builtin.create_from_zero(zero, seq), seq)
  if n == 0 then return builtin.copy(zero) end
  return merged(list, n, comb)
end

--- Calls f for each record, on the workers, in no particular order.
-- @param f function(record...)
-- @param options table?: `{on_error = "skip"}` or `{on_error = {to = path}}` as for `map`
-- @raise an error of f ends the run
-- @usage
-- local long = lb.counter "long lines"
-- lb.text("a.txt"):foreach(function(line) if #line > 10 then long:add(1) end end)
-- print(long:value())
function action:foreach(f, options)
  options = check.options("foreach", options, { on_error = "policy" })
  check.func("foreach", "f", f)
  local node = { op = "foreach", fn = f, label = "foreach", on_error = options.on_error, inputs = { self._node } }
  runtime.run("foreach", node, function(b, stream)
    return b:add { op = "count", inputs = { stream }, result = true }
  end, {})
end

-- Actions on pairs do not take rows.
local function pairs_of(self, name)
  check.no_rows(name, self._node)
  return self._node
end

-- A table from pairs. nil and NaN cannot be keys of a table.
local function table_of(store, name)
  local result = {}
  each(store, function(n, key, ...)
    if key == nil or key ~= key then
      error(("%s: a key is %s, which no Lua table can have; use collect"):format(name, tostring(key)), 0)
    end
    result[key] = record(n - 1, ...)
  end)
  return result
end

local function counts(name, node)
  local counted = { op = "value_counts", inputs = { dataset.as_value(node) }, label = name, columns = 2 }
  return table_of(stored(name, counted), name)
end

--- How often each key occurs, as a table of your script.
-- @return table: from key to integer
-- @raise a key that is nil or NaN, which no Lua table can have
-- @usage print(lb.from_pairs({ { "a", 1 }, { "a", 2 } }):count_by_key().a)
function action:count_by_key()
  check.pairs("count_by_key", self._node)
  local keys = { op = "project", picks = { 1 }, inputs = { pairs_of(self, "count_by_key") }, columns = 1 }
  return counts("count_by_key", keys)
end

--- How often each record occurs, as a table of your script.
-- @return table: from record to integer
-- @raise a record that is nil or NaN, which no Lua table can have as key
-- @usage print(lb.text("book.txt"):words():count_by_value().the)
function action:count_by_value()
  return counts("count_by_value", self._node)
end

--- Pairs as a table of your script; of several values for a key the last one stays.
-- @return table: from key to value
-- @raise a key that is nil or NaN, which no Lua table can have
-- @usage print(lb.from_pairs({ { "a", 1 }, { "b", 2 } }):collect_map().b)
function action:collect_map()
  check.pairs("collect_map", self._node)
  return table_of(stored("collect_map", pairs_of(self, "collect_map")), "collect_map")
end

--- The values of one key, in order.
-- @param key value: equal as keys are: 1 and 1.0 are one
-- @return list
-- @usage print(lb.from_pairs({ { "a", 1 }, { "a", 2 } }):lookup("a")[2])
function action:lookup(key)
  check.pairs("lookup", self._node)
  local node = {
    op = "filter", fn = builtin.key_is(key), label = "lookup", inputs = { pairs_of(self, "lookup") },
    columns = self._node.columns,
  }
  local values, i = {}, 0
  each(stored("lookup", node), function(n, _, ...)
    i = i + 1
    values[i] = record(n - 1, ...)
  end)
  return values
end

local function folded(self, name, fold)
  local list, n = states(self, name, fold.create, fold.step)
  return merged(list, n, fold.merge)
end

-- The aggregate of a column of rows, or nothing when none is named.
local function of_column(self, name, aggregate, column)
  if column == nil then
    if self._node.names then check.misuse('%s: of which column? %s("%s")', name, name, self._node.names[1]) end
    return nil
  end
  check.string(name, "column", column)
  if not self._node.names then check.misuse("%s takes a column of rows, and these are no rows", name) end
  return { self:agg({ value = require("luabatch")[aggregate](column) }):first().value }
end

--- The sum of numbers: an integer when all are, a float otherwise; 0 of none.
-- @param column string?: of rows, the column or SQL expression
-- @return number
-- @raise a record that is no number; an integer sum that does not fit 64 bits
-- @usage print(lb.range(100):sum(), lb.csv("sales.csv"):sum("amount"))
function action:sum(column)
  local value = of_column(self, "sum", "sum", column)
  if value then return value[1] or 0 end
  local state = folded(self, "sum", builtin.sum)
  if not state then return 0 end
  local total, message = builtin.sum_total(state)
  if not total then error(message, 0) end
  return total
end

--- The mean of numbers.
-- @param column string?: of rows, the column or SQL expression
-- @return number: a float; nil of none
-- @raise a record that is no number
-- @usage print(lb.range(100):mean(), lb.csv("sales.csv"):mean("amount"))
function action:mean(column)
  local value = of_column(self, "mean", "avg", column)
  if value then return value[1] end
  local state = folded(self, "mean", builtin.sum)
  return state and builtin.sum_float(state) / state.n
end

--- The least record in the order of values, or the least value of a column.
-- @param column string?: of rows, the column or SQL expression
-- @return value: nil when there are no records
-- @usage print(lb.from({ 3, 1, 2 }):min(), lb.csv("sales.csv"):min("amount"))
function action:min(column)
  if column ~= nil then return of_column(self, "min", "min", column)[1] end
  local state = folded(self, "min", builtin.min)
  return state and state[1]
end

--- The greatest record in the order of values, or the greatest value of a column.
-- @param column string?: of rows, the column or SQL expression
-- @return value: nil when there are no records
-- @usage print(lb.from({ 3, 1, 2 }):max(), lb.csv("sales.csv"):max("amount"))
function action:max(column)
  if column ~= nil then return of_column(self, "max", "max", column)[1] end
  local state = folded(self, "max", builtin.max)
  return state and state[1]
end

--- Count, sum, mean, min, max, variance and stddev of numbers (the population's), sample_variance and
-- sample_stddev, in one pass.
-- @return table: of no records only count = 0 and sum = 0
-- @raise a record that is no number; an integer sum that does not fit 64 bits
-- @usage print(lb.range(5):stats().variance)
function action:stats()
  if self._node.names then
    check.misuse('stats takes numbers; of rows there is describe(), or agg { v = lb.avg "%s" }', self._node.names[1])
  end
  local state = folded(self, "stats", builtin.stats)
  if not state then return { count = 0, sum = 0 } end
  local n = state.sum.n
  local total, message = builtin.sum_total(state.sum)
  if not total then error(message, 0) end
  local result = {
    count = n, sum = total, mean = builtin.sum_float(state.sum) / n, min = state.min, max = state.max,
    variance = state.m2 / n, stddev = math.sqrt(state.m2 / n),
  }
  if n > 1 then
    result.sample_variance = state.m2 / (n - 1)
    result.sample_stddev = math.sqrt(state.m2 / (n - 1))
  end
  return result
end

--- Counts numbers by buckets.
-- @param buckets integer|list: a number of buckets of equal width between the least and the greatest number, or a list
--   of ascending edges; the last bucket contains its upper edge
-- @return list: edges, and a second list of counts, one less
-- @raise a record that is no number
-- @usage
-- local edges, counts = lb.range(100):histogram(10)
-- for i, n in ipairs(counts) do print(edges[i], edges[i + 1], n) end
function action:histogram(buckets)
  local edges = buckets
  if type(buckets) == "number" then
    local n = check.integer("histogram", "buckets", buckets, 1)
    local range = folded(self, "histogram", builtin.bounds)
    if not range then return {}, {} end
    local low, high = range.min, range.max
    -- As floats: the distance of two integers may not fit one.
    local width = (high + 0.0) - (low + 0.0)
    if width - width ~= 0 then
      error(("histogram: numbers from %s to %s have no buckets of equal width; give their edges"):format(low, high), 0)
    end
    if low == high then
      edges = { low, high }
    else
      edges = { low }
      for i = 1, n - 1 do edges[i + 1] = low + width * i / n end
      edges[n + 1] = high
    end
  elseif type(buckets) ~= "table" or #buckets < 2 then
    check.bad("histogram", "buckets", "number or list of at least two edges", buckets)
  else
    for i, edge in ipairs(buckets) do
      if type(edge) ~= "number" or i > 1 and not (edge > buckets[i - 1]) then
        check.misuse("bad argument 'buckets' to histogram (ascending numbers expected)")
      end
    end
  end
  local result = folded(self, "histogram", builtin.histogram(edges))
  if not result then
    result = {}
    for i = 1, #edges - 1 do result[i] = 0 end
  end
  return edges, result
end

--- An iterator over the records that does not hold them in memory.
-- @return function: for a `for` loop; it gives the columns of a record, or a row as a table
-- @raise a record whose first value is nil
-- @usage for key, value in lb.from_pairs({ { "a", 1 } }):iterate() do print(key, value) end
function action:iterate()
  local store = stored("iterate", self._node)
  local rows, left = store:rows(self._node.names), store:count()
  local function pass(first, ...)
    if first == nil then
      error("iterate: the first value of a record is nil, which would end the loop; use collect", 0)
    end
    return first, ...
  end
  return function()
    if left == 0 then return nil end
    left = left - 1
    return pass(rows())
  end
end

--- Prints the first records as a table; on a terminal with the columns' types and as wide as its window.
-- @param n integer?: how many (default 20)
-- @usage lb.csv("sales.csv"):show(5)
function action:show(n)
  n = n == nil and 20 or check.integer("show", "n", n, 0)
  local display, width = require "luabatch.display", core.terminal_size()
  if width then
    print(display.first_rows(self, n, { width = width, color = display.has_color() }))
    return
  end
  local rows, i = {}, 0
  each(stored("show", limited(self._node, n + 1)), function(count, ...)
    i = i + 1
    rows[i] = { n = count, ... }
  end)
  local more = i > n
  if more then rows[i] = nil end
  print(display.grid(rows, more, self._node.names))
end

--- The columns of rows and their types: "boolean", "integer", "float", "string", or "any" where it is not known before the
-- rows are computed.
-- @return list: of `{name = ..., type = ...}`
-- @raise the records are no rows
-- @usage for _, column in ipairs(lb.csv("sales.csv"):schema()) do print(column.name, column.type) end
function action:schema()
  local node = require("luabatch.row").node(self, "schema")
  local types, list = columns.types(node), {}
  for i, name in ipairs(node.names) do list[i] = { name = name, type = types[name] or "any" } end
  return list
end

--- Prints the columns of rows and their types.
-- @raise the records are no rows
-- @usage lb.csv("sales.csv"):print_schema()
function action:print_schema()
  local rows = {}
  for i, column in ipairs(self:schema()) do rows[i] = { n = 2, column.name, column.type } end
  print(require("luabatch.display").grid(rows, false, { "column", "type" }))
end

--- What is in the columns of rows: for each a row of its type, the number of values and of nils, the least and the greatest
-- value, and the mean of numbers. Runs at once.
-- @return dataset: of rows: column, type, count, nulls, min, max, mean
-- @raise the records are no rows
-- @usage lb.csv("sales.csv"):describe():show()
function action:describe()
  local lb = require "luabatch"
  local aggregates, schema = { n = lb.count() }, self:schema()
  for i, column in ipairs(schema) do
    local name = column.name
    aggregates["count" .. i], aggregates["min" .. i], aggregates["max" .. i] = lb.count(name), lb.min(name), lb.max(name)
    if column.type == "integer" or column.type == "float" then aggregates["mean" .. i] = lb.avg(name) end
  end
  local result, list = self:agg(aggregates):first(), {}
  local fields = { "column", "type", "count", "nulls", "min", "max", "mean" }
  for i, column in ipairs(schema) do
    local count = result["count" .. i]
    list[i] = {
      column = column.name, type = column.type, count = count, nulls = result.n - count, min = result["min" .. i],
      max = result["max" .. i], mean = result["mean" .. i],
    }
  end
  local records = {}
  for i, one in ipairs(list) do records[i] = { one } end
  return dataset.new {
    op = "unpack", label = "describe", inputs = { { op = "list", rows = records, columns = 1 } }, names = fields, columns = #fields,
  }
end

--- Draws the dataset in the terminal, or into an SVG file. Points and bins are counted by the engine: the data may be of any size.
-- @param kind string: "hist" (how the values of a column are spread), "bar" (a label and a number in each record), "line" or
--   "scatter" (x and y; times may be ISO 8601 text)
-- @param ... string|table?: names of columns (none for values and pairs), then maybe options: `bins`, `limit` of bars, `width`, `height`
--   (characters; pixels of an SVG), `title`, `out` (path of an SVG file)
-- @raise a column that is not there, another number of columns than the kind wants
-- @usage lb.csv("sales.csv"):plot("hist", "amount", { bins = 10 })
function action:plot(kind, ...)
  local text = require("luabatch.plot").draw(self, kind, ...)
  if text then print(text) end
end

-- Runs the dataset as it is, drops its records, and prints what that took.
local function analyze(self)
  local settings = runtime.settings
  local profile = settings.profile
  settings.profile = true
  local ok, result, info = pcall(runtime.run, "analyze", self._node, function(b, stream)
    return b:add { op = "count", inputs = { stream }, result = true, label = "drop" }
  end)
  settings.profile = profile
  if not ok then error(result, 0) end
  print((require("luabatch.stats").tree("analyze", info.seconds, info, { width = core.terminal_size() }):gsub("\n$", "")))
end

local modes = { logical = true, optimised = true, optimized = true, stages = true, all = true, analyze = true }

--- Prints how the dataset is computed; runs nothing, but for "analyze".
-- @param mode string?: "logical" (as written), "optimised" (after the rules), "stages" (as the engine runs it),
--   "all" (default), or "analyze": runs it, drops its records, and prints the stages with what each operator took
-- @usage lb.csv("sales.csv"):where("amount > 10"):select("item"):explain("optimised")
function action:explain(mode)
  mode = mode == nil and "all" or check.string("explain", "mode", mode)
  if not modes[mode] then
    check.misuse("bad argument 'mode' to explain ('logical', 'optimised', 'stages', 'all' or 'analyze' expected)")
  end
  if mode == "analyze" then
    analyze(self)
  else
    print(require("luabatch.display").plan(self._node, mode))
  end
end

for name, method in pairs(require "luabatch.save") do action[name] = method end

return action
