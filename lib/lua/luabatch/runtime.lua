--- Running plans: the settings of this process, and what is told about each run.
-- @module luabatch.runtime
local core = require "luabatch.core"
local attempts = require "luabatch.attempts"
local check = require "luabatch.check"
local compat = require "luabatch.compat"

local runtime = {}

--- Settings, from the command line or the environment; nil: the engine's default. Those of names that options have (options.lua) are to be
-- asked for by runtime.setting.
-- `resume`, `checkpoint-dir`, `job` (what tells the job from others: checkpoint.lua), `note(text)` tells the user something;
-- `stays_interrupted`: after a signal no further run begins, though the script may have caught the error; `threads`, `memory`
-- (bytes), `tmp`, `max-spill`, `signals`, `max-errors` (records that a run may leave out), `record-timeout` (seconds), `max-instructions`;
-- `replay-dir`: where calls that fail are kept; `check`: describe instead of running; `on_plan(action, node, description)` before and
-- `on_run(action, info, node)` after each run that went well, `on_fail(action, info, node, message)` after one
-- that did not, with what is known of it; `on_attempt(action, failure, n)` when attempt n begins;
-- `give_up(status, message)` tells the user and ends the process, when a function of a worker never returns;
-- `profile`: lines of user code are sampled, and info has a trace; `busy(flag)` around the
-- engine's work; `progress(action)` gives a function that is told how far the run is (core.execute), and one that is called at its end.
--
-- A new `memory` holds at once, not from the next run on: what lies between them takes memory, too.
local memory
runtime.settings = setmetatable({}, {
  __index = function(_, name) return name == "memory" and memory or nil end,
  __newindex = function(settings, name, value)
    if name ~= "memory" then return rawset(settings, name, value) end
    memory = value
    core.limit_memory(value or 0)
  end,
})

local units = { [""] = 1, B = 1, K = 1024, M = 1024 ^ 2, G = 1024 ^ 3, T = 1024 ^ 4 }

--- Reads a size such as "2G", "1.5G", "64K", "128MiB" or "1000000".
-- @return bytes, or nil
function runtime.parse_size(text)
  local number, unit = tostring(text):upper():match("^%s*(%d*%.?%d+)%s*([KMGT]?)I?B?%s*$")
  local value = tonumber(number)
  if not value or value <= 0 then return nil end
  return compat.tointeger(math.floor(value * units[unit]))
end

--- Reads a setting from text.
-- @return value, or nil, what was expected, and maybe a hint
function runtime.parse_setting(name, text)
  if name == "threads" then
    local n = compat.tointeger(tonumber(text))
    if n and n >= 1 and n <= 1024 then return n end
    return nil, "a number of threads from 1 to 1024"
  elseif name == "resume" then
    return text ~= "0" and text ~= "false"
  elseif name == "memory" or name == "max-spill" then
    local bytes = runtime.parse_size(text)
    if bytes and bytes < 1024 ^ 2 and tonumber(text) then
      return nil, "a size such as 512M or 2G", ("; did you mean '%sM'?"):format(text)
    end
    if bytes then return bytes end
    return nil, "a size such as 512M or 2G"
  elseif name == "max-errors" then
    local n = compat.tointeger(tonumber(text))
    if n and n >= 0 then return n end
    return nil, "a number of records"
  elseif name == "max-instructions" then
    local n = compat.tointeger(tonumber(text))
    if n and n > 0 then return n end
    return nil, "a number of instructions"
  elseif name == "record-timeout" or name == "max-time" then
    local seconds = tonumber(text)
    if seconds and seconds > 0 and seconds <= 1e9 then return seconds end
    return nil, "a number of seconds"
  end
  return text
end

-- A library user's settings come from the environment too; the program reads it before.
local function setting(name)
  local value = runtime.settings[name]
  if value == nil then
    local variable = "LUABATCH_" .. name:upper():gsub("%-", "_")
    local text = os.getenv(variable)
    if text and text ~= "" then
      local message, hint
      value, message, hint = runtime.parse_setting(name, text)
      if value == nil then
        error(("%s: %s expected, got '%s'%s"):format(variable, message, text, hint or ""), 0)
      end
      runtime.settings[name] = value
    end
  end
  return value
end

runtime.setting = setting

--- Raised under --check instead of running the first plan that an action of a script makes.
runtime.checked = setmetatable({}, { __tostring = function() return "checked" end })

local stdout = io.stdout

-- What the engine's errors say that ask for a new start: a value did not fit the type that a sample had shown.
local RESTART = -2

-- Gives the source of a scan the wider types; columns go by their number among those that are read.
local function widen(failure, scans)
  local restart = failure.restart
  local scan = scans[restart.node]
  for i, kind in pairs(restart.columns) do
    scan.source.types[scan.names[i]] = kind
  end
  require("luabatch.late").add(scan.source, restart.added or {})
end

local WRONG, USAGE, BAD_DATA, RESOURCE = 1, 2, 4, 5
local data_error = { __tostring = function(failure) return failure.message end }

-- The error of a run that would have to start over and cannot.
local function cannot_restart(failure, scans, input)
  local restart = failure.restart
  local scan, list = scans[restart.node], {}
  local function add(name, kind)
    list[#list + 1] = ("%s = %q"):format(name:find("^[%a_][%w_]*$") and name or ("[%q]"):format(name), kind)
  end
  for i, kind in pairs(restart.columns) do add(scan.names[i], kind) end
  for _, pair in ipairs(restart.added or {}) do add(pair[1], pair[2]) end
  table.sort(list)
  local message = ("%s\n  %s cannot be read twice: declare types = { %s }"):format(failure.message,
    input == "-" and "standard input" or input, table.concat(list, ", "))
  return setmetatable({ status = BAD_DATA, message = message }, data_error)
end

-- Reads the whole input of each scan whose types are guessed, for nothing but its types. True: one was widened.
local function retype(description, scans, options)
  for number, node in ipairs(description.nodes) do
    local scan, guessed = scans[number], node.watch_all or #(node.watch or {}) > 0
    for _, inferred in ipairs(node.inferred or {}) do guessed = guessed or inferred end
    if scan and guessed and not attempts.once { nodes = { node } } then
      local copy = {}
      for key, value in pairs(node) do copy[key] = value end
      copy.on_bad = "skip"
      local ok, problem = pcall(core.execute, {
        nodes = { copy, { op = "count", inputs = { 1 }, result = true } },
      }, {
        threads = options.threads, memory = options.memory, tmp = options.tmp, max_spill = options.max_spill, signals = options.signals,
        progress = options.progress,
      })
      if not ok and type(problem) == "table" and problem.status == RESTART and problem.restart then
        widen(problem, { scan })
        return true
      end
    end
  end
  return false
end

-- Whether an error may come from the types that a sample of the input showed: comparing integers with 'x' fails, though some record
-- later in the file would make them strings. Which one the run met first must not decide.
local function widens(failure, description, scans, options)
  if type(failure) ~= "table" or (failure.status ~= 1 and failure.status ~= 4) then return false end
  -- An input that is gone by now is not what the error is about.
  local ok, widened = pcall(retype, description, scans, options)
  if not ok then check.pass_on(widened) end
  return ok and widened
end

-- Whether records of a scan reach a node in the scan's own stage.
local function is_near_scan(description, scans, number)
  if scans[number] then return true end
  local node = description.nodes[number]
  for _, input in ipairs(node.inputs or {}) do
    if not core.is_sink(description.nodes[input].op) and is_near_scan(description, scans, input) then return true end
  end
  return false
end

-- Whether a run has effects that a new start would repeat: records that were printed, or seen by foreach, before the one
-- that did not fit a guessed type. Then the types are made sure of first.
local function has_effects(node, description, sink, scans)
  local last = description.nodes[sink]
  return (node.op == "foreach" or last.op == "write" and last.path == "-") and is_near_scan(description, scans, sink)
end

-- Whether a file is an output, or lies in a folder that is replaced.
local function is_lost_in(file, output)
  if output.path == "-" then return false end
  local real, path = core.real_path(file), core.real_path(output.path)
  return real == path or output.path:sub(-1) == "/" and output.mode == "overwrite" and real:sub(1, #path + 1) == path .. "/"
end

-- Refuses a file of records left out that would go when an output takes its place.
local function check_kept(description, label, option, to)
  for _, other in ipairs(description.nodes) do
    if other.op == "write" and is_lost_in(to, other) then
      error(("%s: %s = { to = %q } and the output %s would replace each other"):format(label, option, to, other.path), 0)
    end
  end
end

-- A file of bad records must not take the place of what is read, nor go when the output takes its own.
local function check_bad_records(description)
  for _, node in ipairs(description.nodes) do
    local option = node.on_bad and "on_bad" or "on_error"
    local to = type(node[option]) == "table" and node[option].to
    if to then check_kept(description, node.label, option, to) end
    local id = to and core.output_exists(to) and core.expand_paths(to)[1].id
    for _, other in ipairs(id and description.nodes or {}) do
      for _, file in ipairs(other.paths and core.expand_paths(other.paths) or {}) do
        if file.id == id then
          error(("%s: %s = { to = %q } would replace %s, which is read"):format(node.label, option, to,
            file.path == to and "it" or file.path), 0)
        end
      end
    end
  end
end

-- Whether a graph has a checkpoint that is not settled.
local function has_checkpoint(root)
  local seen = {}
  local function visit(node)
    if seen[node] or node.cache and node.cache.store then return false end
    seen[node] = true
    if node.op == "checkpoint" then return true end
    for _, input in ipairs(node.inputs or {}) do
      if visit(input) then return true end
    end
    return false
  end
  return visit(root)
end

-- Sends the records that a checkpoint's run leaves out to where they wait for the run that uses it.
local function redirect_rejects(description, redirect)
  for _, node in ipairs(description.nodes) do
    for _, name in ipairs { "on_bad", "on_error" } do
      if type(node[name]) == "table" then node[name] = { to = redirect(node[name].to) } end
    end
  end
end

-- Files of records that checkpoints below left out: they stand first in the files for them.
local function rejects_below(node, redirect)
  local list = {}
  for i, reject in ipairs(require("luabatch.checkpoint").rejects(node)) do
    list[i] = { redirect and redirect(reject.to) or reject.to, reject.file }
  end
  return list
end

-- Keeps the call that failed, and says so in the message; if too many were left out, the first of those.
local function add_replay(failure, info)
  local settings = runtime.settings
  local replay = require "luabatch.replay"
  local path, problem
  if info.call then
    path, problem = replay.write(setting("replay-dir"), info, failure.message, settings)
  elseif failure.message:find("--max-errors allows", 1, true) then
    path, problem = replay.write_skipped(setting("replay-dir"), info.skips or {}, 1, settings)
  end
  if not path and not problem then return end
  failure.message = ("%s\n  %s"):format(failure.message,
    path and "replay with: luabatch --replay " .. path or "no call to replay: " .. tostring(problem))
end

-- Whether a run that ended with a status was stopped by SIGINT, SIGTERM or SIGHUP.
local function is_signal(status) return status == 130 or status == 143 or status == 129 end

-- A run that left out too many: whoever is to mend them needs the list. The records that were seen are written where all would have been.
-- `moved`: where those of a checkpoint's run go in the end. A signal that comes meanwhile ends the job, and what had failed is told.
local function write_rejects(failure, shared, options, moved)
  local give_up = options.give_up
  options.give_up = give_up and function(status, message)
    give_up(status, failure.message .. "\n  not written: " .. message)
  end
  local ok, written, stopped = pcall(shared.write_rejects, shared, options, moved)
  if not ok and type(written) == "table" and is_signal(written.status) then stopped = written.status end
  failure.status = stopped or failure.status
  local lines = {}
  for i, path in ipairs(ok and written or {}) do lines[i] = "\n  written to " .. core.printable(path) end
  if not ok then lines[1] = "\n  not written: " .. (type(written) == "table" and written.message or tostring(written)) end
  failure.message = failure.message .. table.concat(lines)
end

-- Keeps the calls that were left out, the first of each place; what cannot be kept is told and no more.
local function keep_skipped(info, is_silent)
  local settings = runtime.settings
  if not setting("replay-dir") then return end
  if not is_silent then
    local skips = require "luabatch.skips"
    local _, problem = require("luabatch.replay").write_skipped(setting("replay-dir"), info.skips or {}, skips.MOST_PLACES, settings)
    if problem and settings.note then settings.note("no call to replay: " .. problem) end
  end
  for _, skip in ipairs(info.skips or {}) do skip.call, skip.call_is_cut = nil, nil end
end

-- After a signal a script that catches the error may clean up, but not go on for ever with what it tries again and again.
local function refuse_interrupted()
  local failure, give_up = runtime.interrupted, runtime.settings.give_up
  if runtime.has_refused and give_up then give_up(failure.status, failure.message) end
  runtime.has_refused = true
  error(failure, 0)
end

--- Frees what the script has dropped when little memory is left: C's blocks count, too, and do not set off Lua's collector.
function runtime.make_room()
  if core.memory_is_short(math.floor((setting "memory" or 0) / 4)) then collectgarbage() end
end

--- What is told when the script's own Lua has no memory left: Lua says only "not enough memory".
function runtime.script_memory()
  return ("out of memory: the script's own Lua values hold %.1f MB and need more (see --memory; iterate and saving need no list)")
    :format(collectgarbage "count" / 1024)
end

-- What a function may execute for one record. The program has refused it where it cannot be.
local function max_instructions()
  local most = setting "max-instructions"
  if most and rawget(_G, "jit") then
    error("LUABATCH_MAX_INSTRUCTIONS needs Lua 5.4: LuaJIT does not count those of compiled code", 0)
  end
  return most
end

-- One attempt of a run, or several: see runtime.run. `shared`: what its attempts share (core.attempts); `number` of this one;
-- `failure` of the one before; `is_silent`: its success is not told; `redirect`: see runtime.run.
local function run(action, node, make_sink, read, shared, number, failure, is_silent, redirect)
  local plan = require "luabatch.plan"
  local settings = runtime.settings
  runtime.make_room()
  require("luabatch.late").sync(node)
  local description, sink, caches, scans = plan.build(node, make_sink, read)
  if failure then
    local input = attempts.once(description)
    if input then error(attempts.refused(failure, input), 0) end
    if settings.on_attempt then settings.on_attempt(action, failure, number) end
  elseif settings.on_plan then
    settings.on_plan(action, node, description)
  end
  if settings.check then error(runtime.checked, 0) end
  if runtime.interrupted then refuse_interrupted() end
  check_bad_records(description)
  local moved, place = {}, redirect
  redirect = place and function(to)
    local path = place(to)
    moved[path] = to
    return path
  end
  local rejects = package.loaded["luabatch.checkpoint"] and rejects_below(node, redirect) or nil
  for _, reject in ipairs(rejects or {}) do check_kept(description, "before the checkpoint", "on_bad or on_error", reject[1]) end
  if redirect then redirect_rejects(description, redirect) end
  -- What the script printed stands before what the engine writes.
  stdout:flush()
  shared:begin(number)
  local options = {
    threads = setting("threads"), memory = setting("memory"), tmp = setting("tmp"), signals = settings.signals,
    info = { start = core.clock(), attempts = number }, sample = settings.profile, trace = settings.profile, attempts = shared,
    max_spill = setting("max-spill"), max_errors = setting("max-errors"),
    record_timeout = setting("record-timeout"), max_instructions = max_instructions(), rejects = rejects,
    keep_calls = setting("replay-dir") and true, give_up = settings.give_up,
  }
  local undraw
  if settings.progress then options.progress, undraw = settings.progress(action) end
  local busy = settings.busy or function() end
  busy(true)
  local counted = core.counters()
  local ok, results, info
  local again = number == 1 and has_effects(node, description, sink, scans) and retype(description, scans, options)
  if not again then
    local mismatch = require("luabatch.row_join").mismatch(node)
    if mismatch then
      ok, results = false, setmetatable({ status = WRONG, message = mismatch }, data_error)
    else
      ok, results, info = pcall(core.execute, description, options)
    end
    again = not ok and widens(results, description, scans, options)
  end
  busy(false)
  if undraw then undraw() end
  if not ok then
    if type(results) == "table" and results.status == RESTART and results.restart then
      local input = attempts.once(description)
      if input then error(cannot_restart(results, scans, input), 0) end
      widen(results, scans)
      again = true
    end
    if again then
      attempts.uncount(counted)
      return run(action, node, make_sink, read, shared, number, nil, is_silent, redirect)
    end
    if attempts.is_worth(results) and number < attempts.MOST then
      attempts.uncount(counted)
      attempts.drop_damaged(node)
      return run(action, node, make_sink, read, shared, number + 1, results, is_silent, redirect)
    end
    if type(results) == "table" then write_rejects(results, shared, options, moved) end
    shared:close()
    if setting("replay-dir") and type(results) == "table" then add_replay(results, options.info) end
    keep_skipped(options.info, true)
    local status = type(results) == "table" and results.status
    if settings.stays_interrupted and is_signal(status) then runtime.interrupted = results end
    if settings.on_fail then
      options.info.seconds = core.clock() - options.info.start
      settings.on_fail(action, options.info, node, type(results) == "table" and results.message or tostring(results))
    end
    error(results, 0)
  end
  shared:close()
  for _, kept in ipairs(caches) do
    if not kept.cache.off then kept.cache.store = results[kept.sink].store end
  end
  keep_skipped(info, is_silent)
  info.seconds = core.clock() - info.start
  if settings.on_run and not is_silent then settings.on_run(action, info, node) end
  return results[sink], info
end

-- See runtime.run.
local function run_all(action, node, make_sink, read, redirect)
  if not runtime.settings.check and has_checkpoint(node) then
    require("luabatch.late").sync(node)
    require("luabatch.checkpoint").settle(node)
  end
  local result, info = run(action, node, make_sink, read, core.attempts(), 1, nil, false, redirect)
  if result.store then
    result.store = attempts.kept(result.store, function(failure, number)
      local counted = core.counters()
      attempts.drop_damaged(node)
      local store = run(action, node, make_sink, read, core.attempts(), number, failure, true).store
      attempts.uncount(counted)
      return store
    end)
  end
  return result, info
end

--- Runs a plan whose records end in one sink.
-- @param action name of the action, for messages
-- @param node logical node
-- @param make_sink see plan.build
-- @param read see plan.build
-- @param redirect function(path): where a checkpoint's run puts records that are to go to a path in the end
-- @return result of the sink (`n`, `store`), info
function runtime.run(action, node, make_sink, read, redirect)
  local ok, result, info = pcall(run_all, action, node, make_sink, read, redirect)
  if not ok then
    check.missing(result, node)
    error(result, 0)
  end
  return result, info
end

--- Whether a path for output is free to be written in a mode.
-- @return false when mode is "ignore" and the path exists
function runtime.wanted(path, mode)
  return not (mode == "ignore" and core.output_exists(path))
end

local compressions = { gz = "gzip", zst = "zstd", lz4 = "lz4", bz2 = "bzip2" }

-- A directory has a part for each partition after these,
local partitioned = { repartition = true, coalesce = true, partition_by = true }
-- and after these when their number was asked for (or a partitioner was given).
local shuffles = {
  reduce_by_key = true, combine_by_key = true, value_counts = true, sum_by_key = true, count_groups = true,
  group_by_key = true, groups = true, distinct = true, intersection = true, subtract = true, subtract_by_key = true,
  join = true, cogroup = true,
}
-- These leave each record in its partition.
local narrow = {
  words = true, lower = true, fields = true, field = true, grep = true, sample = true, pipe = true, project = true,
  map = true, flat_map = true, filter = true, map_values = true, flat_map_values = true, map_partitions = true,
  key_by = true, mapper = true, cartesian = true,
}

-- Whether the partitions in which a node's records arrive are ones the user asked for.
local function has_partitions(node)
  while narrow[node.op] or node.op == "cache" and node.cache.off do node = node.inputs[1] end
  return partitioned[node.op] or shuffles[node.op] and (node.partitions or node.partitioner) ~= nil
end

local extensions = { gzip = ".gz", zstd = ".zst", lz4 = ".lz4", bzip2 = ".bz2" }

-- The stream with the folder of each row in front, sorted by it, without the columns that make it; and the names of the others.
local function in_folders(builder, stream, names, keys, verb)
  local columns = require "luabatch.columns"
  local is_key, parts, picks, rest = columns.index(keys), {}, { #names + 1 }, {}
  for i, key in ipairs(keys) do
    if key == "" then check.misuse("%s: partition_by: a folder has no name, since the column has none", verb) end
    parts[i] = ("folder_name(%s, %s)"):format(columns.literal(verb, key), columns.quote(key))
  end
  for i, name in ipairs(names) do
    if not is_key[name] then
      picks[#picks + 1], rest[#rest + 1] = i, name
    end
  end
  local program = columns.sql_shown_as("partition_by " .. table.concat(keys, ", "), verb,
    table.concat(parts, " || '/' || "), names)
  stream = builder:add { op = "compute", inputs = { stream }, exprs = { program }, columns = #names, label = verb }
  stream = builder:add { op = "project", inputs = { stream }, columns = picks }
  local sort = builder:add {
    op = "sort", inputs = { stream }, partitions = 1, by = "none", key = "first", keep_key = true, label = "partition_by",
  }
  return builder:add { op = "scan.sorted", inputs = { sort }, label = "partition_by" }, rest
end

local separators = { csv = ",", tsv = "\t" }

-- Rows are added to a CSV or TSV file whose first line names the same columns. The result: whether the file has that line.
local function has_header(path, format, names, options, compression)
  local file = core.output_exists(path) and core.expand_paths(path)[1]
  if not file or not file.is_regular or file.size == 0 then return false end
  local ok, found = pcall(core.csv_sniff, { path }, {
    sep = separators[format], quote = '"', header = options.header ~= false, null = {}, compression = compression or "none",
  })
  if not ok then
    check.pass_on(found)
    error(("save_%s: cannot append: %s"):format(format, type(found) == "table" and found.message or found), 0)
  end
  if #found.names ~= #names then
    error(("save_%s: cannot append rows of %d columns to %s, which has %d"):format(format, #names, path, #found.names), 0)
  end
  for i, name in ipairs(options.header ~= false and names or {}) do
    if found.names[i] ~= (name == "" and "column" .. i or name) then
      error(("save_%s: cannot append: column %d of %s is '%s', that of the rows '%s'"):format(format, i, path, found.names[i],
        name), 0)
    end
  end
  return true
end

-- What is added to native files must have the same names, or lb.read would not take them together.
local function check_saved_names(path, names, compression)
  -- What cannot be read back here is not compared.
  local ok, files = pcall(core.native_names, { path }, compression or "none")
  local file = ok and files[1]
  if not file or table.concat(file.names or {}, "\0") == table.concat(names or {}, "\0") then return end
  local function shown(list) return list and "rows of " .. table.concat(list, ", ") or "records that are no rows" end
  error(("save: cannot append %s to %s, which has %s"):format(shown(names), path, shown(file.names)), 0)
end

--- Makes the sink that writes records.
-- @param path as for save_text
-- @param format "text", "json", "csv", "tsv", "lua" or "native"
-- @param options mode, compression; for csv and tsv header; partition_by: list of columns; receipt: where to put one (io/output.h)
-- @return function for plan.build
function runtime.write_sink(path, format, options)
  local compression = options.compression or compressions[path:match("%.(%w+)$") or ""]
  local extension = (format == "native" and ".lbb" or format == "text" and ".txt" or "." .. format)
    .. (extensions[compression] or "")
  return function(builder, stream, node)
    local names, keys, header = node.names, options.partition_by, options.header
    -- A sort may stand before the output: what is wrong with its path shows before the run.
    if not runtime.settings.check then core.check_output(path, options.mode, compression) end
    if separators[format] and names and options.mode == "append" and path:sub(-1) ~= "/"
      and has_header(path, format, names, options, compression) then
      header = false
    end
    if format == "native" and options.mode == "append" and core.output_exists(path) then check_saved_names(path, names, compression) end
    if keys then stream, names = in_folders(builder, stream, names, keys, "save_" .. format) end
    return builder:add {
      op = "write", inputs = { stream }, result = true, label = "write " .. path,
      path = path, format = format, mode = options.mode or "error", compression = compression,
      extension = extension, names = (separators[format] or format == "json" or format == "native") and names or nil,
      header = header, folders = keys and true or nil, shown = path == "-" and format ~= "native" and core.is_terminal(1) or nil,
      part_per_morsel = not keys and has_partitions(node) or nil, receipt = options.receipt,
    }
  end
end

--- Writes records. A dataset that stands on checkpoints remembers which of its saves are finished.
-- @param action name of the action, for messages
-- @param node logical node
-- @param path, format, options: as for write_sink
-- @param place as check.place gives it: of the save, for what is wrong with its path
-- @return number of records
function runtime.save(action, node, path, format, options, place)
  local function write(mode, receipt, elsewhere)
    local now = {}
    for name, value in pairs(options) do now[name] = value end
    now.mode, now.receipt = mode, receipt
    local ok, result, info = pcall(runtime.run, action, node, runtime.write_sink(elsewhere or path, format, now))
    if not ok then
      -- An error of the user's own function has a place, whatever it says.
      local message = type(result) == "table" and (result.status == USAGE or result.status == RESOURCE) and result.message
      if place and message and (message:find("^cannot write ") or message:sub(1, #path) == path) then check.add_place(result, place) end
      error(result, 0)
    end
    return result.n, info
  end
  if not has_checkpoint(node) and not package.loaded["luabatch.checkpoint"] then
    return runtime.wanted(path, options.mode) and (write(options.mode)) or 0
  end
  local ok, result = pcall(require("luabatch.checkpoint").save, action, node, path, { format, options }, options.mode, write)
  if not ok then
    check.missing(result, node)
    error(result, 0)
  end
  return result
end

-- What the ends of names promise, and the verb that writes it: none of ours, or another than `save`.
local promised = {
  parquet = "", orc = "", avro = "", feather = "", arrow = "", xlsx = "", xls = "", sqlite = "", duckdb = "",
  csv = "save_csv", tsv = "save_tsv", json = "save_json", jsonl = "save_json", ndjson = "save_json", txt = "save_text",
}

--- Checks that the name of a file for output does not promise another format than it will have.
-- @param format "native", or a text format
function runtime.check_promise(verb, path, format)
  local plain = path:gsub("/$", ""):gsub("%.%w+$", function(last) return compressions[last:sub(2)] and "" or nil end)
  local extension = (plain:match("%.(%w+)$") or ""):lower()
  local writer = promised[extension]
  if writer == "" then
    check.misuse("%s: %s cannot be written; save_csv, save_tsv, save_json and save_text write what others read, save what lb.read does",
      verb, extension)
  elseif writer and format == "native" then
    check.misuse("%s writes luabatch's own format, which lb.read reads (such as %s.lbb); %s writes .%s files", verb,
      plain:sub(1, -#extension - 2), writer, extension)
  end
end

--- Checks that a path can be one for output.
function runtime.check_path(verb, path)
  if check.string(verb, "path", path) == "" then
    check.misuse("bad argument 'path' to %s (it must not be empty)", verb)
  end
  return path
end

return runtime
