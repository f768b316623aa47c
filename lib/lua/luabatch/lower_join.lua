--- Lowering of joins of rows.
--
-- A hash join is planned with both its ways (ops/join_build.h): the one for a build side that fits the memory, where the other side
-- streams past a table, and the one by disk. Which of them runs the sink join_build says when it has seen the build side; the
-- legs of the other are idle. Both give the same records in the same order.
-- @module luabatch.lower_join
local compat = require "luabatch.compat"
local core = require "luabatch.core"
local row_join = require "luabatch.row_join"

-- What becomes of probe rows, and of build rows by themselves, when the right or the left side is the one built.
local plans = {
  right = {
    inner = { "inner" }, left = { "outer" }, right = { "inner", "unmatched" }, full = { "outer", "unmatched" },
    semi = { "semi" }, anti = { "anti" },
  },
  left = {
    inner = { "inner" }, left = { "inner", "unmatched" }, right = { "outer" }, full = { "outer", "unmatched" },
    semi = { "none", "matched" }, anti = { "none", "unmatched" },
  },
}

return function(lower, tools)
  -- The stream of a side with its keys: { stream, keys = numbers, column = {name = number}, width }. For `combine` its record
  -- is (key, row).
  local function side(b, node, i)
    local input, key = node.inputs[i], i == 1 and node.left or node.right
    local stream, names = b:stream(input), input.names
    local width, keys = #names
    if type(key) == "function" then
      stream = b:add {
        op = "lua.compute", inputs = { stream }, fns = { core.ship(key, "key of " .. node.label) }, as = { "on" }, names = names,
        label = node.label,
      }
      width, keys = width + 1, { width + 1 }
    else
      keys = tools.numbers(names, key)
    end
    local column = {}
    for j, name in ipairs(names) do column[name] = j end
    if not node.combine then return { stream = stream, keys = keys, column = column, width = width } end
    local packed = { op = "pack_row", names = names, label = node.label }
    if #keys > 0 then
      stream = b:add {
        op = "bundle", inputs = { stream }, keys = keys, columns = tools.range(#names), strict = true, label = "key",
      }
      packed.keep_first, keys = true, { 1 }
    end
    packed.inputs = { stream }
    return { stream = b:add(packed), keys = keys, column = { row = #keys + 1 }, width = #keys + 1 }
  end

  -- A side with no other columns than keys and those that are wanted.
  local function trimmed(b, one, wanted)
    local picks, place = {}, {}
    local function pick(number)
      if not place[number] then
        picks[#picks + 1] = number
        place[number] = #picks
      end
      return place[number]
    end
    local keys, column = {}, {}
    for i, number in ipairs(one.keys) do keys[i] = pick(number) end
    for _, name in ipairs(wanted) do column[name] = pick(one.column[name]) end
    if #picks == 0 then pick(1) end
    return { stream = tools.project(b, one.stream, picks), keys = keys, column = column, width = #picks }
  end

  local function outputs_of(node)
    if not node.combine then return node.outputs end
    local outputs = { { left = "row" }, { right = "row" } }
    if node.how == "semi" or node.how == "anti" then outputs[2] = nil end
    return outputs
  end

  local function wanted_of(outputs, needed, name)
    local list, seen = {}, {}
    for _, out in ipairs(outputs) do
      if out[name] and not seen[out[name]] and (not needed or needed == true or needed[out.name]) then
        seen[out[name]] = true
        list[#list + 1] = out[name]
      end
    end
    return list
  end

  -- Of what the outputs take of a side, the columns, at least one; and the outputs as numbers in this list.
  local function taken(outputs, which)
    local list, place = {}, {}
    for _, out in ipairs(outputs) do
      local number = out[which]
      if number and not place[number] then
        list[#list + 1] = number
        place[number] = #list
      end
    end
    if #list == 0 then list[1] = 1 end
    return list, place
  end

  local function keyed(b, one, columns)
    return b:add {
      op = "bundle", inputs = { one.stream }, keys = one.keys, columns = columns, strict = true, label = "key",
    }
  end

  -- Ordered by the key: both sides sorted together.
  local function merge(b, node, left, right, outputs)
    local one_sided = node.how == "semi" or node.how == "anti"
    local left_stream = keyed(b, left, tools.range(left.width))
    local right_stream = keyed(b, right, tools.range(right.width))
    local widths = { left.width, right.width }
    if one_sided then right_stream, widths[2] = tools.project(b, right_stream, { 1 }), 0 end
    local flat = {}
    for i, out in ipairs(outputs) do
      flat[i] = {
        left = out.left and left.column[out.left], right = not one_sided and out.right and right.column[out.right] or nil,
      }
    end
    return b:add {
      op = "scan.join", inputs = { tools.by_sides(b, node, "first", { left_stream, right_stream }) }, kind = node.how,
      flat = flat, widths = widths, label = node.label, salt = tools.salt_of(node),
    }
  end

  local function hash(b, node, left, right, outputs)
    local built = row_join.build_side(node)
    local probe, build = left, right
    if built == "left" then probe, build = right, left end
    local kind, rest = compat.unpack(plans[built][node.how])
    local columns = {}
    for i, out in ipairs(outputs) do
      local of = { left = left.column[out.left or false], right = right.column[out.right or false] }
      if node.how == "semi" or node.how == "anti" then of.right = nil end
      columns[i] = { probe = of[built == "left" and "right" or "left"], build = of[built] }
      -- The left row's key, which every record has.
      if built == "left" and of.left and (node.how == "inner" or node.how == "left") then columns[i].probe = nil end
    end
    -- The way by disk, where a column that nobody wants is not written.
    local probe_columns, probe_place = taken(columns, "probe")
    local build_columns, build_place = taken(columns, "build")
    local stored_outputs = {}
    for i, out in ipairs(columns) do
      stored_outputs[i] = { probe = out.probe and probe_place[out.probe], build = out.build and build_place[out.build] }
    end
    local sink = b:add {
      op = "join_build", inputs = { build.stream }, keys = build.keys, columns = build.width, rest = rest, label = node.label,
      spill = node.strategy == "hash" or nil, stored = build_columns, partitions = node.partitions or tools.PARTITIONS,
      pieces = node.salt ~= false or nil,
    }
    local function when(overflowed, stream)
      return b:add { op = "when", inputs = { stream }, sink = sink, overflowed = overflowed }
    end
    local streams = {}
    if node.strategy ~= "hash" then
      b:add {
        op = "count", label = "index of " .. node.label, inputs = {
          when(false, b:add { op = "scan.join_hash", inputs = { sink }, label = node.label }),
          when(false, b:add { op = "scan.join_insert", inputs = { sink }, label = node.label }),
        },
      }
      streams[1] = when(false, b:add {
        op = "hash_join", inputs = { probe.stream, sink }, keys = probe.keys, kind = kind, outputs = columns, label = node.label,
      })
      if rest then
        streams[2] = when(false, b:add {
          op = "scan.join_rest", inputs = { sink }, outputs = columns, label = node.label,
        })
      end
    end
    local met = b:add {
      op = "join_probe", inputs = { when(true, probe.stream) }, reads = { sink }, keys = probe.keys, columns = probe_columns, kind = kind,
      label = node.label,
    }
    local order = b:add {
      op = "join_order", reads = { sink }, label = node.label, inputs = {
        when(true, b:add {
          op = "scan.join_match", inputs = { met, sink }, kind = kind, columns = #build_columns, label = node.label,
          salt = tools.salt_of(node),
        }),
      },
    }
    streams[#streams + 1] = when(true, b:add {
      op = "scan.join_ordered", inputs = { order, sink }, outputs = stored_outputs, columns = #build_columns, label = node.label,
    })
    return b:add { op = "union", inputs = streams }
  end

  function lower.join_rows(b, node)
    local left, right = side(b, node, 1), side(b, node, 2)
    local outputs = outputs_of(node)
    local stream
    if node.how == "cross" then
      local store = b:add { op = "store", inputs = { right.stream }, label = node.label }
      stream = b:add { op = "cartesian", inputs = { left.stream, store }, label = node.label }
    else
      -- With `combine` what is needed later are fields of what it makes.
      local needed = node.strategy ~= "merge" and not node.combine and node.needed
      left = trimmed(b, left, wanted_of(outputs, needed, "left"))
      right = trimmed(b, right, (node.how == "semi" or node.how == "anti") and {} or wanted_of(outputs, needed, "right"))
      stream = (node.strategy == "merge" and merge or hash)(b, node, left, right, outputs)
    end
    if not node.combine then return stream end
    return b:callback("lua.map", stream, node.combine, node.label, node.on_error)
  end
end
