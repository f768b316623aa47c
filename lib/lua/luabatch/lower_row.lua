--- Lowering of the nodes of rows: names of columns become the engine's numbers.
-- @module luabatch.lower_row
local core = require "luabatch.core"
local aggregates_known = require "luabatch.aggregates"
local columns = require "luabatch.columns"
local compat = require "luabatch.compat"

-- Adds its functions to the table of plan.lua; `tools` are helpers of that module.
return function(lower, tools)
  -- The numbers 1 to n.
  local function range(n)
    local list = {}
    for i = 1, n do list[i] = i end
    return list
  end

  local function numbers(names, list)
    local index, result = columns.index(names), {}
    for i, name in ipairs(list) do result[i] = index[name] end
    return result
  end

  local function project(b, stream, picks)
    return b:add { op = "project", inputs = { stream }, columns = picks }
  end

  -- Sources. Only the columns that a later step reads are read (rules.prune); the others are nil, so that the numbers of
  -- columns stay what they are. A column beyond a batch's last is nil.
  local BEYOND = 250

  -- The columns to read, as numbers among the source's own, and the picks that put them in their places. Those of a declared
  -- type are read in any case: whether a record is bad must not depend on what is done with it.
  local function wanted(node)
    local source = node.source
    local index, picks, read = columns.index(source.names), {}, {}
    for i, name in ipairs(node.names) do
      local is_declared = not source.inferred[name] and source.types[name] ~= "string"
      if not node.needed or node.needed[name] or is_declared then
        read[#read + 1] = index[name]
        picks[i] = #read
      else
        picks[i] = BEYOND
      end
    end
    return read, picks
  end

  local function scan(b, node, description)
    local source = node.source
    local read, picks = wanted(node)
    local types, inferred, labels = {}, {}, {}
    for i, number in ipairs(read) do
      local name = source.names[number]
      types[i], inferred[i], labels[i] = source.types[name], source.inferred[name], name
    end
    local is_whole = #read == #node.names
    if #read == 0 then
      -- Records are there even if no column is read.
      read, types, inferred, labels = { 1 }, { "string" }, { false }, { source.names[1] }
    end
    description.types, description.inferred, description.labels = types, inferred, labels
    description.paths, description.compression = node.paths, node.compression
    description.on_bad, description.label = source.on_bad, node.label
    description.columns = read
    local stream = b:add(description)
    b.scans[stream] = { source = source, names = labels }
    return is_whole and stream or project(b, stream, picks)
  end

  function lower.csv(b, node)
    local source = node.source
    return scan(b, node, {
      op = "scan.csv", sep = source.format.sep, quote = source.format.quote, header = source.format.header,
      null = source.format.null, file_names = source.names,
    })
  end

  function lower.json(b, node)
    local source = node.source
    local _, picks = wanted(node)
    local names, types, inferred, watch = {}, {}, {}, {}
    for i, name in ipairs(node.names) do
      if picks[i] ~= BEYOND then
        local n = #names + 1
        names[n], types[n], inferred[n] = name, source.types[name], source.inferred[name] or false
      end
    end
    -- A function may read what the sample did not show.
    for name in pairs(source.open and type(node.needed) == "table" and node.needed or {}) do
      if not source.types[name] then watch[#watch + 1] = name end
    end
    table.sort(watch)
    local stream = b:add {
      op = "scan.json", paths = node.paths, compression = node.compression, columns = names, types = types, inferred = inferred,
      known = source.names, watch = watch, watch_all = source.open and not node.needed, on_bad = source.on_bad, label = node.label,
    }
    b.scans[stream] = { source = source, names = names }
    return #names == #node.names and stream or project(b, stream, picks)
  end

  function lower.file_columns(b, node)
    local list = {}
    for i, column in ipairs(node.added) do
      list[i] = column.folder and { name = column.name, type = column.type } or { type = column.type }
    end
    return b:add {
      op = "file_columns", inputs = { b:input(node) }, width = #node.inputs[1].names, columns = list, label = node.label,
    }
  end

  -- Values as rows of one column: only the name is new.
  function lower.named(b, node)
    return b:input(node)
  end

  function lower.unpack(b, node)
    return b:add { op = "unpack", inputs = { b:input(node) }, names = node.names, label = node.label }
  end

  function lower.pack_row(b, node)
    return b:add { op = "pack_row", inputs = { b:input(node) }, names = node.inputs[1].names, label = node.label }
  end

  -- Appends columns computed by functions and then by expressions. The result is the stream and the new columns' numbers, by item.
  local function compute(b, stream, names, items, label, on_error)
    local fns, as, programs, number = {}, {}, {}, {}
    local n = #names
    for _, item in ipairs(items) do
      if item.fn then
        fns[#fns + 1], as[#as + 1] = core.ship(item.fn, ("%s of column %s"):format(label, item.name)), item.name
        number[item] = n + #fns
      end
    end
    for _, item in ipairs(items) do
      if item.sql then
        programs[#programs + 1] = item.shown and columns.sql_shown_as(item.shown, label, item.sql, names)
          or columns.sql(label, item.sql, names)
        number[item] = n + #fns + #programs
      end
    end
    if #fns > 0 then
      stream = b:add {
        op = "lua.compute", inputs = { stream }, fns = fns, as = as, names = names, label = label, on_error = on_error,
      }
    end
    if #programs > 0 then
      stream = b:add {
        op = "compute", inputs = { stream }, exprs = programs, columns = n + #fns, names = on_error and names, label = label,
        on_error = on_error,
      }
    end
    return stream, number
  end

  function lower.select(b, node)
    local names = node.inputs[1].names
    local index, picks = columns.index(names), {}
    local items = {}
    for _, item in ipairs(node.items) do
      if not columns.is_idle(node, item, node.needed) then items[#items + 1] = item end
    end
    local stream, number = compute(b, b:input(node), names, items, node.label, node.on_error)
    for i, item in ipairs(node.items) do picks[i] = number[item] or index[item.column] or BEYOND end
    return project(b, stream, picks)
  end

  function lower.where(b, node)
    local program = columns.sql(node.label, node.sql, node.inputs[1].names)
    return b:add {
      op = "where", inputs = { b:input(node) }, expr = program, label = node.label, on_error = node.on_error,
      names = node.on_error and node.inputs[1].names,
    }
  end

  function lower.explode(b, node)
    return b:add {
      op = "explode", inputs = { b:input(node) }, column = columns.index(node.inputs[1].names)[node.column],
      label = node.label,
    }
  end

  -- The keys of an order_by as the engine takes them.
  local function key_columns(names, list)
    local index, keys = columns.index(names), {}
    for i, key in ipairs(list) do keys[i] = { column = index[key.name], desc = key.desc or nil } end
    return keys
  end
  tools.key_columns = key_columns

  function lower.order_by(b, node)
    local keys = key_columns(node.names, node.keys)
    local sort = b:add {
      op = "sort", inputs = { b:input(node) }, partitions = 1, by = "none", key = "columns", keys = keys, keep_key = true,
      label = node.label,
    }
    return b:add { op = "scan.sorted", inputs = { sort }, label = node.label }
  end

  -- The record as (key, all columns).
  local function keyed(b, stream, names, keys, strict)
    return b:add {
      op = "bundle", inputs = { stream }, keys = numbers(names, keys), columns = range(#names), strict = strict,
      label = "key",
    }
  end
  tools.keyed = keyed

  function lower.drop_duplicates(b, node)
    local sink = b:add {
      op = "aggregate", inputs = { keyed(b, b:input(node), node.names, node.keys) }, aggregate = "first",
      partitions = tools.PARTITIONS, label = node.label,
    }
    local picks = range(#node.names)
    for i in ipairs(picks) do picks[i] = i + 1 end
    return project(b, b:add { op = "scan.aggregate", inputs = { sink }, label = node.label }, picks)
  end

  function lower.time_window(b, node)
    local names = node.inputs[1].names
    return b:add {
      op = "time_window", inputs = { b:input(node) }, column = columns.index(names)[node.column], columns = #names,
      size = node.size, every = node.every, offset = node.offset, label = node.label,
    }
  end

  -- Records come by key and time; those without a time are left out.
  function lower.session(b, node)
    local names = node.inputs[1].names
    local time = { name = "time", sql = ("epoch(%s)"):format(columns.quote(node.column)), shown = node.column }
    local stream, number = compute(b, b:input(node), names, { time }, node.label)
    local wide, picks = { compat.unpack(names) }, { number[time], compat.unpack(range(#names)) }
    wide[#wide + 1] = "\1time"
    local is_there = columns.sql(node.label, '"\1time" is not null', wide)
    stream = b:add { op = "where", inputs = { stream }, expr = is_there, label = node.label }
    local is_keyed = #node.keys > 0
    if is_keyed then
      stream = b:add { op = "bundle", inputs = { stream }, keys = numbers(names, node.keys), columns = picks, label = "key" }
    else
      stream = b:add { op = "tag", inputs = { project(b, stream, picks) }, value = 0 }
    end
    local sort = b:add {
      op = "sort", inputs = { stream }, partitions = is_keyed and tools.PARTITIONS or 1, by = "hash", key = "first",
      n_values = 1, keep_key = true, label = node.label,
    }
    stream = b:add { op = "scan.sorted", inputs = { sort }, label = node.label }
    return b:add { op = "session", inputs = { stream }, columns = #names, gap = node.gap, label = node.label }
  end

  -- An aggregate of the user's own: of columns, or of the row.
  local function own_aggregate(aggregate, names, numbers_of, shares_heap)
    local description = {
      fn = "lua", label = aggregate.label or aggregate.name, commutative = aggregate.commutative, shares_heap = shares_heap or nil,
    }
    if #numbers_of > 0 then description.columns = numbers_of else description.names = names end
    for _, name in ipairs { "init", "step", "merge", "finish" } do
      local fn = aggregate[name]
      if fn then description[name] = core.ship(fn, ("%s of aggregate %s"):format(name, description.label)) end
    end
    return description
  end

  -- The stream with the columns that aggregates compute, and their parameters.
  local function bound(b, stream, names, aggregates, label, on_error)
    local items, descriptions = {}, {}
    for _, aggregate in ipairs(aggregates) do
      for k = 1, #aggregate.columns do items[#items + 1] = aggregate.computed[k] end
    end
    local computed, number = compute(b, stream, names, items, label, on_error)
    local index, n_own = columns.index(names), 0
    for i, aggregate in ipairs(aggregates) do
      local numbers_of = {}
      for k, name in ipairs(aggregate.columns) do
        numbers_of[k] = name and index[name] or number[aggregate.computed[k]]
      end
      if aggregate.fn == "lua" then
        descriptions[i] = own_aggregate(aggregate, names, numbers_of, n_own > 0)
        n_own = n_own + 1
      else
        descriptions[i] = {
          fn = aggregate.fn, column = numbers_of[1], column2 = numbers_of[2], p = aggregate.p,
          label = aggregate.label or aggregate.name,
        }
      end
    end
    return computed, descriptions
  end

  -- The stream without the records with a value that an aggregate refuses; without on_error the first of them ends the run. The user's
  -- own refuse none. Without an aggregate that may refuse one it is the same stream, but for the file that on_error may make.
  local function fitting(b, stream, names, aggregates, label, on_error)
    local builtin = {}
    for _, aggregate in ipairs(aggregates) do
      if aggregate.fn ~= "lua" and not aggregates_known.takes_any[aggregate.fn] then
        builtin[#builtin + 1] = { fn = aggregate.fn, column = aggregate.column, column2 = aggregate.column2, label = aggregate.label }
      end
    end
    if #builtin == 0 and type(on_error) ~= "table" then return stream end
    return b:add {
      op = "fit", inputs = { stream }, aggregates = #builtin > 0 and builtin or nil, names = on_error and names, label = label,
      on_error = on_error,
    }
  end

  function lower.group(b, node)
    local names = node.inputs[1].names
    local stream, aggregates = bound(b, b:input(node), names, node.aggregates, node.label, node.on_error)
    if node.on_error and node.on_error ~= "fail" then
      stream = fitting(b, stream, names, aggregates, node.label, node.on_error)
    end
    local sink = tools.salted(b, #node.keys > 0 and node or { label = node.label }, {
      op = "group", inputs = { stream }, keys = numbers(names, node.keys), aggregates = aggregates,
      partitions = #node.keys == 0 and 1 or node.partitions or tools.PARTITIONS, label = node.label,
    })
    return b:add { op = "scan.group", inputs = { sink }, label = node.label }
  end

  function lower.window(b, node)
    return require("luabatch.window").lower(b, node, {
      bound = bound, fitting = fitting, ship = core.ship, PARTITIONS = tools.PARTITIONS, BEYOND = BEYOND,
    })
  end

  tools.range, tools.numbers, tools.project = range, numbers, project
  require "luabatch.lower_join"(lower, tools)
end
