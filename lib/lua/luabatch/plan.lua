--- Plans: from logical nodes to the flat description that the engine runs.
--
-- A logical node is an immutable table: `op`, `inputs` (list of nodes), its own parameters, and `columns`, the number of
-- columns of its records where that is known. `rules.lua` rewrites a graph of them; here each one becomes engine operators (one
-- function of `lower` for each op), whose functions are shipped at that moment.
-- @module luabatch.plan
local core = require "luabatch.core"
local builtin = require "luabatch.builtin"
local rules = require "luabatch.rules"

local plan = {}

-- Partitions of a shuffle. Not taken from the number of threads, for the order of grouped output depends on it.
local PARTITIONS = 64

local Builder = {}
Builder.__index = Builder

-- Adds an engine operator; the result is its number, by which others refer to it.
function Builder:add(node)
  local n = #self.nodes + 1
  self.nodes[n] = node
  return n
end

-- The function as bytes. `label` names it in messages.
local function ship(fn, label)
  return core.ship(fn, label)
end

-- An operator that calls fn for each record of stream; names: of the columns, where records are rows.
function Builder:callback(op, stream, fn, label, on_error, names)
  return self:add {
    op = op, inputs = { stream }, fn = ship(fn, label), label = label, on_error = on_error, names = names,
  }
end

-- The sinks of shared nodes are built once; their stages can be read several times.
function Builder:sink(node, make)
  local n = self.sinks[node]
  if not n then
    n = make()
    self.sinks[node] = n
  end
  return n
end

local lower = {}
local tools = { PARTITIONS = PARTITIONS }

-- The stream (source, transform or union) that gives the records of a logical node.
function Builder:stream(node)
  local cache = node.cache
  if cache and cache.paths then
    return self:add { op = "scan.native", paths = cache.paths, label = node.label }
  elseif cache and cache.store then
    return self:add { op = "scan.store", handle = cache.store }
  end
  return lower[node.op](self, node)
end

function Builder:input(node)
  return self:stream(node.inputs[1])
end

-- Sources.

function lower.text(b, node)
  return b:add {
    op = "scan.text", paths = node.paths, compression = node.compression, mode = node.mode, n = node.n, sep = node.sep,
  }
end

function lower.files(b, node)
  return b:add { op = "scan.files", paths = node.paths, compression = node.compression }
end

function lower.read(b, node)
  return b:add { op = "scan.native", paths = node.paths }
end

function lower.range(b, node)
  return b:add { op = "scan.range", first = node.first, last = node.last, step = node.step }
end

function lower.list(b, node)
  return b:add { op = "scan.list", rows = node.rows }
end

-- One record after the other.

function lower.words(b, node)
  return b:add { op = "words", inputs = { b:input(node) } }
end

lower.lower = function(b, node)
  return b:add { op = "lower", inputs = { b:input(node) } }
end

function lower.fields(b, node)
  return b:add { op = "fields", inputs = { b:input(node) }, sep = node.sep }
end

function lower.field(b, node)
  return b:add { op = "field", inputs = { b:input(node) }, n = node.n, sep = node.sep }
end

function lower.grep(b, node)
  return b:add { op = "grep", inputs = { b:input(node) }, pattern = node.pattern }
end

function lower.sample(b, node)
  return b:add { op = "sample", inputs = { b:input(node) }, fraction = node.fraction, seed = node.seed }
end

function lower.pipe(b, node)
  return b:add { op = "pipe", inputs = { b:input(node) }, command = node.command }
end

function lower.project(b, node)
  return b:add { op = "project", inputs = { b:input(node) }, columns = node.picks }
end

for _, op in ipairs { "map", "flat_map", "filter", "foreach", "map_values", "flat_map_values", "map_partitions" } do
  lower[op] = function(b, node)
    return b:callback("lua." .. op, b:input(node), node.fn, node.label, node.on_error, node.inputs[1].names)
  end
end

function lower.key_by(b, node)
  local names = node.inputs[1].names
  local stream = b:callback("lua.key_by", b:input(node), node.fn, node.label, node.on_error, names)
  if not names then return stream end
  return b:add { op = "pack_row", inputs = { stream }, names = names, keep_first = true, label = node.label }
end

function lower.mapper(b, node)
  return b:add {
    op = "lua.mapper", inputs = { b:input(node) }, label = node.label, on_error = node.on_error,
    fn = ship(node.fn, node.label),
    init = node.init and ship(node.init, node.label .. " (init)"),
    final = node.final and ship(node.final, node.label .. " (final)"),
  }
end

-- Several datasets.

function lower.union(b, node)
  local inputs = {}
  for i, input in ipairs(node.inputs) do inputs[i] = b:stream(input) end
  return b:add { op = "union", inputs = inputs }
end

-- The records of all inputs, each marked with the number of its input from 0, meet by key.
local function by_sides(b, node, key, streams, drops_key)
  local sides = {}
  for i, stream in ipairs(streams) do
    sides[i] = b:add { op = "tag", inputs = { stream }, value = i - 1 }
  end
  return b:add {
    op = "sort", inputs = sides, partitions = node.partitions or PARTITIONS, by = "hash", key = key,
    sides = true, keep_key = not drops_key, label = node.label or node.op, pieces = node.salt ~= false or nil,
  }
end

tools.by_sides = by_sides

-- The option `salt` for the engine: nil for "auto", false, a number, or the function as bytes.
local function salt_of(node)
  if type(node.salt) == "function" then return ship(node.salt, "salt of " .. node.label) end
  return node.salt ~= "auto" and node.salt or nil
end

tools.salt_of = salt_of

-- The first input's records, decided by the second's.
local function set(kind, key, only_keys)
  return function(b, node)
    local left, right = b:stream(node.inputs[1]), b:stream(node.inputs[2])
    if only_keys then right = b:add { op = "project", inputs = { right }, columns = { 1 } } end
    return b:add {
      op = "scan.set", inputs = { by_sides(b, node, key, { left, right }) }, kind = kind, label = node.op,
    }
  end
end

lower.subtract = set("subtract", "record")
lower.intersection = set("intersection", "record")
lower.subtract_by_key = set("subtract", "first", true)

function lower.join(b, node)
  local left, right = b:stream(node.inputs[1]), b:stream(node.inputs[2])
  if node.kind == "semi" or node.kind == "anti" then
    right = b:add { op = "project", inputs = { right }, columns = { 1 } }
  end
  return b:add {
    op = "scan.join", inputs = { by_sides(b, node, "first", { left, right }) }, kind = node.kind, label = node.label,
    salt = salt_of(node),
  }
end

function lower.cogroup(b, node)
  local streams = {}
  for i, input in ipairs(node.inputs) do streams[i] = b:stream(input) end
  return b:add {
    op = "scan.cogroup", inputs = { by_sides(b, node, "first", streams) }, sides = #streams, label = node.label,
  }
end

function lower.cartesian(b, node)
  local left, right = node.inputs[1], node.inputs[2]
  local stream = b:stream(left)
  local store = b:add { op = "store", inputs = { b:stream(right) } }
  return b:add { op = "cartesian", inputs = { stream, store } }
end

-- All records at once.

function lower.limit(b, node)
  local store = b:sink(node, function()
    return b:add { op = "store", inputs = { b:input(node) }, limit = node.n, label = "limit" }
  end)
  return b:add { op = "scan.store", inputs = { store } }
end

function lower.zip_with_index(b, node)
  local store = b:sink(node, function()
    return b:add { op = "store", inputs = { b:input(node) }, label = "zip_with_index" }
  end)
  return b:add { op = "scan.store", inputs = { store }, index = true }
end

-- The run that needs a cached dataset first keeps it in a store; later ones find it there.
function lower.cache(b, node)
  if node.cache.off then return b:input(node) end
  local store = b:sink(node.cache, function()
    local n = b:add { op = "store", inputs = { b:input(node) }, label = "cache", result = true }
    b.caches[#b.caches + 1] = { cache = node.cache, sink = n }
    return n
  end)
  return b:add { op = "scan.store", inputs = { store } }
end

-- A run settles its checkpoints before (checkpoint.lua); here one is only described.
function lower.checkpoint(b, node)
  local store = b:sink(node, function()
    return b:add { op = "store", inputs = { b:input(node) }, label = node.label }
  end)
  return b:add { op = "scan.store", inputs = { store } }
end

local function sorted(b, node, stream, sort)
  sort.op, sort.inputs = "sort", { stream }
  local n = b:add(sort)
  return b:add { op = "scan.sorted", inputs = { n }, label = node.label }
end

function lower.sort_by(b, node)
  if node.fn then
    local names = node.inputs[1].names
    local keyed = b:callback("lua.key_by", b:input(node), node.fn, node.label, node.on_error, names)
    return sorted(b, node, keyed, {
      partitions = 1, by = "none", key = "first", keep_key = false, descending = node.descending,
    })
  end
  return sorted(b, node, b:input(node), {
    partitions = 1, by = "none", keep_key = true, descending = node.descending,
    key = node.inputs[1].columns == 1 and "first" or "record",
  })
end

function lower.sort_by_key(b, node)
  return sorted(b, node, b:input(node), {
    partitions = 1, by = "none", key = "first", keep_key = true, descending = node.descending,
  })
end

function lower.repartition(b, node)
  return sorted(b, node, b:input(node), {
    partitions = node.n, by = "turn", key = "none", keep_key = true,
  })
end

lower.coalesce = lower.repartition

-- Adds the partition number that fn(key, n) gives in front of the record.
local function partition(b, stream, fn, n, label, on_error)
  return b:add { op = "lua.partition", inputs = { stream }, fn = ship(fn, label), n = n, label = label, on_error = on_error }
end

function lower.partition_by(b, node)
  if not node.fn then
    return sorted(b, node, b:input(node), {
      partitions = node.n, by = "hash", key = "first", keep_key = true,
    })
  end
  return sorted(b, node, partition(b, b:input(node), node.fn, node.n, node.label, node.on_error), {
    partitions = node.n, by = "given", key = "none", keep_key = true,
  })
end

-- The stream with the key of `top` in front, or the stream and its keys: fn is a function, "first" (column 1 is the key) or nil (the
-- record is).
local function top_keyed(b, node)
  local stream, columns, names = b:input(node), node.inputs[1].columns, node.inputs[1].names
  if node.keys then return stream, tools.key_columns(names, node.keys) end
  if names and not node.fn then return tools.keyed(b, stream, names, names) end
  if type(node.fn) == "function" then
    return b:callback("lua.key_by", stream, node.fn, node.label, node.on_error, names)
  end
  if columns and (columns == 1 or node.fn == "first") then
    local picks = { 1 }
    for i = 1, columns do picks[i + 1] = i end
    return b:add { op = "project", inputs = { stream }, columns = picks }
  end
  return b:callback("lua.key_by", stream, node.fn == "first" and builtin.first or builtin.record, node.label)
end

--- The sink of `top`.
function plan.top_sink(b, node, result)
  local stream, keys = top_keyed(b, node)
  return b:add {
    op = "top", inputs = { stream }, n = node.n, descending = node.descending or nil, keys = keys, label = node.label,
    result = result,
  }
end

function lower.top(b, node)
  local sink = b:sink(node, function() return plan.top_sink(b, node) end)
  return b:add { op = "scan.store", inputs = { sink } }
end

-- By key.

-- Adds a sink that aggregates. When it is salted the states of a key are merged in pieces first, by a source whose records a
-- second such sink takes (src/core/ops/partials.h).
local function salted(b, node, sink)
  local salt = salt_of(node)
  if not salt or salt == 1 then return b:add(sink) end
  local second = {}
  for name, value in pairs(sink) do second[name] = value end
  sink.pieces = true
  local pieces = b:add {
    op = "scan." .. sink.op, inputs = { b:add(sink) }, partials = true, salt = salt, label = "pieces of " .. node.label,
  }
  second.inputs, second.merges = { pieces }, true
  return b:add(second)
end

tools.salted = salted

-- An aggregate sink over stream and the source that reads it.
local function aggregated(b, node, stream, aggregate)
  aggregate.op, aggregate.inputs = "aggregate", { stream }
  aggregate.partitions = node.partitions or PARTITIONS
  aggregate.label = aggregate.label or node.label
  return b:add { op = "scan.aggregate", inputs = { salted(b, node, aggregate) }, label = node.label }
end

function lower.reduce_by_key(b, node)
  return aggregated(b, node, b:input(node), {
    aggregate = "lua.reduce", fn = ship(node.fn, node.label), kernel = core.kernel_reduce(node.fn),
    on_error = node.on_error,
  })
end

function lower.combine_by_key(b, node)
  return aggregated(b, node, b:input(node), {
    aggregate = "lua.combine_by_key", on_error = node.on_error,
    create = ship(node.create, node.label),
    merge_value = ship(node.merge_value, node.label),
    merge_combiners = ship(node.merge_combiners, node.label),
  })
end

function lower.value_counts(b, node)
  return aggregated(b, node, b:input(node), { aggregate = "count", whole = true })
end

-- What a reducer that adds up from 0 gives: the sum, made a number.
function lower.sum_by_key(b, node)
  local sums = aggregated(b, node, b:input(node), {
    aggregate = "lua.reduce", fn = ship(builtin.add, node.label), kernel = "sum",
  })
  return b:callback("lua.map_values", sums, builtin.from_zero, node.label)
end

function lower.count_groups(b, node)
  return aggregated(b, node, b:input(node), { aggregate = "count" })
end

-- Records of several columns come out of the aggregate as one list. Where the number of columns is not known, a first
-- column of zeros makes every record such a list, so that a record that is itself a list stays one.
function lower.distinct(b, node)
  local stream, columns = b:input(node), node.columns
  if not columns then
    stream = b:add { op = "tag", inputs = { stream }, value = 0 }
  end
  stream = aggregated(b, node, stream, { aggregate = "none", whole = true })
  if columns == 1 then return stream end
  stream = b:add { op = "split_key", inputs = { stream } }
  if columns then return stream end
  return b:callback("lua.map", stream, builtin.rest, node.label)
end

function lower.group_by_key(b, node)
  local sort = b:add {
    op = "sort", inputs = { b:input(node) }, partitions = node.partitions or PARTITIONS, by = "hash",
    key = "first", keep_key = true, label = node.label, pieces = not node.partitions or nil,
  }
  return b:add { op = "scan.groups", inputs = { sort }, label = node.label }
end

-- reduce_groups, and the reducer of a job step.
function lower.groups(b, node)
  local stream, n = b:input(node), node.partitions or PARTITIONS
  if node.combiner then
    stream = b:add {
      op = "lua.combine", inputs = { stream }, label = node.combiner_label, on_error = node.on_error,
      fn = ship(node.combiner, node.combiner_label),
    }
  end
  if node.partitioner then
    stream = partition(b, stream, node.partitioner, n, node.partitioner_label, node.on_error)
  end
  -- Where partitions were asked for, or something is done once for each, they stay whole.
  local whole = node.partitions or node.partitioner or node.init or node.final
  local sort = b:add {
    op = "sort", inputs = { stream }, partitions = n, by = node.partitioner and "given" or "hash",
    key = "first", keep_key = true, values = node.sort_values or nil, label = node.label, pieces = not whole or nil,
  }
  return b:add {
    op = "lua.groups", inputs = { sort }, label = node.label, on_error = node.on_error,
    fn = ship(node.fn, node.label),
    init = node.init and ship(node.init, node.label .. " (init)"),
    final = node.final and ship(node.final, node.label .. " (final)"),
  }
end

require "luabatch.lower_row"(lower, tools)

--- Builds the engine's description of what ends in one sink.
-- @param node the last logical node
-- @param make_sink function(builder, stream, node) that adds the sink and returns its number; when it is the string
--   "top", the node is a `top` node and becomes the sink itself
-- @param read the set of the columns that are read of the last node's rows (nil: all)
-- @return description, number of the sink, list of caches it fills, map from numbers of nodes to sources of rows
function plan.build(node, make_sink, read)
  node = rules.prune(rules.optimise(node), read)
  local b = setmetatable({ nodes = {}, sinks = {}, caches = {}, scans = {} }, Builder)
  core.hold_modules(true)
  local ok, sink = pcall(function()
    if make_sink == "top" and node.op == "top" then return plan.top_sink(b, node, true) end
    return make_sink(b, b:stream(node), node)
  end)
  core.hold_modules(false)
  if not ok then error(sink, 0) end
  return { nodes = b.nodes }, sink, b.caches, b.scans
end

return plan
