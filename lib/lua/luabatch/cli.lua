--- The command line: `luabatch [option...] job.lua [arg...]`.
--
-- main.c calls `main` with the arguments and gets the exit status. Results go to standard output, everything else to
-- standard error. Statuses are those of errors (0 success, 1 the job raised, 2 usage, 3 does not
-- compile, 4 data, 5 resources, 129/130/143 interrupted, 141 reader gone).
-- @module luabatch.cli
local compat = require "luabatch.compat"
local core = require "luabatch.core"
local command_line = require "luabatch.options"

local cli = {}

-- Those of the script; in safe mode the library's are others.
local globals = _G

local USAGE = 2
local COMPILE = 3
local RESOURCE = 5
local PIPE = 141
local TERMINATED = 143

-- What the last words of a program that is given up may take.
local FAREWELL_SECONDS = 0.2

local usage = [[
usage: luabatch [option...] job.lua [arg...]
       luabatch [option...] -e CHUNK [arg...]
       luabatch                               (on a terminal) explore data line by line
       luabatch config | completion bash|zsh|fish
]]

local help = usage .. [[

  luabatch wordcount.lua book.txt more/*.gz > counts.tsv
  luabatch -e 'lb.text(arg[1]):words():value_counts():top(5, function(w, n) return n end)' book.txt
  luabatch --icsv -e ':where "price > 4":group_by("item"):agg { n = lb.count() }' sales.csv
  luabatch --icsv --ojson sales.csv > sales.json

Runs a job file. A dataset or a job that it returns is run and its records are printed. What follows it is in
`arg`; for a job, arguments that are not its options are its inputs. `-` as a file is standard input.

%s

Most options have a variable such as LUABATCH_THREADS; options win. A chunk that begins with `:` goes on from `input`.
Exit status: 0 success, 1 error in the job, 2 usage or missing input, 3 the script does not compile, 4 bad input
data, 5 out of memory, disk or descriptors, 129, 130 or 143 interrupted, 141 the reader of the output is gone.
]]

-- An error that ends the program with a status; what core raises looks the same.
local function failure(status, format, ...)
  return setmetatable({ status = status, message = format:format(...) }, {
    __tostring = function(self) return self.message end,
  })
end

-- The status of a file that cannot be opened: what is short or broken is no mistake of the user's.
local function status_of_open(message)
  for _, reason in ipairs { "Cannot allocate memory", "Too many open files", "Input/output error" } do
    if message:find(reason, 1, true) then return RESOURCE end
  end
  return USAGE
end

-- How to tell of arguments that could not be read.
local function errors_format(argv)
  local format = os.getenv("LUABATCH_ERRORS")
  for i, arg in ipairs(argv) do
    if arg == "--" or arg == "-e" then break end
    if arg == "--errors" then format = argv[i + 1] end
    format = arg:match("^%-%-errors=(.*)$") or format
  end
  return format
end

-- Messages.

-- What went wrong as fields: first line, and the lines of detail that the engine adds.
local function error_fields(status, message)
  local fields = { status = status }
  local head, rest = message:match("^([^\n]*)\n?(.*)$")
  -- Further lines of the user's own are indented more than ours.
  while rest:find("^    ") do
    local line, more = rest:match("^    ([^\n]*)\n?(.*)$")
    head, rest = head .. "\n" .. line, more
  end
  fields.message = head
  local before, replay = rest:match("^(.-)\n?  replay with: luabatch %-%-replay ([^\n]*)$")
  if replay then rest, fields.replay = before, replay end
  fields["in"] = rest:match("^%s*in ([^\n]*)") or rest:match("\n%s*in ([^\n]*)")
  fields.record = rest:match("^%s*record ([^\n]*)") or rest:match("\n%s*record ([^\n]*)")
  fields.key = rest:match("^%s*key ([^\n]*)") or rest:match("\n%s*key ([^\n]*)")
  if head:find("--max-errors allows", 1, true) then
    fields.left_out = {}
    for line in rest:gmatch("[^\n]+") do
      local written, problem = line:match("^  written to (.*)$"), line:match("^  not written: (.*)$")
      if written then
        fields.written = fields.written or {}
        table.insert(fields.written, written)
      elseif problem then
        fields.not_written = problem
      else
        table.insert(fields.left_out, (line:match("^%s*(.*)$")))
      end
    end
  end
  fields.traceback = rest:match("stack traceback:%s*(.*)$")
  fields.file, fields.line = head:match("^(.-):(%d+): ")
  fields.line = compat.tointeger(tonumber(fields.line))
  return fields
end

-- Commands in place of a script; a file of that name comes first.
local subcommands = {}

-- What others call the flags that tell about the program.
local flags_meant = {
  help = "luabatch --help", man = "luabatch --help", usage = "luabatch --help", version = "luabatch --version",
}

-- A hint at the file that was meant, when the message tells of one that is not there.
local function file_hint(message)
  local path = message:match("^no such file: (.+)$") or message:match("^[^\n]-: no such file: (.+)$")
    or message:match("^cannot open (.-): No such file")
  if not path then return "" end
  if path:find("^%-") then return "; options stand before the script or the inputs" end
  if flags_meant[path] then return ("; did you mean '%s'?"):format(flags_meant[path]) end
  local directory, name = path:match("^(.*/)([^/]*)$")
  if not directory then directory, name = "", path end
  local names = require("luabatch.terminal").list_directory(directory ~= "" and directory or ".")
  for _, there in ipairs(names) do
    if there == name then return "; it is a symbolic link to nothing" end
  end
  if directory == "" then
    for command in pairs(subcommands) do names[#names + 1] = command end
    table.sort(names)
  end
  local nearest = require("luabatch.suggest").nearest(name, names)
  return nearest and ("; did you mean '%s%s'?"):format(directory, nearest) or ""
end

-- Tells the user something: what comes from data or names must not move the cursor.
local function tell_user(text)
  io.stderr:write("luabatch: " .. require("luabatch.display").safe(text) .. "\n") -- at once: others may write there, too
end

local function report(options, status, message)
  if status == PIPE then return end
  if status == USAGE then message = message .. file_hint(message) end
  if options.safe then message = require("luabatch.safe").explain(message) end
  if options.errors == "json" then
    io.stderr:write(core.format(error_fields(status, message), "json"), "\n")
  else
    -- Lines of detail are indented; one that is not came with a name or a text, and must not look like a message of its own.
    tell_user((message:gsub("\n(%S)", "\n    %1")))
  end
end

-- Frames of this library and of the program say nothing to the user.
local function traceback()
  local lines = {}
  for line in debug.traceback("", 3):gmatch("[^\n]+") do
    if not line:find("%[luabatch%]") and not line:find("stack traceback:", 1, true)
      and not line:find("^%s*%[C%]") and not line:find("^%s*%(%.%.%.tail calls%.%.%.%)$") then
      lines[#lines + 1] = "  " .. line:gsub("\t", "  "):gsub("in local 'chunk'$", "in main chunk")
        :gsub("in upvalue 'command_line_expression'$", "in main chunk")
    end
  end
  return #lines > 0 and "\n  stack traceback:\n" .. table.concat(lines, "\n") or ""
end

-- Lua's own message, wherever it comes from: `load` gives it as if the text were wrong.
local function is_memory(message)
  return type(message) == "string" and message:find("not enough memory", 1, true) ~= nil
end

local function memory_failure()
  return failure(RESOURCE, "%s", require("luabatch.runtime").script_memory())
end

-- Makes any error value a failure. Not called when memory runs out.
local function handler(err)
  if err == require("luabatch.runtime").checked then return err end
  local kind = type(err)
  if (kind == "table" or kind == "userdata") and getmetatable(err) then
    local ok, status = pcall(function() return err.status end)
    if ok and compat.math_type(status) == "integer" and status >= 1 and status <= 255 then return err end
  end
  local message = err
  if kind ~= "string" then
    local ok, text = pcall(core.format, err, "lua")
    message = "the job raised " .. (ok and text or tostring(err))
  end
  if is_memory(message) then return memory_failure() end
  return failure(1, "%s", message .. traceback())
end

local function write_out(text)
  local ok, message, code = io.stdout:write(text)
  if not ok then
    error(failure(code == 32 and PIPE or RESOURCE, "cannot write to standard output: %s", message), 0)
  end
end

-- What comes from data: on a terminal as show() has it.
local function show_out(text)
  write_out(core.is_terminal(1) and require("luabatch.display").safe(text) or text)
end

-- Running.

-- What writes the files of --trace and --report. One that cannot be written is told before anything runs.
local function artifacts(options)
  local writers = {}
  for _, name in ipairs { "trace", "report" } do
    local path = options[name]
    if path then
      local ok, message, status = require("luabatch.whole").check(path)
      if not ok then error(failure(status, "--%s: %s", name, message), 0) end
      writers[#writers + 1] = { write = require("luabatch." .. name).writer(path) }
    end
  end
  return writers
end

-- Settings and hooks of the runtime from the options.
local function configure(options, program)
  local runtime = require "luabatch.runtime"
  local settings = runtime.settings
  for _, name in ipairs {
    "threads", "memory", "tmp", "max-spill", "replay-dir", "max-errors", "record-timeout", "max-instructions", "checkpoint-dir",
  } do
    settings[name] = options[name]
  end
  settings.signals, settings.check, settings.resume = true, options.check, options.resume or false
  if options["replay-dir"] then
    local ok, message, status = require("luabatch.replay").check(options["replay-dir"])
    if not ok then error(failure(status, "--replay-dir: %s", message), 0) end
  end
  if options["max-instructions"] and rawget(_G, "jit") then
    error(failure(USAGE, "--max-instructions needs Lua 5.4: LuaJIT does not count those of compiled code"), 0)
  end
  function settings.note(text)
    if not options.quiet then tell_user(text) end
  end
  settings.stays_interrupted = not options.interactive
  -- A function that never returns, or writes to a pipe that nobody reads, holds its thread. Temporary files go at exit; what was not
  -- finished has no name. With the time after which a run is given up (exec/run.c) it is less than a second from a signal to the end.
  settings.give_up = not options.interactive and function(status, message)
    local is_late = require("luabatch.safe").is_late()
    if is_late then status = 1 end
    if program.end_within then program.end_within(FAREWELL_SECONDS, status) end
    if not is_late then report(options, status, message) end
    os.exit(status)
  end or nil
  settings.busy = program.busy
  settings.progress = require("luabatch.progress").teller(options.progress or "auto", options.quiet)
  settings.profile = (options.stats or options.trace or options.report) and true
  local writers = artifacts(options)
  -- At the end of each run, good or not.
  local function tell(action, info, node, message)
    if info.lacking and settings.profile then
      tell_user(("%s: some of what the run took is not known: %s"):format(action, info.lacking))
    end
    for _, writer in ipairs(writers) do
      local ok, problem = writer.write(action, info, node, message)
      if not ok and not writer.failed then
        tell_user(problem)
        writer.failed, options.has_failed = true, true
      end
    end
    if not options.stats then return end
    local stats = require "luabatch.stats"
    io.stderr:write(options.stats == "json" and stats.json(action, info.seconds, info, message)
      or stats.text(action, info.seconds, info, {
        width = core.terminal_size(2), message = message, skips_are_told = not message and not options.quiet,
      }))
  end
  function settings.on_plan(action, node, description)
    if options.check then
      show_out(("plan of %s\n%s"):format(action, core.describe(description)))
    elseif options.explain then
      local display = require "luabatch.display"
      io.stderr:write("plan of ", action, "\n", display.safe(table.concat({
        display.plan(node, "logical"), display.plan(node, "optimised"), "stages", core.describe(description),
      }, "\n")))
    end
  end
  -- A run of which nothing can be told, since memory is out, has ended as it has; the program has not if a file was to tell it.
  local function telling(f)
    return function(...)
      local ok, problem = pcall(f, ...)
      if not ok then
        options.has_failed = options.has_failed or #writers > 0
        tell_user("what the run took cannot be told: " .. tostring(problem))
      end
    end
  end
  settings.on_fail = telling(tell)
  function settings.on_attempt(action, problem, n)
    if options.quiet then return end
    tell_user(("%s begins again (attempt %d of %d): %s"):format(action, n, require("luabatch.attempts").MOST,
      problem.message:match("^[^\n]*")))
  end
  settings.on_run = telling(function(action, info, node)
    if (info.skipped or 0) > 0 and not options.quiet then
      local skips = require "luabatch.skips"
      if options.errors == "json" then io.stderr:write(skips.json(action, info), "\n") else tell_user(skips.text(info)) end
    end
    tell(action, info, node)
  end)
end

-- Formats by the end of a file's name, and those in which rows go out as they came in.
local formats = { csv = "csv", tsv = "tsv", json = "json", jsonl = "json", ndjson = "json" }
local same_format = { csv = "csv", tsv = "tsv", json = "json" }

-- As many rows of a chunk's dataset are shown on a terminal; elsewhere all are printed.
local SHOWN_ROWS = 40

-- Writes a dataset where the options say.
local function print_dataset(options, ds, action)
  local runtime = require "luabatch.runtime"
  local path = options.output or "-"
  local width = core.terminal_size()
  if width and not options.output and not options["output-format"] and (options.chunk or options.input_format) then
    local display = require "luabatch.display"
    write_out(display.first_rows(ds, SHOWN_ROWS, { width = width, color = display.has_color() }) .. "\n")
    return
  end
  local by_name = path:gsub("%.%a+$", { [".gz"] = "", [".zst"] = "", [".lz4"] = "", [".bz2"] = "" }):match("%.(%a+)$")
  -- Lines with tabs are what other records than rows are anyway.
  if by_name == "tsv" and not ds._node.names then by_name = nil end
  if not options["output-format"] then runtime.check_promise("--output", path, "text") end
  local format = options["output-format"] or formats[by_name or ""] or same_format[options.input_format or ""] or "text"
  runtime.save(action, ds._node, path, format, { mode = options.output and "overwrite" or nil })
end

-- Runs a job over the inputs among its arguments.
local function run_job(options, program, job, args)
  local values, inputs = job:parse(args, function(arg, next_arg)
    if arg == "-h" then
      options.help = true
      return 1
    end
    if arg:sub(1, 2) ~= "--" then return nil, ("unknown option %s"):format(arg) end
    local name = arg:match("^%-%-([^=]+)")
    if not command_line.find(name) then
      local names = command_line.flags()
      for known in pairs(job.options) do names[#names + 1] = "--" .. known end
      return nil, ("unknown option --%s%s"):format(name, require("luabatch.suggest").hint("--" .. name, names))
    end
    return command_line.read_long(options, arg, next_arg, true)
  end)
  if not values then error(failure(USAGE, "%s", inputs), 0) end
  if options.help then
    local lines = job:help()
    write_out(("usage: luabatch [option...] %s [option of the job...] [input...]\n%s"):format(
      arg and arg[0] or "job.lua", lines ~= "" and "\nOptions of the job, with their defaults:\n" .. lines .. "\n" or ""))
    return
  end
  configure(options, program)
  local lb = require "luabatch"
  for name, value in pairs(values) do lb.options[name] = value end
  core.options(lb.options)
  if #inputs == 0 then inputs[1] = "-" end
  core.expand_paths(inputs)
  require("luabatch.runtime").settings.job = { name = arg and arg[0] or "job", what = { arg and arg[0], values, inputs } }
  print_dataset(options, job:dataset(inputs), "job")
end

-- Shows what a chunk returned: records go where the records of a dataset would.
local function show_results(options, results)
  local format = options["output-format"] or "text"
  local display = require "luabatch.display"
  local scalars = results.n > 1
  for i = 1, results.n do scalars = scalars and type(results[i]) ~= "table" and type(results[i]) ~= "userdata" end
  local rows = {}
  local function line(text) rows[#rows + 1] = { text } end
  local write = options.output and line or function(text) show_out(text .. "\n") end
  if scalars then
    write(display.line(results, results.n, format))
  else
    for i = 1, results.n do display.value(results[i], format, write) end
  end
  if not options.output then return end
  -- The lines go the way of a dataset's records: the file appears whole, compressed by its name, or not at all.
  local runtime = require "luabatch.runtime"
  local sink = runtime.write_sink(options.output, format, { mode = "overwrite" })
  runtime.run("output", { op = "list", rows = rows, columns = 1 }, function(b, stream, node)
    local n = sink(b, stream, node)
    b.nodes[n].format = "text"
    return n
  end)
end

-- A table that was meant as a job.
local function is_plain_job(value)
  if type(value) ~= "table" or getmetatable(value) then return false end
  return type(value.mapper) == "function" or type(value.reducer) == "function"
    or type(value.steps) == "table" and is_plain_job(value.steps[1])
end

-- The status that os.exit ends with, as Lua and then the system take its argument. A bad one is blamed on who calls os.exit.
local function status_of_exit(value)
  if value == nil or value == true then return 0 end
  if value == false then return 1 end
  local number = (type(value) == "number" or type(value) == "string") and tonumber(value)
  local integer = number and compat.tointeger(number)
  if not integer then
    error(("bad argument #1 to 'exit' (%s)"):format(number and "number has no integer representation"
      or "number expected, got " .. type(value)), 3)
  end
  return integer % 256
end

-- os.exit() of a script is a good end as the end of the script is, with what that looks at, unless its status says otherwise: then
-- checkpoints are kept.
local function end_well_on_exit(options, program)
  local exit = os.exit
  os.exit = function(value, ...) -- luacheck: ignore 122
    local status = status_of_exit(value)
    if status == 0 then
      local checkpoint = package.loaded["luabatch.checkpoint"]
      if checkpoint then checkpoint.finish() end
      status = options.has_failed and RESOURCE or 0
      if program.final_status then status = program.final_status(status) end
    end
    exit(status, ...)
  end
end

-- Does what the script's results ask for.
local function finish(options, program, results, args)
  local first = results[1]
  -- Nobody has made a dataset or a job without these modules.
  local dataset, job = package.loaded["luabatch.dataset"], package.loaded["luabatch.job"]
  if job and job.is(first) then
    run_job(options, program, first, args)
  elseif dataset and dataset.is(first) then
    print_dataset(options, first, "output")
  elseif is_plain_job(first) then
    error(failure(1, "%s returns a plain table, which is no job; write: return lb.job{...}",
      options.chunk and "the chunk" or arg[0]), 0)
  elseif options.chunk and results.n > 0 then
    show_results(options, results)
  elseif options.output and not options.interactive then
    require("luabatch.runtime").settings.note(("%s returns no dataset and no job: nothing is written to %s"):format(
      options.chunk and "the chunk" or arg[0], options.output))
  end
end

local function load_failure(message, status)
  return is_memory(message) and memory_failure() or failure(status or COMPILE, "%s", message)
end

-- A job that was meant to be locked in must not run free because the word was forgotten, or stood in the wrong place.
local function refuse_late_safe(options, args)
  for _, name in ipairs { "allow-read", "allow-write" } do
    local from = options.from[name]
    if from then
      error(failure(USAGE, "%s goes with --safe; without that a job may read and write what you may",
        from:find("--" .. name, 1, true) and "--" .. name or from), 0)
    end
  end
  for _, arg in ipairs(args) do
    if arg == "--" then return end
    if arg == "--safe" then error(failure(USAGE, "option --safe stands before the script"), 0) end
  end
end

-- Loads the script or the chunk. Gives a function, or nil and a failure.
local function load_script(options, path)
  if not options.chunk and options.input_format then return function() return globals.input end end
  if options.chunk then
    if options.chunk:find("^%s*:") then options.chunk = "input" .. options.chunk end
    -- Without the nil a call would be a tail call, and errors in it would have no position.
    local command_line_expression, unfinished = load("return nil, " .. options.chunk, "=(command line)", "t")
    if command_line_expression then
      return function(...) return select(2, command_line_expression(...)) end
    end
    if is_memory(unfinished) then return nil, memory_failure() end
    local chunk, message = load(options.chunk, "=(command line)", "t")
    -- An expression that only lacks its end was meant as one.
    if not chunk and unfinished:find("<eof>'?$") then message = unfinished end
    if not chunk then return nil, load_failure(message) end
    return chunk
  end
  if path ~= "-" then
    local file, message = io.open(path)
    if not file then return nil, failure(status_of_open(message), "cannot open %s", (core.printable(message))) end
    file:close()
  end
  local chunk, message = loadfile(path ~= "-" and path or nil, options.safe and "t" or nil)
  if not chunk and message:find("^cannot ") then return nil, load_failure(core.printable(message), status_of_open(message)) end
  if not chunk then return nil, load_failure(message) end
  return chunk
end

-- What `input` is: the arguments, or standard input, in the format of --icsv and so on.
local function input_dataset(options, args)
  local inputs, check = #args > 0 and args or { "-" }, require "luabatch.check"
  local script = check.script
  check.script = nil -- it is not the script that names them
  local ok, input = pcall(require("luabatch")[options.input_format or "text"], inputs)
  check.script = script
  if not ok then error(input, 0) end
  return input
end

-- Makes a call again that failed; the records that it gives now are printed.
local function run_replay(options)
  local replay = require "luabatch.replay"
  local bundle, message = replay.read(options.replay)
  if not bundle then error(failure(status_of_open(message), "%s", message), 0) end
  if options.interactive then _G.fn, _G.records = replay.parts(bundle) end -- luacheck: globals fn records
  if bundle.is_cut and not options.quiet then
    tell_user("the file has only the first records that the function saw")
  end
  local ok, records = pcall(replay.call, bundle, require("luabatch.runtime").settings)
  if not ok then
    if type(records) ~= "table" then error(records, 0) end
    local place = replay.place(bundle)
    if place ~= "" then records.message = ("%s\n  it was %s"):format(records.message, place) end
    error(records, 0)
  end
  if not options.quiet then tell_user("the call succeeds") end
  for _, record in ipairs(records) do show_out(core.format(record, "lua") .. "\n") end
end

function subcommands.config(options, unwanted)
  if unwanted then
    report(options, USAGE, ("config takes nothing, got '%s'; options stand before it"):format(unwanted))
    return USAGE
  end
  for _, setting in ipairs(command_line.settings(options)) do
    io.stdout:write(("%-14s %-30s %s\n"):format(compat.unpack(setting)))
  end
  return 0
end

function subcommands.completion(options, shell)
  local script, message = require("luabatch.completion").script(shell)
  if not script then
    report(options, USAGE, message)
    return USAGE
  end
  io.stdout:write(script)
  return 0
end

-- The global `arg`, as lua sets it: the script at 0, what follows from 1, what precedes below.
local function set_arg(argv, program, script)
  local arg = {}
  local offset = script
  for i = 1, #argv do arg[i - offset] = argv[i] end
  arg[-offset] = program.name
  if not arg[0] then arg[0] = program.name end
  _G.arg = arg -- luacheck: globals arg
  return table.move(argv, script + 1, #argv, 1, {})
end

--- Runs the program.
-- @param argv list of arguments
-- @param program what the program gives: its `name`; `busy(flag)`, called around runs; `deadline(seconds, message)` and
--   `end_within(seconds, status)` (program/deadline.h); `final_status(status)`, which tells what could not be printed and gives the
--   status with which to end. All but the name may be nil
-- @return exit status
function cli.main(argv, program)
  local options, script = command_line.read(argv)
  if not options then
    report({ errors = errors_format(argv) }, USAGE, script)
    return USAGE
  end
  if options.version then
    io.stdout:write("luabatch ", core.version, " (", core.build, ")\n")
    return 0
  end
  if options.help then
    io.stdout:write((help:format(command_line.help())))
    return 0
  end
  local path = argv[script]
  local beside = options.replay and (options.chunk and "-e" or options.input_format and "an input" or path)
  if beside then
    report(options, USAGE, ("--replay makes one call again and takes nothing else, got '%s'"):format(beside))
    return USAGE
  end
  if not options.chunk and subcommands[path] and not io.open(path) then
    return subcommands[path](options, compat.unpack(argv, script + 1))
  end
  if options.chunk or options.input_format then
    script = script - 1
  elseif not path and not options.replay then
    options.interactive = options.interactive or core.is_terminal(0)
    if not options.interactive then path = "-" end
  end
  if options.interactive and not core.is_terminal(0) then
    report(options, USAGE, "-i: standard input is not a terminal")
    return USAGE
  end
  local args = set_arg(argv, program, script)
  local what = { options.chunk or path, options.input_format or "" }
  for _, word in ipairs(args) do what[#what + 1] = word end
  require("luabatch.runtime").settings.job = { name = options.chunk and "chunk" or path or "repl", what = what }
  require("luabatch.check").script = options.chunk and "(command line)" or path ~= "-" and path or nil

  local ok, err = xpcall(function()
    configure(options, program)
    if (options["max-time"] or options.safe) and not program.deadline then
      error(failure(USAGE, "--safe and --max-time need the program itself; that of a rock runs in a Lua which is not its own"), 0)
    end
    if not options.safe then refuse_late_safe(options, args) end
    if options.safe then globals = require("luabatch.safe").begin(options, args, path ~= "-" and path or nil) end
    if options["max-time"] or options.safe then require("luabatch.safe").limit_time(options, program) end
    if options.replay then return run_replay(options) end
    if options.chunk or options.input_format or options.interactive then globals.lb = globals.require "luabatch" end
    for _, name in ipairs(options.modules) do
      -- Called from C, for a message of `require` itself would stand at this line.
      local loaded, module = xpcall(require, handler, name)
      if not loaded then error(module, 0) end
      globals[name] = module
    end
    local is_input = options.input_format or options.chunk and options.chunk:find("^%s*:")
    if is_input then globals.input = input_dataset(options, args) end
    if not options.chunk and not options.input_format and not path then return end
    local chunk, message = load_script(options, path)
    if not chunk then error(message, 0) end
    end_well_on_exit(options, program)
    finish(options, program, compat.pack(chunk(compat.unpack(args))), args)
  end, handler)
  local interrupted = require("luabatch.runtime").interrupted
  if interrupted and not options.interactive then ok, err = false, interrupted end
  local checkpoint = package.loaded["luabatch.checkpoint"]
  if not ok then
    if is_memory(err) then err = memory_failure() end
    if err == require("luabatch.runtime").checked then return 0 end
    local is_late = err.status == TERMINATED and package.loaded["luabatch.safe"] and require("luabatch.safe").is_late()
    if not is_late then report(options, err.status, tostring(err.message or err)) end
    local kept = checkpoint and checkpoint.kept()
    if kept and err.status ~= PIPE then
      require("luabatch.runtime").settings.note(kept)
    elseif checkpoint and not kept and not options.interactive then
      pcall(checkpoint.finish) -- an empty folder helps nobody; the error above is the one to tell
    end
    if is_late then return 1 end
    if not options.interactive then return err.status end
  end
  if options.interactive then
    require("luabatch.check").script = nil
    local status = require("luabatch.repl").run(require("luabatch.runtime").settings)
    if status then return status end
  end
  checkpoint = package.loaded["luabatch.checkpoint"]
  if checkpoint then
    checkpoint.finish()
  elseif options.resume and not options.interactive then
    require("luabatch.runtime").settings.note("nothing to resume: the job makes no checkpoint")
  end
  return options.has_failed and RESOURCE or 0
end

return cli
