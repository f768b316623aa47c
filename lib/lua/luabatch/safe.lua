--- Safe mode: `luabatch --safe job.lua`, for jobs that nobody has read. What it promises is in docs/reference.md, "Safe mode".
--
-- This module says which files the command line names, and begins; the walls are in C: core/base/jail.c for files, lua_bindings/safe.c
-- for Lua, program/deadline.c for time.
-- @module luabatch.safe
local compat = require "luabatch.compat"
local core = require "luabatch.core"

local safe = {}

local DEFAULT_SECONDS = 3600

local ends -- on core.clock

local function usage_error(format, ...)
  error(setmetatable({ status = 2, message = format:format(...) }, { __tostring = function(e) return e.message end }), 0)
end

--- Limits the time of the whole job.
-- @param options values of the command line
-- @param program what the program gives: `deadline(seconds, message)`
-- @usage -- luabatch --max-time 60 job.lua
function safe.limit_time(options, program)
  local seconds = options["max-time"] or DEFAULT_SECONDS
  local message = ("the job took more than %g s (--max-time)"):format(seconds)
  ends = core.clock() + seconds
  program.deadline(seconds, options.errors == "json" and core.format({ status = 1, message = message }, "json") .. "\n"
    or "luabatch: " .. message .. "\n")
end

--- Whether the time of limit_time is over: then the user was told so.
-- @return boolean
-- @usage print(require("luabatch.safe").is_late()) --> false
function safe.is_late() return ends ~= nil and core.clock() >= ends end

-- Refuses what is not there, or cannot be looked at.
local function check_named(flag, kind, path)
  local is_there, message, is_nothing = core.look_at(path)
  if is_nothing then usage_error("%s: no such %s: %s", flag, kind, path) end
  if not is_there then usage_error("%s: cannot open %s", flag, message) end
end

-- Adds what a glob among the arguments stands for: the files, and the folders in which it looks.
local function add_glob(lists, pattern)
  local ok, files = pcall(core.expand_paths, pattern)
  if not ok then return end
  local levels, is_wild = 0, false
  for part in pattern:gmatch("[^/]+") do
    is_wild = is_wild or part:find("[*?%[{]") ~= nil
    if is_wild then levels = levels + 1 end
  end
  for _, file in ipairs(files) do
    table.insert(lists.read, file.path)
    local folder = file.path
    for _ = 1, levels do
      folder = folder:match("^(.*)/[^/]*$") or "."
      table.insert(lists.list, folder ~= "" and folder or "/")
    end
  end
end

-- What stands behind the script: inputs, and maybe --output.
local function add_arguments(lists, args)
  for i, arg in ipairs(args) do
    local output = arg:match("^%-%-output=(.+)$") or arg == "--output" and args[i + 1]
    if output and output ~= "-" then
      table.insert(lists.write, output)
    elseif arg:sub(1, 1) ~= "-" and arg ~= "" and args[i - 1] ~= "--output" then
      if not core.output_exists(arg) and arg:find("[*?%[{]") then
        add_glob(lists, arg)
      else
        table.insert(lists.read, arg)
      end
    end
  end
end

--- Begins safe mode, for good.
-- @param options values of the command line
-- @param args what stands behind the script
-- @param script the script's path, or nil
-- @return the globals of the job
-- @usage -- luabatch --safe job.lua input.txt
function safe.begin(options, args, script)
  local refused = { interactive = "-i", replay = "--replay", ["replay-dir"] = "--replay-dir" }
  for name, flag in pairs(refused) do
    if options[name] then usage_error("%s and --safe do not go together", flag) end
  end
  if #options.modules > 0 then usage_error("-l and --safe do not go together: a module would run outside") end
  -- They are found out from files that cannot be read later.
  options.memory = options.memory or compat.tointeger(math.floor(core.memory_limit() * 6 / 10))
  options.threads = options.threads or core.cpu_count()
  options.tmp = options.tmp or os.getenv "TMPDIR" or "/tmp"
  local settings = require("luabatch.runtime").settings
  settings.memory, settings.threads, settings.tmp = options.memory, options.threads, options.tmp
  local lists = { read = { script }, list = {}, write = {}, tmp = { options.tmp }, memory = options.memory }
  for _, path in ipairs(options["allow-read"] or {}) do
    check_named("--allow-read", "file", path)
    table.insert(lists.read, path)
  end
  for _, path in ipairs(options["allow-write"] or {}) do
    check_named("--allow-write", "folder", path)
    table.insert(lists.write, path)
  end
  for _, name in ipairs { "output", "trace", "report" } do
    if options[name] and options[name] ~= "-" then table.insert(lists.write, options[name]) end
  end
  if options.from["checkpoint-dir"] then table.insert(lists.write, options["checkpoint-dir"]) end
  add_arguments(lists, args)
  if options.input_format and options.chunk == nil and #args == 0 and script then table.insert(lists.read, script) end
  -- The library's parts are inside the program; this one is a file.
  pcall(require, "lpeg")
  local globals = core.safe(lists)
  globals.arg = _G.arg
  return globals
end

-- What is not there, and what stands for it.
local NO_FLAG = "; no flag allows it"
local FILES = "; read by lb.text and the like what the command line or --allow-read names, write by save_* below --allow-write"
local missing = {
  io = FILES, dofile = FILES, loadfile = FILES, debug = NO_FLAG, package = NO_FLAG, warn = NO_FLAG,
}
local missing_fields = {
  execute = "os.execute", exit = "os.exit", getenv = "os.getenv", remove = "os.remove", rename = "os.rename",
  setlocale = "os.setlocale", tmpname = "os.tmpname", dump = "string.dump",
}

--- Adds to a message what safe mode has to do with it.
-- @string message of an error
-- @return string
-- @usage print((require("luabatch.safe").explain("attempt to index a nil value (global 'io')"):find("safe mode", 1, true) ~= nil)) --> true
function safe.explain(message)
  local name = message:match("^[^\n]*%(global '(%a+)'%)")
  if missing[name] then
    return (message:gsub("%(global '%a+'%)", ("%%0; safe mode has none (--safe)%s"):format(missing[name]), 1))
  end
  local field = message:match("^[^\n]*attempt to call a nil value %([fm]%a+ '(%a+)'%)")
  if not missing_fields[field] then return message end
  return (message:gsub("(%([fm]%a+ '%a+'%))", ("%%1; safe mode has no %s (--safe)%s"):format(missing_fields[field], NO_FLAG), 1))
end

return safe
