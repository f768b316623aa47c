--- The command line: `luabatch [option...] job.lua [arg...]`.
--
-- main.c calls `main` with the arguments and gets the exit status. Results go to standard output, everything else to
-- standard error. Statuses are those of errors (0 success, 1 the job raised, 2 usage, 3 does not
-- compile, 4 data, 5 resources, 130/143 interrupted, 141 reader gone).
-- @module luabatch.cli
local core = require "luabatch.core"

local cli = {}

local USAGE = 2
local COMPILE = 3
local RESOURCE = 5
local PIPE = 141

local usage = [[
usage: luabatch [option...] job.lua [arg...]
       luabatch [option...] -e CHUNK [arg...]
       luabatch                               (on a terminal) explore data line by line
]]

local help = usage .. [[

Runs a job file. A dataset or a job that it returns is run and its records are printed.
What follows the job file is in `arg`; for a job, arguments that are not its options are its inputs.
`-` as a file is standard input.

  -e CHUNK             run a chunk or expression and show what it returns; `lb` is there
  -i                   after the script, go on line by line with its globals
  -l MOD               require a module first
  --threads N          worker threads (default: the cores this process may use)
  --memory SIZE        memory to keep within, such as 512M or 2G (default: 60 % of the machine's)
  --tmp DIR            where to put what does not fit in memory (default: TMPDIR or /tmp)
  --output PATH        write the records there instead of standard output; ending in /: a directory
  --output-format F    text (default), json, csv or lua
  --check              load and plan, run nothing
  --explain            tell on standard error how each dataset is computed
  --stats[=json]       tell on standard error what each run took
  --errors json        errors as one line of JSON
  --quiet              no notes on standard error, only errors
  --version            print the version
  --help               print this

Each option but the last two has an environment variable, such as LUABATCH_THREADS; options win.
Exit status: 0 success, 1 error in the job, 2 usage or missing input, 3 the script does not compile, 4 bad input
data, 5 out of memory, disk or descriptors, 130 or 143 interrupted, 141 the reader of the output is gone.
]]

-- The options with a long name: how each takes its value, and which values there are.
local long = {
  threads = { value = "always" }, memory = { value = "always" }, tmp = { value = "always" },
  output = { value = "always" },
  ["output-format"] = { value = "always", choices = { "text", "json", "csv", "lua" } },
  errors = { value = "always", choices = { "text", "json" } },
  stats = { value = "optional", choices = { "text", "json" } },
  check = {}, explain = {}, quiet = {},
  help = { no_variable = true }, version = { no_variable = true },
}

-- An error that ends the program with a status; what core raises looks the same.
local function failure(status, format, ...)
  return setmetatable({ status = status, message = format:format(...) }, {
    __tostring = function(self) return self.message end,
  })
end

-- Puts an option into the table of options. Gives true, or nil and a message.
local function set_option(options, name, text, source)
  local spec = long[name]
  if spec.choices then
    local known = false
    for _, choice in ipairs(spec.choices) do known = known or choice == text end
    if not known then
      return nil, ("%s: '%s' expected, got '%s'%s"):format(source, table.concat(spec.choices, "', '"), text,
        require("luabatch.suggest").hint(text, spec.choices))
    end
  end
  local value, expected, hint = require("luabatch.runtime").parse_setting(name, text)
  if value == nil then return nil, ("%s: %s expected, got '%s'%s"):format(source, expected, text, hint or "") end
  if value == "" then return nil, ("%s wants a value"):format(source) end
  options[name] = value
  return true
end

-- Reads one long option. Gives the number of arguments used, or nil and a message.
local function read_long(options, arg, next_arg)
  local name, text = arg:match("^%-%-([^=]+)=(.*)$")
  name = name or arg:match("^%-%-(.+)$")
  local spec = long[name]
  if not spec then
    local names = {}
    for known in pairs(long) do names[#names + 1] = "--" .. known end
    return nil, ("unknown option %s%s"):format(name and "--" .. name or arg,
      require("luabatch.suggest").hint(name and "--" .. name or arg, names))
  end
  if not spec.value then
    if text then return nil, ("option --%s takes no value"):format(name) end
    options[name] = true
    return 1
  end
  local used = 1
  if not text then
    if spec.value == "optional" then
      text = "text"
    elseif next_arg == nil then
      return nil, ("option --%s wants a value"):format(name)
    else
      text, used = next_arg, 2
    end
  end
  local ok, message = set_option(options, name, text, "option --" .. name)
  if not ok then return nil, message end
  return used
end

-- Options from LUABATCH_... variables.
local function read_environment(options)
  for name, spec in pairs(long) do
    local variable = "LUABATCH_" .. name:upper():gsub("%-", "_")
    local text = not spec.no_variable and os.getenv(variable)
    if text and text ~= "" then
      if spec.value and not (name == "stats" and text == "1") then
        local ok, message = set_option(options, name, text, variable)
        if not ok then return nil, message end
      else
        options[name] = text ~= "0" and text ~= "false" and (spec.value and "text" or true) or nil
      end
    end
  end
  return true
end

-- Reads the arguments up to the script. Gives options, index of the script's name (or of the first argument of a chunk); or nil,
-- message.
local function read_arguments(argv)
  local options = { modules = {} }
  local ok, message = read_environment(options)
  if not ok then return nil, message end
  local i = 1
  while i <= #argv do
    local arg = argv[i]
    if arg == "--" then
      i = i + 1
      break
    elseif arg == "-" or arg:sub(1, 1) ~= "-" then
      break
    elseif arg:sub(1, 2) == "--" then
      local used
      used, message = read_long(options, arg, argv[i + 1])
      if not used then return nil, message end
      i = i + used
    elseif arg == "-h" then
      options.help = true
      i = i + 1
    elseif arg == "-i" then
      options.interactive = true
      i = i + 1
    else
      local letter, text = arg:match("^%-([el])(.*)$")
      if not letter then return nil, ("unknown option %s"):format(arg) end
      if text == "" then
        i = i + 1
        text = argv[i]
        if text == nil then return nil, ("option -%s wants a value"):format(letter) end
      end
      i = i + 1
      if letter == "l" then
        table.insert(options.modules, text)
      else
        -- All that follows the chunk is in `arg`, but options may stand between.
        if options.chunk then return nil, "option -e may be given once" end
        options.chunk = text
      end
    end
  end
  return options, i
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
  fields.message = head
  fields["in"] = rest:match("^%s*in ([^\n]*)") or rest:match("\n%s*in ([^\n]*)")
  fields.record = rest:match("^%s*record ([^\n]*)") or rest:match("\n%s*record ([^\n]*)")
  fields.key = rest:match("^%s*key ([^\n]*)") or rest:match("\n%s*key ([^\n]*)")
  fields.traceback = rest:match("stack traceback:%s*(.*)$")
  fields.file, fields.line = head:match("^(.-):(%d+): ")
  fields.line = math.tointeger(tonumber(fields.line))
  return fields
end

local function report(options, status, message)
  if status == PIPE then return end
  if options.errors == "json" then
    io.stderr:write(core.format(error_fields(status, message), "json"), "\n")
  else
    io.stderr:write("luabatch: ", message, "\n")
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

-- Makes any error value a failure.
local function handler(err)
  if err == require("luabatch.runtime").checked then return err end
  local kind = type(err)
  if (kind == "table" or kind == "userdata") and getmetatable(err) then
    local ok, status = pcall(function() return err.status end)
    if ok and math.type(status) == "integer" and status >= 1 and status <= 255 then return err end
  end
  local message = err
  if kind ~= "string" then
    local ok, text = pcall(core.format, err, "lua")
    message = "the job raised " .. (ok and text or tostring(err))
  end
  if kind == "string" and err == "not enough memory" then return failure(RESOURCE, "%s", "out of memory") end
  return failure(1, "%s", message .. traceback())
end

local function write_out(text)
  local ok, message, code = io.stdout:write(text)
  if not ok then
    error(failure(code == 32 and PIPE or RESOURCE, "cannot write to standard output: %s", message), 0)
  end
end

-- Running.

-- Settings and hooks of the runtime from the options.
local function configure(options, program)
  local runtime = require "luabatch.runtime"
  local settings = runtime.settings
  settings.threads, settings.memory, settings.tmp = options.threads, options.memory, options.tmp
  settings.signals, settings.check = true, options.check
  settings.busy = program.busy
  local started = core.clock()
  function settings.on_plan(action, node, description)
    started = core.clock()
    if options.check then
      write_out(("plan of %s\n%s"):format(action, core.describe(description)))
    elseif options.explain then
      local display = require "luabatch.display"
      io.stderr:write("plan of ", action, "\n", display.plan(node, "logical"), "\n", display.plan(node, "optimised"),
        "\nstages\n", core.describe(description))
    end
  end
  function settings.on_run(action, info)
    if (info.skipped or 0) > 0 and not options.quiet then
      io.stderr:write(("luabatch: %s: %d records skipped, the first because: %s\n"):format(action, info.skipped,
        info.first_skipped or "unknown"))
    end
    if not options.stats then return end
    local stats = require "luabatch.stats"
    local form = options.stats == "json" and stats.json or stats.text
    io.stderr:write(form(action, core.clock() - started, info))
  end
end

-- Writes a dataset where the options say.
local function print_dataset(options, ds, action)
  local runtime = require "luabatch.runtime"
  local path = options.output or "-"
  runtime.run(action, ds._node, runtime.write_sink(path, options["output-format"] or "text", {
    mode = options.output and "overwrite" or nil,
  }))
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
    if not long[name] then
      local names = {}
      for known in pairs(job.options) do names[#names + 1] = "--" .. known end
      for known in pairs(long) do names[#names + 1] = "--" .. known end
      return nil, ("unknown option --%s%s"):format(name, require("luabatch.suggest").hint("--" .. name, names))
    end
    return read_long(options, arg, next_arg)
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
  local write = options.output and line or function(text) write_out(text .. "\n") end
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
  end
end

-- Loads the script or the chunk. Gives a function, or nil and a failure.
local function load_script(options, path)
  if options.chunk then
    -- Without the nil a call would be a tail call, and errors in it would have no position.
    local command_line_expression, unfinished = load("return nil, " .. options.chunk, "=(command line)", "t")
    if command_line_expression then
      return function(...) return select(2, command_line_expression(...)) end
    end
    local chunk, message = load(options.chunk, "=(command line)", "t")
    -- An expression that only lacks its end was meant as one.
    if not chunk and unfinished:find("<eof>$") then message = unfinished end
    if not chunk then return nil, failure(COMPILE, "%s", message) end
    return chunk
  end
  if path ~= "-" then
    local file, message = io.open(path)
    if not file then return nil, failure(USAGE, "cannot open %s", message) end
    file:close()
  end
  local chunk, message = loadfile(path ~= "-" and path or nil)
  if not chunk then
    return nil, failure(message:find("^cannot ") and USAGE or COMPILE, "%s", message)
  end
  return chunk
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
-- @param program what the program gives: its `name`; `busy(flag)`, called around runs (may be nil)
-- @return exit status
function cli.main(argv, program)
  local options, script = read_arguments(argv)
  if not options then
    report({ errors = errors_format(argv) }, USAGE, script)
    return USAGE
  end
  if options.version then
    io.stdout:write("luabatch ", core.version, "\n")
    return 0
  end
  if options.help then
    io.stdout:write(help)
    return 0
  end
  local path = argv[script]
  if options.chunk then
    script = script - 1
  elseif not path then
    options.interactive = options.interactive or core.is_terminal(0)
    if not options.interactive then path = "-" end
  end
  if options.interactive and not core.is_terminal(0) then
    report(options, USAGE, "-i: standard input is not a terminal")
    return USAGE
  end
  local args = set_arg(argv, program, script)
  require("luabatch.check").script = options.chunk and "(command line)" or path ~= "-" and path or nil

  local ok, err = xpcall(function()
    configure(options, program)
    if options.chunk or options.interactive then _G.lb = require "luabatch" end -- luacheck: globals lb
    for _, name in ipairs(options.modules) do
      -- Called from C, for a message of `require` itself would stand at this line.
      local loaded, module = xpcall(require, handler, name)
      if not loaded then error(module, 0) end
      _G[name] = module
    end
    if not options.chunk and not path then return end
    local chunk, message = load_script(options, path)
    if not chunk then error(message, 0) end
    finish(options, program, table.pack(chunk((table.unpack or unpack)(args))), args) -- luacheck: globals unpack
  end, handler)
  if not ok then
    if err == require("luabatch.runtime").checked then return 0 end
    report(options, err.status, tostring(err.message or err))
    if not options.interactive then return err.status end
  end
  if options.interactive then
    require("luabatch.check").script = nil
    require("luabatch.repl").run(require("luabatch.runtime").settings)
  end
  return 0
end

return cli
