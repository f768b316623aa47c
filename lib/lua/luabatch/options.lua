--- The options of the command line: the one table from which they are read, explained, completed and printed.
--
-- An option comes from a flag, else from its environment variable (LUABATCH_THREADS for --threads), else it has its
-- default.
-- @module luabatch.options
local options = {}

--- The options in the order in which they are explained: `name` or `letter`; `value` ("always" or "optional" when it takes one, shown as
-- `shown`), `choices`, `variable` (false: it has none), `default` and `help` for people; `is_like` another, whose help speaks of it
-- too; `many`: may be given several times; `before_script`: not behind it.
options.list = {
  { letter = "e", value = "always", shown = "CHUNK", help = "run a chunk or expression and show what it returns; `lb` is there" },
  { letter = "i", help = "after the script, go on line by line with its globals" },
  { letter = "l", value = "always", shown = "MOD", help = "require a module first" },
  { name = "icsv", input = "csv", variable = false, help = "the arguments are CSV files, `input` the dataset of their rows;" },
  { name = "itsv", input = "tsv", variable = false, help = "likewise tab-separated values," },
  { name = "ijson", input = "json", variable = false, help = "JSON lines," },
  { name = "itext", input = "text", variable = false, help = "lines of text" },
  { name = "ocsv", output = "csv", variable = false, help = "as --output-format csv; likewise --otsv, --ojson, --otext" },
  { name = "otsv", output = "tsv", variable = false, is_like = "ocsv", help = "as --output-format tsv" },
  { name = "ojson", output = "json", variable = false, is_like = "ocsv", help = "as --output-format json" },
  { name = "otext", output = "text", variable = false, is_like = "ocsv", help = "as --output-format text" },
  { name = "threads", value = "always", shown = "N", default = "the cores this process may use", help = "worker threads" },
  {
    name = "memory", value = "always", shown = "SIZE", default = "60 % of the machine's",
    help = "memory to keep within, such as 512M or 2G",
  },
  {
    name = "tmp", value = "always", shown = "DIR", default = "TMPDIR or /tmp", is_path = true,
    help = "where to put what does not fit in memory",
  },
  {
    name = "max-spill", value = "always", shown = "SIZE", default = "all that is free",
    help = "disk that this may take at a time, such as 20G; more is an error",
  },
  {
    name = "output", value = "always", shown = "PATH", default = "standard output", is_path = true,
    help = "write the records there; ending in /: a directory",
  },
  {
    name = "output-format", value = "always", shown = "F", choices = { "text", "json", "csv", "tsv", "lua" }, default = "text",
    help = "text, json, csv, tsv or lua",
  },
  {
    name = "progress", value = "always", shown = "WHEN", choices = { "auto", "always", "never", "json" }, default = "auto",
    help = "a line that tells how far it is: auto (on a terminal, after 2 s), always, never, json",
  },
  { name = "check", help = "load and plan, run nothing" },
  { name = "explain", help = "tell on standard error how each dataset is computed" },
  {
    name = "stats", value = "optional", shown = "json", choices = { "text", "json" },
    help = "tell on standard error what each run took",
  },
  {
    name = "trace", value = "always", shown = "FILE", is_path = true,
    help = "write what the workers did when, for chrome://tracing or Perfetto",
  },
  {
    name = "report", value = "always", shown = "FILE", is_path = true,
    help = "write a page (HTML) on all runs: plan, times, skew, errors",
  },
  {
    name = "errors", value = "always", shown = "json", choices = { "text", "json" }, default = "text",
    help = "errors as one line of JSON",
  },
  {
    name = "max-errors", value = "always", shown = "N", default = "any number",
    help = "fail when a run leaves out more than N records",
  },
  {
    name = "record-timeout", value = "always", shown = "SECONDS", default = "none",
    help = "what a function may take for one record; likewise --max-instructions N",
  },
  {
    name = "max-instructions", value = "always", shown = "N", default = "any number", is_like = "record-timeout",
    help = "what a function may execute for one record, in Lua's instructions",
  },
  {
    name = "max-time", value = "always", shown = "SECONDS", default = "none; 3600 with --safe",
    help = "what the whole job may take",
  },
  { name = "safe", before_script = true, help = "for a job you did not write: no files but those named here, no commands, no io" },
  {
    name = "allow-read", value = "always", shown = "PATH", default = "the arguments behind the script", is_path = true, many = true,
    before_script = true, help = "with --safe: a file or folder that the job may read; likewise --allow-write DIR",
  },
  {
    name = "allow-write", value = "always", shown = "DIR", default = "--output", is_path = true, many = true,
    before_script = true, is_like = "allow-read", help = "with --safe: a folder that the job may write to",
  },
  { name = "resume", help = "go on from the finished checkpoints of this job, which was killed or failed" },
  {
    name = "checkpoint-dir", value = "always", shown = "DIR", default = ".luabatch-checkpoints", is_path = true,
    help = "where ds:checkpoint keeps records until the job has ended well",
  },
  {
    name = "replay-dir", value = "always", shown = "DIR", is_path = true,
    help = "put the call of a function that fails there, to be made again",
  },
  {
    name = "replay", value = "always", shown = "FILE", is_path = true, variable = false,
    help = "make such a call again; with -i go on with `fn` and `records`",
  },
  { name = "quiet", help = "no notes on standard error, only errors" },
  { name = "version", variable = false, help = "print the version and what it was built of" },
  { name = "help", variable = false, help = "print this" },
}

local by_name = {}
for _, option in ipairs(options.list) do
  if option.name then by_name[option.name] = option end
end

--- The option of a long name, or nil.
function options.find(name) return by_name[name] end

--- The names with their dashes, for suggestions.
-- @return list of strings
function options.flags()
  local flags = {}
  for _, option in ipairs(options.list) do
    flags[#flags + 1] = option.name and "--" .. option.name or "-" .. option.letter
  end
  return flags
end

--- The environment variable of an option, or nil.
function options.variable(option)
  if option.variable == false or not option.name then return nil end
  return "LUABATCH_" .. option.name:upper():gsub("%-", "_")
end

local function hint(text, candidates)
  return require("luabatch.suggest").hint(text, candidates)
end

-- Puts an option into the table of values. Gives true, or nil and a message.
local function set(values, option, text, source)
  if option.choices then
    local known = false
    for _, choice in ipairs(option.choices) do known = known or choice == text end
    if not known then
      return nil, ("%s: '%s' expected, got '%s'%s"):format(source, table.concat(option.choices, "', '"), text,
        hint(text, option.choices))
    end
  end
  local value, expected, more = require("luabatch.runtime").parse_setting(option.name, text)
  if value == nil then return nil, ("%s: %s expected, got '%s'%s"):format(source, expected, text, more or "") end
  if value == "" then return nil, ("%s wants a value"):format(source) end
  if option.many then
    values[option.name] = values.from[option.name] == source and values[option.name] or {}
    table.insert(values[option.name], value)
  else
    values[option.name] = value
  end
  values.from[option.name] = source
  return true
end

--- Reads one long option.
-- @param values table that gets it; `values.from` says where each came from
-- @param arg the argument
-- @param next_arg the one behind it
-- @param is_behind whether it stands behind the script
-- @return number of arguments used, or nil and a message
function options.read_long(values, arg, next_arg, is_behind)
  local name, text = arg:match("^%-%-([^=]+)=(.*)$")
  name = name or arg:match("^%-%-(.+)$")
  local option = by_name[name]
  if not option then
    local flag = name and "--" .. name or arg
    return nil, ("unknown option %s%s"):format(flag, hint(flag, options.flags()))
  end
  if is_behind and option.before_script then return nil, ("option --%s stands before the script"):format(name) end
  if not option.value then
    if text then return nil, ("option --%s takes no value"):format(name) end
    if option.input then values.input_format = option.input end
    if option.output then name, text = "output-format", option.output end
    values[name], values.from[name] = text or true, "option --" .. name
    return 1
  end
  local used = 1
  if not text then
    if option.value == "optional" then
      text = "text"
    elseif next_arg == nil then
      return nil, ("option --%s wants a value"):format(name)
    else
      text, used = next_arg, 2
    end
  end
  local ok, message = set(values, option, text, "option --" .. name)
  if not ok then return nil, message end
  return used
end

-- Options from LUABATCH_... variables.
local function read_environment(values)
  for _, option in ipairs(options.list) do
    local variable = options.variable(option)
    local text = variable and os.getenv(variable)
    if text and text ~= "" then
      if option.value and not (option.name == "stats" and text == "1") then
        local ok, message = set(values, option, text, variable)
        if not ok then return nil, message end
      else
        values[option.name] = text ~= "0" and text ~= "false" and (option.value and "text" or true) or nil
        values.from[option.name] = variable
      end
    end
  end
  return true
end

--- Reads the environment, and the arguments up to the script.
-- @param argv list of arguments
-- @return values, index of the script's name (or of the first argument of a chunk); or nil and a message
function options.read(argv)
  local values = { modules = {}, from = {} }
  local ok, message = read_environment(values)
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
      used, message = options.read_long(values, arg, argv[i + 1])
      if not used then return nil, message end
      i = i + used
    elseif arg == "-h" then
      values.help = true
      i = i + 1
    elseif arg == "-i" then
      values.interactive = true
      i = i + 1
    else
      local letter, text = arg:match("^%-([el])(.*)$")
      if not letter then return nil, ("unknown option %s%s"):format(arg, hint("-" .. arg, options.flags())) end
      if text == "" then
        i = i + 1
        text = argv[i]
        if text == nil then return nil, ("option -%s wants a value"):format(letter) end
      end
      i = i + 1
      if letter == "l" then
        table.insert(values.modules, text)
      else
        -- All that follows the chunk is in `arg`, but options may stand between.
        if values.chunk then return nil, "option -e may be given once" end
        values.chunk = text
      end
    end
  end
  return values, i
end

-- "--memory SIZE", "--stats[=json]", "-e CHUNK".
local function shown(option)
  local flag = option.name and "--" .. option.name or "-" .. option.letter
  if option.value == "optional" then return ("%s[=%s]"):format(flag, option.shown) end
  return option.value and flag .. " " .. option.shown or flag
end
options.shown = shown

--- The options as lines of help.
function options.help()
  local lines = {}
  for _, option in ipairs(options.list) do
    local text, default = option.help, option.default
    if default and #text + #default < 60 and not text:find(default, 1, true) then
      text = ("%s (default: %s)"):format(text, default)
    end
    if not option.is_like then lines[#lines + 1] = ("  %-20s %s"):format(shown(option), text) end
  end
  return table.concat(lines, "\n")
end

--- What each setting is and where it comes from, for `luabatch config`.
-- @param values what options.read gave
-- @return list of `{ name, value, source }`
function options.settings(values)
  local core = require "luabatch.core"
  local defaults = {
    threads = tostring(core.cpu_count()), memory = tostring(math.floor(core.memory_limit() * 6 / 10)), tmp = os.getenv "TMPDIR" or "/tmp",
    output = "standard output",
  }
  local list = {}
  for _, option in ipairs(options.list) do
    if options.variable(option) then
      local value = values[option.name]
      if type(value) == "table" then value = table.concat(value, ", ") end
      list[#list + 1] = {
        option.name, value ~= nil and tostring(value) or defaults[option.name] or option.default or "off",
        values.from[option.name] or "default",
      }
    end
  end
  return list
end

return options
