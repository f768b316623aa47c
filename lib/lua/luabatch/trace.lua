--- What workers did when, as trace events that chrome://tracing and Perfetto show.
--
-- FORMAT  { "traceEvents": [...] }: a run is a process; its stages are on track 0, the morsels of worker i on track i, its frames of spill
-- files on track 1000 + i. Times are microseconds since the program's first run. An event that stands for several says for how
-- many ("pieces"): the engine's lists are bounded (src/core/base/trace.h), and so is the sum of them here.
-- @module luabatch.trace
local core = require "luabatch.core"
local whole = require "luabatch.whole"

local trace = {}

local MOST_EVENTS = 100000
local SPILLS = 1000

local function json(text)
  return core.format((core.printable(text, 200)), "json")
end

-- The chains of a stage's legs: "scan.text > map > reduce_by_key".
local function chains(stage)
  local list, sink = {}, stage.operators[#stage.operators]
  for _, operator in ipairs(stage.operators) do
    if operator.leg > 0 then
      list[operator.leg] = (list[operator.leg] and list[operator.leg] .. " > " or "") .. operator.label
    end
  end
  for leg, chain in ipairs(list) do list[leg] = chain .. " > " .. sink.label end
  return list
end

-- The times of a stage's operators, added up.
local function times(stage)
  local out = ""
  for _, part in ipairs { "c", "lua", "gc", "spill", "wait" } do
    local sum
    for _, operator in ipairs(stage.operators) do
      local seconds = operator["seconds_" .. part]
      if seconds then sum = (sum or 0) + seconds end
    end
    if sum then out = out .. (',"seconds_%s":%.6f'):format(part, sum) end
  end
  return out
end

--- Makes a collector of runs.
-- @return table with `add(action, info)`, which takes a run over, and `text()`, which gives the file as a list of strings
-- @usage local t = require("luabatch.trace").new()
-- t.add("count", { start = 0, stages = {} })
-- print(t.text()[1]) --> {"displayTimeUnit":"ms","traceEvents":[
function trace.new()
  local events, n_runs, origin, n_left_out = {}, 0, nil, 0

  local function name(run, track, text)
    local kind = track and "thread_name" or "process_name"
    events[#events + 1] = ('{"ph":"M","pid":%d,"tid":%d,"name":"%s","args":{"name":%s}}'):format(run, track or 0, kind, json(text))
    if track then
      events[#events + 1] = ('{"ph":"M","pid":%d,"tid":%d,"name":"thread_sort_index","args":{"sort_index":%d}}'):format(run, track,
        track > SPILLS and 2 * (track - SPILLS) + 1 or 2 * track)
    end
  end

  local function span(run, track, kind, text, start, stop, args)
    if #events >= MOST_EVENTS then
      n_left_out = n_left_out + 1
      return
    end
    events[#events + 1] = ('{"ph":"X","pid":%d,"tid":%d,"cat":"%s","name":%s,"ts":%.3f,"dur":%.3f,"args":{%s}}'):format(run, track,
      kind, json(text), (start - origin) * 1e6, math.max(0, stop - start) * 1e6, args)
  end

  local function add(action, info)
    n_runs = n_runs + 1
    origin = origin or info.start
    name(n_runs, nil, ("run %d: %s"):format(n_runs, action))
    name(n_runs, 0, "stages")
    local of = {}
    for i, stage in ipairs(info.stages or {}) do
      of[i] = chains(stage)
      if stage.start > 0 then
        span(n_runs, 0, "stage", ("stage %d: %s"):format(i, stage.operators[#stage.operators].label), stage.start,
          stage.start + stage.seconds, ('"morsels":%d,"records":%d,"peak_bytes":%d,"spilled_bytes":%d%s'):format(stage.morsels,
          stage.rows_in, stage.peak_bytes, stage.spilled_bytes, times(stage)))
      end
    end
    for i, worker in ipairs(info.trace or {}) do
      name(n_runs, i, "worker " .. i)
      if #worker.spills > 0 then name(n_runs, SPILLS + i, ("worker %d: spill files"):format(i)) end
      for _, event in ipairs(worker.morsels) do
        span(n_runs, i, "morsel", of[event.stage][event.leg], event.start, event.stop,
          ('"stage":%d,"leg":%d,"records":%d,"pieces":%d'):format(event.stage, event.leg, event.n, event.pieces))
      end
      for _, event in ipairs(worker.spills) do
        span(n_runs, SPILLS + i, "spill", "spill", event.start, event.stop,
          ('"bytes":%d,"pieces":%d'):format(event.n, event.pieces))
      end
    end
  end

  local function text()
    return {
      '{"displayTimeUnit":"ms","traceEvents":[\n', table.concat(events, ",\n"),
      ('\n],"otherData":{"program":"luabatch","runs":%d,"left_out":%d}}\n'):format(n_runs, n_left_out),
    }
  end
  return { add = add, text = text }
end

--- Makes what writes the trace of all runs so far at the end of each.
-- @string path where
-- @return function(action, info) -> true, or nil and a message
-- @usage local write = require("luabatch.trace").writer("/tmp/trace.json")
function trace.writer(path)
  local collected = trace.new()
  return function(action, info)
    collected.add(action, info)
    return whole.write(path, collected.text())
  end
end

return trace
