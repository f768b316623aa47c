--- What a run took, for `--stats`: text for people, or one line of JSON; and the tree of stages for `explain("analyze")`.
--
-- The engine gives `info` (core.execute): `peak_bytes`, `memory_limit_bytes`, `spilled_bytes`, `threads`, `skipped`, `skips`
-- (skips.lua), `samples` of user code where they were asked for, and `stages`, a list with a table for each stage: `seconds`,
-- `start`, `morsels`,
-- `rows_in` (records that its sources gave), `rows_out` (records that reached its end), `peak_bytes`, `spilled_bytes`, `claim_seconds` and
-- `idle_seconds` (that threads waited for their turn, and for each other at the end) and `operators`, each with `op`, `label`, `leg`,
-- `reads` (stages), `rows_in`, `rows_out`, maybe `bytes`, `idle` (it was not needed), `seconds` and its parts `seconds_c`, `_lua`, maybe
-- `_gc`, `_spill`, `_wait`, added up over threads, `spill_written_bytes`, `spill_read_bytes` and maybe `facts`, what it has to tell
-- (src/core/ops/metrics.h).
-- @module luabatch.stats
local compat = require "luabatch.compat"
local core = require "luabatch.core"

local stats = {}

local KEY_BYTES = 60
local MOST_SPLIT = 20
local MOST_LINES = 10

--- A number of bytes for people.
-- @number n bytes
-- @return string
-- @usage print(require("luabatch.stats").bytes(1536)) --> 1.5 KiB
function stats.bytes(n)
  local units, i = { "B", "KiB", "MiB", "GiB", "TiB" }, 1
  while n >= 1024 and i < #units do n, i = n / 1024, i + 1 end
  return (i == 1 and "%d %s" or "%.1f %s"):format(n, units[i])
end

--- A time for people.
-- @number seconds how long
-- @return string
-- @usage print(require("luabatch.stats").time(0.0125)) --> 12.5 ms
function stats.time(seconds)
  if seconds >= 100 then return ("%.0f s"):format(seconds) end
  if seconds >= 1 then return ("%.2f s"):format(seconds) end
  if seconds >= 1e-3 then return ("%.1f ms"):format(seconds * 1e3) end
  return seconds > 0 and ("%.0f us"):format(seconds * 1e6) or "0"
end

--- An operator as it is named: its class, and its label where that says more.
-- @tparam table operator of `info.stages`
-- @return string
-- @usage print(require("luabatch.stats").name { op = "lua.map", label = "mapper of step 1" }) --> lua.map (mapper of step 1)
function stats.name(operator)
  if operator.label == operator.op then return operator.op end
  return ("%s (%s)"):format(operator.op, (core.printable(operator.label, 60)))
end

-- A key, escaped and cut.
local function key_text(key)
  local text = core.format(key, "lua")
  return #text > KEY_BYTES and text:sub(1, KEY_BYTES) .. "..." or text
end
stats.key = key_text

--- What an operator has to tell besides rows and times: partitions, hot and split keys.
-- @tparam table operator of `info.stages`
-- @return list of strings
-- @usage print(#require("luabatch.stats").facts {}) --> 0
function stats.facts(operator)
  local facts, lines = operator.facts or {}, {}
  if facts.partitions then
    lines[1] = ("%d records of %s in %d partitions, each of %d to %d (median %d), spilled %s"):format(facts.rows,
      stats.bytes(facts.bytes), facts.partitions, facts.rows_min, facts.rows_max, facts.rows_median,
      stats.bytes(facts.spilled_bytes))
    for _, hot in ipairs(facts.hot) do
      lines[#lines + 1] = ("hot key %s: about %d records"):format(key_text(hot.key), hot.rows)
    end
  end
  for i, key in ipairs(facts.split or {}) do
    if i > MOST_SPLIT then
      lines[#lines + 1] = ("... and %d more keys"):format(#facts.split - MOST_SPLIT)
      break
    end
    lines[#lines + 1] = ("split key %s: %d records in %d pieces"):format(key_text(key.key), key.rows, key.pieces)
  end
  if (operator.spill_written_bytes or 0) + (operator.spill_read_bytes or 0) > 0 then
    lines[#lines + 1] = ("spill files: wrote %s, read %s in %s"):format(stats.bytes(operator.spill_written_bytes),
      stats.bytes(operator.spill_read_bytes), stats.time(operator.seconds_spill))
  end
  return lines
end

--- The time of all operators, added up over threads.
-- @tparam table info what core.execute told
-- @return seconds
-- @usage print(require("luabatch.stats").work { stages = {} }) --> 0
function stats.work(info)
  local sum = 0
  for _, stage in ipairs(info.stages or {}) do
    for _, operator in ipairs(stage.operators) do sum = sum + operator.seconds end
  end
  return sum
end

local PARTS = {
  { "C", "seconds_c" }, { "Lua", "seconds_lua" }, { "GC", "seconds_gc" }, { "spill", "seconds_spill" }, { "wait", "seconds_wait" },
}

-- The parts of an operator's time that are worth a word: "Lua 90 %, GC 7 %, wait 3 %".
local function parts(operator)
  local list, seconds = {}, operator.seconds
  for _, part in ipairs(PARTS) do
    local share = seconds > 0 and (operator[part[2]] or 0) / seconds or 0
    if share >= 0.005 then list[#list + 1] = ("%s %.0f %%"):format(part[1], share * 100) end
  end
  return table.concat(list, ", ")
end
stats.parts = parts

local WIDTH = 80 -- where there is no terminal
local TITLES = { "operator", "in", "out", "bytes", "time", "share", "of it" }
local NARROWEST = 24 -- names are not cut shorter than this, however wide the numbers are

-- A line, broken behind commas where it is wider than a terminal.
local function wrapped(text, width, indent)
  local lines, line = {}, ""
  for piece in (text .. ", "):gmatch("(.-, )") do
    local _, cells = core.printable(line .. piece:sub(1, -3))
    if line ~= "" and cells >= width then lines[#lines + 1], line = line:sub(1, -2), indent .. "  " end
    line = line .. piece
  end
  lines[#lines + 1] = line:sub(1, -3)
  return table.concat(lines, "\n")
end

-- The cells of an operator's line, and `below`: facts.
local function operator_cells(operator, is_sink, work, indent)
  local name = (is_sink and "=> " or operator.rows_in == nil and "" or "| ") .. stats.name(operator)
  local bytes = operator.bytes or operator.facts and operator.facts.bytes
  return {
    indent .. "  " .. name, tostring(operator.rows_in or ""), tostring(operator.rows_out or ""), bytes and stats.bytes(bytes) or "",
    stats.time(operator.seconds), ("%.1f%%"):format(work > 0 and operator.seconds / work * 100 or 0), parts(operator),
    below = stats.facts(operator), indent = indent,
  }
end

local function add_operators(rows, stage, work, indent)
  for k, operator in ipairs(stage.operators) do
    if not operator.idle then rows[#rows + 1] = operator_cells(operator, k == #stage.operators, work, indent) end
  end
end

-- Puts the cells among `rows` below their titles, as wide as they need to be. What an operator's time went to stands in the last
-- column where there is room for it, else in a line of its own.
local function laid_out(rows, width)
  local widths, has_operators = {}, false
  for j = 1, #TITLES do widths[j] = #TITLES[j] end
  widths[1] = 0
  for _, row in ipairs(rows) do
    has_operators = has_operators or type(row) == "table"
    for j = 1, type(row) == "table" and #TITLES or 0 do
      local _, cells = core.printable(row[j])
      widths[j] = math.max(widths[j], cells)
    end
  end
  local numbers = 0
  for j = 2, 6 do numbers = numbers + widths[j] + 2 end
  local is_wide = widths[1] + numbers + 2 + widths[7] <= width
  if not is_wide then widths[1] = math.max(NARROWEST, math.min(widths[1], width - numbers)) end
  local lines = {}
  local function put(row)
    local name, cells = core.printable(row[1], widths[1])
    local line = name .. (" "):rep(widths[1] - cells)
    for j = 2, 6 do line = line .. (" "):rep(widths[j] + 2 - #row[j]) .. row[j] end
    lines[#lines + 1] = (is_wide and line .. "  " .. row[7] or line):gsub(" +$", "")
  end
  if has_operators then put { "  " .. TITLES[1], compat.unpack(TITLES, 2) } end
  for _, row in ipairs(rows) do
    if type(row) == "string" then
      lines[#lines + 1] = wrapped(row, width, row:match("^ *"))
    else
      put(row)
      if not is_wide and row[7] ~= "C 100 %" and row[7] ~= "" then table.insert(row.below, 1, "time: " .. row[7]) end
      for _, line in ipairs(row.below) do lines[#lines + 1] = wrapped(row.indent .. "       " .. line, width, row.indent .. "       ") end
    end
  end
  return lines
end

-- "1 record", "2 records".
local function many(n, what)
  return ("%d %s%s"):format(n, what, n == 1 and "" or "s")
end
stats.many = many

local function stage_line(i, stage)
  if stage.start == 0 then return ("stage %d: did not run"):format(i) end
  local line = ("stage %d: %s, %s, %s in, %d out, peak memory %s"):format(i, stats.time(stage.seconds),
    many(stage.morsels, "morsel"), many(stage.rows_in, "record"), stage.rows_out, stats.bytes(stage.peak_bytes))
  if stage.spilled_bytes > 0 then line = line .. ", spilled " .. stats.bytes(stage.spilled_bytes) end
  local waited = stage.claim_seconds + stage.idle_seconds
  if waited >= 0.0005 then line = line .. ", threads waited " .. stats.time(waited) end
  return line
end

local function summary(action, seconds, info)
  return ("%s: %.3f s, %d thread%s, operators %s, peak memory %s of %s, spilled %s"):format(action, seconds, info.threads or 0,
    info.threads == 1 and "" or "s", stats.time(stats.work(info)), stats.bytes(info.peak_bytes or 0),
    stats.bytes(info.memory_limit_bytes or 0), stats.bytes(info.spilled_bytes or 0))
end

--- The lines of user code that the most samples found, with their shares.
-- @tparam table info what core.execute told
-- @return list of `{ place, share, n }`, the number of all samples
-- @usage print(#require("luabatch.stats").lines {}) --> 0
function stats.lines(info)
  local samples, list = info.samples or { n = 0, lines = {} }, {}
  for i = 1, math.min(MOST_LINES, #samples.lines) do
    local line = samples.lines[i]
    list[i] = { place = ("%s:%d"):format(line.source, line.line), share = line.n / samples.n, n = line.n }
  end
  return list, samples.n
end

--- The names of the counters, sorted, and their values.
-- @return list of names, table of values
-- @usage print(#require("luabatch.stats").counters()) --> 0
function stats.counters()
  local counters, names = core.counters(), {}
  for name in pairs(counters) do names[#names + 1] = name end
  table.sort(names)
  return names, counters
end

-- All lines: the first one, those about stages, and what else there is to tell.
local function all_lines(head, rows, info, options)
  local width = options.width or WIDTH
  local lines = laid_out(rows, width)
  table.insert(lines, 1, wrapped(head, width, ""))
  local sampled, n = stats.lines(info)
  if n > 0 then lines[#lines + 1] = ("user code, of %d samples:"):format(n) end
  for _, line in ipairs(sampled) do
    lines[#lines + 1] = ("  %5.1f%%  %s"):format(line.share * 100, (core.printable(line.place, 100)))
  end
  local names, counters = stats.counters()
  for _, name in ipairs(names) do
    lines[#lines + 1] = ("counter %s: %s"):format(name, tostring(counters[name]))
  end
  if (info.skipped or 0) > 0 and not options.skips_are_told then
    lines[#lines + 1] = require("luabatch.skips").text(info)
  end
  if options.message then lines[#lines + 1] = "failed: " .. core.printable(options.message:match("[^\n]*")) end
  return table.concat(lines, "\n") .. "\n"
end

--- What a run took as text.
-- @string action its name
-- @number seconds that it took
-- @tparam table info what core.execute told
-- @tparam[opt] table options `width` of the terminal (80), `message` of the error with which the run ended, `skips_are_told`: whether
--   the records that were left out have been told of
-- @return string of lines
-- @usage print((require("luabatch.stats").text("count", 1, { stages = {} }):match("^count: 1.000 s"))) --> count: 1.000 s
function stats.text(action, seconds, info, options)
  if info.resumed then return ("%s: resumed, %s\n"):format(action, many(info.records, "record")) end
  local rows, work = {}, stats.work(info)
  for i, stage in ipairs(info.stages or {}) do
    rows[#rows + 1] = stage_line(i, stage)
    add_operators(rows, stage, work, "")
  end
  return all_lines(summary(action, seconds, info), rows, info, options or {})
end

-- The stages that a stage reads, each once.
local function reads(stage)
  local list, seen = {}, {}
  for _, operator in ipairs(stage.operators) do
    for _, number in ipairs(operator.reads) do
      if not seen[number] then list[#list + 1] = number end
      seen[number] = true
    end
  end
  return list
end
stats.reads = reads

--- The stages of a run as a tree: the last one first, those that it reads indented below it.
-- @string action its name
-- @number seconds that it took
-- @tparam table info what core.execute told
-- @tparam[opt] table options as for text
-- @return string of lines
-- @usage print((require("luabatch.stats").tree("count", 1, { stages = {} }):match("^count: 1.000 s"))) --> count: 1.000 s
function stats.tree(action, seconds, info, options)
  local rows, work, shown = {}, stats.work(info), {}
  local function visit(number, depth)
    local indent, stage = ("  "):rep(depth), info.stages[number]
    if shown[number] then
      rows[#rows + 1] = ("%sstage %d: see above"):format(indent, number)
      return
    end
    shown[number] = true
    rows[#rows + 1] = indent .. stage_line(number, stage)
    add_operators(rows, stage, work, indent)
    for _, below in ipairs(reads(stage)) do visit(below, depth + 1) end
  end
  -- A stage that nothing reads stands at the root.
  for number = #(info.stages or {}), 1, -1 do
    if not shown[number] then visit(number, 0) end
  end
  return all_lines(summary(action, seconds, info), rows, info, options or {})
end

--- The same as stats.text as one line of JSON.
-- @string action its name
-- @number seconds that it took
-- @tparam table info what core.execute told
-- @string[opt] message of the error with which it ended
-- @return string, a line
-- @usage print((require("luabatch.stats").json("count", 1, {}):match('"action":"count"'))) --> "action":"count"
function stats.json(action, seconds, info, message)
  local counters = core.counters()
  local fields = core.format({
    action = action, seconds = seconds, peak_bytes = info.peak_bytes, spilled_bytes = info.spilled_bytes, threads = info.threads,
    memory_limit_bytes = info.memory_limit_bytes, skipped = info.skipped, skips = info.skips,
    stages = info.stages, samples = info.samples, error = message, resumed = info.resumed,
  }, "json")
  -- An empty table would be written as a list.
  return ('{"counters":%s,%s\n'):format(next(counters) and core.format(counters, "json") or "{}", fields:sub(2))
end

return stats
