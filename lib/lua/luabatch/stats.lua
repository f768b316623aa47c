--- What a run took, for `--stats`: text for people, or one line of JSON.
--
-- The engine gives `info.stages`, a list with a table for each stage: `seconds`, `morsels`, `rows_in` (records that its sources gave),
-- `rows_out` (records that reached its end), `spilled_bytes` and `operators`, each with `op`, `label`, `rows_in`, `rows_out` and maybe
-- `facts`, what it has to tell (src/core/ops/metrics.h).
-- @module luabatch.stats
local core = require "luabatch.core"

local stats = {}

local KEY_BYTES = 60
local MOST_SPLIT = 20

--- A number of bytes for people.
-- @usage print(require("luabatch.stats").bytes(1536)) --> 1.5 KiB
function stats.bytes(n)
  local units, i = { "B", "KiB", "MiB", "GiB", "TiB" }, 1
  while n >= 1024 and i < #units do n, i = n / 1024, i + 1 end
  return (i == 1 and "%d %s" or "%.1f %s"):format(n, units[i])
end

-- A key, escaped and cut.
local function key_text(key)
  local text = core.format(key, "lua")
  return #text > KEY_BYTES and text:sub(1, KEY_BYTES) .. "..." or text
end

local function shuffle_lines(facts, lines)
  lines[#lines + 1] = ("     %d records of %s in %d partitions of %d to %d (median %d), spilled %s"):format(facts.rows,
    stats.bytes(facts.bytes), facts.partitions, facts.rows_min, facts.rows_max, facts.rows_median,
    stats.bytes(facts.spilled_bytes))
  for _, hot in ipairs(facts.hot) do
    lines[#lines + 1] = ("     hot key %s: about %d records"):format(key_text(hot.key), hot.rows)
  end
end

local function split_lines(split, lines)
  for i, key in ipairs(split) do
    if i > MOST_SPLIT then
      lines[#lines + 1] = ("     ... and %d more keys"):format(#split - MOST_SPLIT)
      break
    end
    lines[#lines + 1] = ("     split key %s: %d records in %d pieces"):format(key_text(key.key), key.rows, key.pieces)
  end
end

local function operator_lines(operator, is_source, is_sink, lines)
  local line = ("  %s%-16s %-28s"):format(is_sink and "=> " or is_source and "" or "| ", operator.op,
    operator.label ~= operator.op and operator.label or "")
  if not is_source then line = line .. (" %12d records in"):format(operator.rows_in) end
  lines[#lines + 1] = line:gsub(" +$", "")
  local facts = operator.facts
  if facts and facts.partitions then shuffle_lines(facts, lines) end
  if facts and facts.split then split_lines(facts.split, lines) end
end

--- What a run took as text.
-- @param action its name
-- @param seconds that it took
-- @param info what core.execute gave beside the results
-- @return string
function stats.text(action, seconds, info)
  local lines = {
    ("%s: %.3f s, peak memory %s, spilled %s"):format(action, seconds, stats.bytes(info.peak_bytes or 0),
      stats.bytes(info.spilled_bytes or 0)),
  }
  for i, stage in ipairs(info.stages or {}) do
    lines[#lines + 1] = ("stage %d: %.3f s, %d morsels, %d records in, %d out"):format(i, stage.seconds, stage.morsels,
      stage.rows_in, stage.rows_out) .. (stage.spilled_bytes > 0 and ", spilled " .. stats.bytes(stage.spilled_bytes) or "")
    for k, operator in ipairs(stage.operators) do
      operator_lines(operator, operator.rows_in == nil, k == #stage.operators, lines)
    end
  end
  local counters, names = core.counters(), {}
  for name in pairs(counters) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    lines[#lines + 1] = ("  counter %s: %s"):format(name, tostring(counters[name]))
  end
  return table.concat(lines, "\n") .. "\n"
end

--- The same as one line of JSON.
function stats.json(action, seconds, info)
  local counters = core.counters()
  local fields = core.format({
    action = action, seconds = seconds, peak_bytes = info.peak_bytes, spilled_bytes = info.spilled_bytes,
    stages = info.stages,
  }, "json")
  -- An empty table would be written as a list.
  return ('{"counters":%s,%s\n'):format(next(counters) and core.format(counters, "json") or "{}", fields:sub(2))
end

return stats
