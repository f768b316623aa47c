--- The read-eval-print loop: `luabatch` on a terminal, `luabatch -i job.lua`.
--
-- A line is tried as an expression first and its value printed; a dataset shows its first rows. Lines that are not
-- complete are gone on with. What was printed last is `_`, the value of input 7 is `_7`. Lines that begin with a
-- colon are commands. Errors and Ctrl-C end what runs, not the session.
-- @module luabatch.repl
local compat = require "luabatch.compat"
local core = require "luabatch.core"

local repl = {}

local SHOWN_ROWS = 10

-- State of a session: there is one in a process.
local session = { number = 1, width = 80, history = {}, last_run = nil }

local function terminal()
  return require "luabatch.terminal"
end

local function color()
  return session.color
end

local function style(text, code)
  return color() and ("\27[%sm%s\27[0m"):format(code, text) or text
end

local function say(text)
  io.stdout:write(text, "\n")
end

-- Prose: lines that are longer than the terminal is wide go on below, indented as they were and two more.
local function tell(text)
  local width = core.terminal_size() or 120
  for line in (text .. "\n"):gmatch("(.-)\n") do
    local indent = line:match("^ *")
    while #line > width do
      local head = line:sub(1, width + 1):match("^( *%S.*) ") or line:match("^( *%S+) ")
      if not head then break end
      say(head)
      line = indent .. "  " .. line:sub(#head + 2)
    end
    say(line)
  end
end

-- Printing values.

local function quoted(text)
  local shown = core.printable((text:gsub('[\\"]', "\\%0")))
  return '"' .. shown .. '"'
end

local MAX_ELEMENTS = 200

local function key_order(a, b)
  local a_type, b_type = type(a), type(b)
  if a_type ~= b_type then return a_type == "number" or a_type < b_type and b_type ~= "number" end
  if a_type == "number" or a_type == "string" then return a < b end
  return tostring(a) < tostring(b)
end

-- A value as Lua would write it, over several lines where one is too long.
local function pretty(value, indent, seen, budget)
  local kind = type(value)
  if kind == "string" then return quoted(value) end
  if kind ~= "table" then return (core.printable(tostring(value))) end
  local meta = getmetatable(value)
  if type(meta) == "table" and meta.__tostring then return (core.printable(tostring(value))) end
  if seen[value] then return "{...}" end
  seen[value] = true
  local parts, n = {}, #value
  for i = 1, n do
    if budget.left <= 0 then break end
    budget.left = budget.left - 1
    parts[#parts + 1] = pretty(value[i], indent + 2, seen, budget)
  end
  local keys = {}
  for key in next, value do
    if compat.math_type(key) ~= "integer" or key < 1 or key > n then keys[#keys + 1] = key end
  end
  table.sort(keys, key_order)
  local shown = #parts
  for _, key in ipairs(keys) do
    if budget.left <= 0 then break end
    budget.left = budget.left - 1
    shown = shown + 1
    local name = type(key) == "string" and key:find("^[%a_][%w_]*$") and key
      or "[" .. pretty(key, indent + 2, seen, budget) .. "]"
    parts[#parts + 1] = name .. " = " .. pretty(value[key], indent + 2, seen, budget)
  end
  seen[value] = nil
  if shown < n + #keys then parts[#parts + 1] = ("... %d more"):format(n + #keys - shown) end
  if #parts == 0 then return "{}" end
  local one = "{ " .. table.concat(parts, ", ") .. " }"
  if #one + indent <= session.width and not one:find("\n", 1, true) then return one end
  local pad = (" "):rep(indent + 2)
  return "{\n" .. pad .. table.concat(parts, ",\n" .. pad) .. ",\n" .. (" "):rep(indent) .. "}"
end

-- The first rows of a dataset, and how many there are as far as is known.
local function show_dataset(ds)
  local display = require "luabatch.display"
  say(display.first_rows(ds, SHOWN_ROWS, { width = session.width, color = color() }))
end

local function show(value)
  if require("luabatch.dataset").is(value) then
    show_dataset(value)
  else
    say(pretty(value, 0, {}, { left = MAX_ELEMENTS }))
  end
end

-- Errors.

-- The lines of a traceback that are the user's.
local function handler(err)
  if type(err) ~= "string" then return err end
  local lines = {}
  for line in debug.traceback("", 2):gmatch("[^\n]+") do
    if line:find("^%s") and not line:find("%[luabatch%]") and not line:find("%[C%]")
      and not line:find("%(%.%.%.tail calls%.%.%.%)") and not line:find("in main chunk", 1, true)
      and not line:find("in function <%[%d+%]") then
      lines[#lines + 1] = "\n  " .. line:gsub("^%s+", "")
    end
  end
  if #lines > 10 then lines[11] = ("\n  ... %d more"):format(#lines - 10) end
  return err .. table.concat(lines, "", 1, math.min(#lines, 11))
end

local function message_of(err)
  if type(err) == "table" and type(rawget(err, "message")) == "string" then return err.message end
  if type(err) == "string" then return err:find("not enough memory", 1, true) and require("luabatch.runtime").script_memory() or err end
  local ok, text = pcall(tostring, err)
  return ok and ("(error value) " .. text) or "(error value)"
end

local function tell_error(err)
  -- Line by line: the newlines of a message are its own.
  local lines = {}
  for line in (message_of(err) .. "\n"):gmatch("(.-)\n") do lines[#lines + 1] = (core.printable((line:gsub("\t", "  ")))) end
  io.stdout:flush()
  io.stderr:write(style("error: ", "1;31"), table.concat(lines, "\n"), "\n")
end

-- Evaluating.

-- Keeps what an input gave as _ and _N.
local function keep(results)
  if results.n > 0 and results[1] ~= nil then
    _G._ = results[1] -- luacheck: globals _
    _G["_" .. session.number] = results[1]
  end
  session.number = session.number + 1
end

-- Runs a function with Ctrl-C as an error. Gives its results, or nil after having told the error.
local function run(f, ...)
  local results = compat.pack(terminal().call(f, handler, ...))
  if not results[1] then
    local err = results[2]
    tell_error(err)
    local status = type(err) == "table" and rawget(err, "status")
    -- SIGTERM and SIGHUP end the session, not just the run.
    if status == 143 or status == 129 then session.is_over, session.status = true, status end
    return nil
  end
  return compat.pack(compat.unpack(results, 2, results.n))
end

-- Compiles input. Gives a function; or nil, message, and whether more lines could complete it.
local function compile(text)
  local name = ("=[%d]"):format(session.number)
  -- As Lua's own shell: `=x` is an expression.
  local chunk, as_expression = load("return " .. text:gsub("^%s*=", ""), name, "t")
  if chunk then return chunk end
  local message
  chunk, message = load(text, name, "t")
  if chunk then return chunk end
  local incomplete = (message:find("<eof>'?$") or as_expression:find("<eof>'?$"))
    and not message:find("unfinished string", 1, true)
  return nil, message, incomplete and not text:find("\n%s*$")
end

local function evaluate(chunk)
  if jit then jit.off(chunk, true) end -- luacheck: globals jit (Ctrl-C does not stop what LuaJIT has compiled)
  local results = run(chunk)
  if not results then
    session.number = session.number + 1
    return
  end
  run(function()
    for i = 1, results.n do
      show(results[i])
    end
  end)
  keep(results)
end

-- Commands.

local commands = {}

-- A command's argument as a value: an expression, or what was printed last.
local function argument(text)
  if text == "" then
    if _G._ == nil then error("there is no result yet; give an expression", 0) end
    return _G._
  end
  local chunk, message = load("return " .. text, ("=[%d]"):format(session.number), "t")
  if not chunk then error(message, 0) end
  return (chunk())
end

local function dataset_argument(text)
  local value = argument(text)
  if not require("luabatch.dataset").is(value) then
    error(("a dataset expected, got %s"):format(type(value)), 0)
  end
  return value
end

local function command(name, parameters, summary, call)
  commands[name] = { parameters = parameters, summary = summary, call = call }
end

command("help", "[topic]", "this list, or what a verb, function or command does", function(text)
  local help = require "luabatch.help"
  if text == "" then
    tell("Type Lua; an expression is printed, of a dataset the first rows. `lb` is luabatch, `_` the last result, `_1` the first.")
    local names = {}
    for name in pairs(commands) do names[#names + 1] = name end
    table.sort(names)
    for _, known in ipairs(names) do
      local one = commands[known]
      tell(("  %-24s %s"):format((":%s %s"):format(known, one.parameters), one.summary))
    end
    tell("Topics: names of verbs and functions, such as :help group_by, :help lb.csv or, of SQL, :help substr. Tab completes.")
    return
  end
  local one = commands[text:match("^:?(%a+)$") or ""]
  if one and text:sub(1, 1) == ":" then
    say((":%s %s\n  %s"):format(text:sub(2), one.parameters, one.summary))
    return
  end
  tell(help.topic(text))
end)
commands.help.topics = function() return require("luabatch.help").topics() end

command("load", "FILE", "run a Lua file here; its globals stay", function(path)
  if path == "" then error("which file?", 0) end
  local chunk, message = loadfile(path)
  if not chunk then error(message, 0) end
  local results = compat.pack(chunk())
  for i = 1, results.n do show(results[i]) end
  keep(results)
end)

command("explain", "[dataset]", "how a dataset is computed", function(text) dataset_argument(text):explain() end)

command("schema", "[dataset]", "columns and types of rows", function(text) dataset_argument(text):print_schema() end)

command("stats", "", "what the last run took", function()
  local last = session.last_run
  if not last then
    say("nothing has run yet")
    return
  end
  local action, info = last[1], last[2]
  say((require("luabatch.stats").text(action, info.seconds, info, { width = core.terminal_size() }):gsub("\n$", "")))
end)

command("time", "expression", "how long it takes", function(text)
  local chunk, message = compile(text)
  if not chunk then error(message, 0) end
  local start = core.clock()
  local results = compat.pack(chunk())
  for i = 1, results.n do show(results[i]) end
  say(style(("%.3f s"):format(core.clock() - start), "2"))
  keep(results)
end)

command("history", "[n]", "the last n inputs (20)", function(text)
  local n = text == "" and 20 or compat.tointeger(tonumber(text))
  if not n or n < 1 then error("a number of inputs expected", 0) end
  for i = math.max(1, #session.history - n + 1), #session.history do say((core.printable(session.history[i]))) end
end)

command("quit", "", "leave (also Ctrl-D)", function() session.is_over = true end)

local function run_command(line)
  local name, rest = line:match("^%s*:(%a*)%s*(.-)%s*$")
  local found = name and commands[name]
  if not found then
    local names = {}
    for known in pairs(commands) do names[#names + 1] = known end
    error(("there is no command :%s%s; :help lists them"):format(name or "",
      require("luabatch.suggest").hint(name or "", names)), 0)
  end
  found.call(rest)
end

-- History.

local function history_path()
  local base = os.getenv("XDG_STATE_HOME")
  if not base or base:sub(1, 1) ~= "/" then
    local home = os.getenv("HOME")
    if not home or home == "" then return nil end
    base = home .. "/.local/state"
  end
  return base .. "/luabatch/history"
end

local function load_history(editor)
  local path = history_path()
  local file = path and io.open(path)
  if not file then return end
  for line in file:lines() do
    local text = line:gsub("\\(.)", function(c) return c == "n" and "\n" or c end)
    session.history[#session.history + 1] = text
    editor:add(text)
  end
  file:close()
end

local function remember(editor, text)
  if session.history[#session.history] == text or text:find("^%s") then return end
  session.history[#session.history + 1] = text
  editor:add(text)
  local path = history_path()
  if not path then return end
  local ok, message = terminal().private_file(path)
  local file = ok and io.open(path, "a")
  if file then
    file:write((text:gsub("[\\\n]", { ["\\"] = "\\\\", ["\n"] = "\\n" })), "\n")
    file:close()
  elseif not session.told_history then
    session.told_history = true
    io.stderr:write("luabatch: the history is not kept: ", message or path, "\n")
  end
end

-- The loop.

-- What people type to leave and to be helped.
local words = { exit = "quit", quit = "quit", help = "help" }

local function read_input(editor)
  local lines = {}
  while true do
    local prompt = #lines == 0 and ("%d> "):format(session.number)
      or (" "):rep(#tostring(session.number)) .. "| "
    session.width = core.terminal_size() or 80
    local line = editor:read(prompt)
    if not line then return line end
    lines[#lines + 1] = line
    local text = table.concat(lines, "\n")
    -- A pasted chain goes on from the last result.
    if #lines == 1 and text:find("^%s*:%a[%w_]*%s*[%({\"']") then lines[1], text = "_" .. text, "_" .. text end
    if #lines == 1 and text:find("^%s*:%a*") and not text:find("^%s*::") then return text end
    if #lines == 1 and words[text:match("^%s*(%a+)[%s()]*$") or ""] and rawget(_G, text:match("%a+")) == nil then
      return ":" .. words[text:match("%a+")]
    end
    if text:find("^%s*$") then return "" end
    local chunk, message, incomplete = compile(text)
    if not incomplete then return text, chunk, message end
  end
end

--- Reads and evaluates until the end of input.
-- @param settings of the runtime: `on_run` is wrapped
function repl.run(settings)
  session.color = require("luabatch.display").has_color()
  local told = settings.on_run
  function settings.on_run(action, info, node)
    session.last_run = { action, info }
    if told then told(action, info, node) end
  end
  local complete = require "luabatch.complete"
  local editor = terminal().editor(function(text)
    local insert, list = complete.line(text, commands)
    if insert ~= "" or #list == 0 then return insert end
    if #list == 1 then return "" end
    return "", complete.columns(list, session.width)
  end)
  load_history(editor)
  say(("luabatch %s — :help tells more, Ctrl-D leaves"):format(core.version))
  while not session.is_over do
    local text, chunk, message = read_input(editor)
    if text == nil then
      say("")
      break
    elseif text and text ~= "" then
      remember(editor, text)
      if text:find("^%s*:") and not chunk then
        run(run_command, text)
      elseif chunk then
        if text:find("^%s*local%s") then
          say(style("(a local is forgotten at the end of its input; leave out `local` to keep it)", "2"))
        end
        evaluate(chunk)
      else
        tell_error(message)
      end
      collectgarbage("step")
    end
    io.stdout:flush()
  end
  editor:close()
  return session.status
end

return repl
