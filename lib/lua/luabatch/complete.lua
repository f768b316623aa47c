--- What Tab completes in the REPL: names of globals and fields, verbs of datasets, columns, files, commands.
--
-- Nothing is called and no metamethod of the user's runs: only what can be looked at is looked at.
-- @module luabatch.complete
local complete = {}

local keywords = {
  "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil", "not", "or",
  "repeat", "return", "then", "true", "until", "while",
}

-- Functions and verbs whose strings are paths.
local takes_path = {
  text = true, csv = true, tsv = true, json = true, files = true, read = true, save = true, save_text = true,
  save_csv = true, save_tsv = true, save_json = true, loadfile = true, dofile = true, open = true, load = true,
}

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

-- The value of a path such as "t.inner.x", without running anything; nil when there is none.
local function value_of(path)
  local value = _G
  for name in path:gmatch("[%a_][%w_]*") do
    if type(value) ~= "table" then return nil end
    value = rawget(value, name)
  end
  return value
end

local function is_dataset(value)
  local dataset = package.loaded["luabatch.dataset"]
  return dataset and dataset.is(value)
end

-- Names that may follow "value." or "value:".
local function fields_of(value)
  local names = {}
  if is_dataset(value) then
    for _, name in ipairs(require("luabatch.dataset").verbs()) do names[name] = true end
  elseif value == package.loaded.luabatch then
    for _, name in ipairs(getmetatable(value).names()) do names[name] = true end
  elseif type(value) == "string" then
    for name in pairs(string) do names[name] = true end
  elseif type(value) == "table" then
    for name in pairs(value) do
      if type(name) == "string" and name:find("^[%a_][%w_]*$") then names[name] = true end
    end
    local meta = debug.getmetatable(value)
    local index = type(meta) == "table" and rawget(meta, "__index")
    if type(index) == "table" then
      for name in pairs(index) do
        if type(name) == "string" and name:find("^[%a_][%w_]*$") then names[name] = true end
      end
    end
  end
  return names
end

-- Paths that begin with text; directories end in "/".
local function files(text)
  local directory = text:match("^(.*/)[^/]*$") or ""
  local names = {}
  for _, name in ipairs(require("luabatch.terminal").list_directory(directory == "" and "." or directory)) do
    if name:sub(1, 1) ~= "." or text:sub(#directory + 1, #directory + 1) == "." then names[directory .. name] = true end
  end
  return names
end

-- The string that is open at the end of the text: what it holds so far, and what stands before it.
local function open_string(text)
  local i, start, quote = 1, nil, nil
  while i <= #text do
    local c = text:sub(i, i)
    if quote then
      if c == "\\" then
        i = i + 1
      elseif c == quote then
        quote, start = nil, nil
      end
    elseif c == '"' or c == "'" then
      quote, start = c, i
    elseif text:find("^%-%-", i) then
      return nil
    end
    i = i + 1
  end
  if start then return text:sub(start + 1), text:sub(1, start - 1) end
end

-- Candidates for the end of the text, and the part of it that they complete.
local function candidates(text, commands)
  local command, rest = text:match("^%s*:(%a*)(.*)$")
  if command and rest == "" then
    local names = {}
    for name in pairs(commands) do names[name .. " "] = true end
    return names, command
  end
  if command == "load" then return files(rest:match("^%s*(.*)$")), rest:match("^%s*(.*)$") end
  if command == "help" then return commands[command].topics(), rest:match("^%s*(.*)$") end
  text = command and rest or text

  local inside, before = open_string(text)
  if inside then
    local object = before:match("([%a_][%w_%.]*)%s*:%s*[%a_][%w_]*[^;]*$")
    local dataset = object and value_of(object)
    local caller = before:match("([%a_][%w_]*)%s*[%({]*%s*$")
    if is_dataset(dataset) and not (caller and takes_path[caller]) then
      local names = {}
      for _, name in ipairs(dataset._node.names or {}) do names[name] = true end
      return names, inside:match("[%w_]*$")
    end
    return files(inside), inside
  end

  local path, word = text:match("([%a_][%w_%.]*)%s*[%.:]%s*([%a_]?[%w_]*)$")
  if path then return fields_of(value_of(path)), word end
  -- After a call: nobody knows what it gives; most likely it is a dataset.
  word = text:match("[%)\"'}%]]%s*:%s*([%a_]?[%w_]*)$")
  if word then
    local names = {}
    for _, name in ipairs(require("luabatch.dataset").verbs()) do names[name] = true end
    return names, word
  end
  word = text:match("[%a_][%w_]*$")
  if not word then return {}, "" end
  local names = {}
  for name in pairs(_G) do
    if type(name) == "string" and name:find("^[%a_][%w_]*$") then names[name] = true end
  end
  for _, name in ipairs(keywords) do names[name] = true end
  return names, word
end

--- Completes the end of a line.
-- @param text the line up to the cursor
-- @param commands the REPL's commands by name
-- @return text to insert at the cursor ("" for nothing), sorted list of candidates
function complete.line(text, commands)
  local names, word = candidates(text, commands)
  local fitting = {}
  for name in pairs(names) do
    if name:sub(1, #word) == word then fitting[name] = true end
  end
  local list = sorted(fitting)
  if #list == 0 then return "", list end
  local common = list[1]
  for _, name in ipairs(list) do
    while name:sub(1, #common) ~= common do common = common:sub(1, -2) end
  end
  return common:sub(#word + 1), list
end

--- A list of candidates in columns.
-- @param list strings
-- @param width cells of the window
function complete.columns(list, width)
  local core = require "luabatch.core"
  local widest, shown = 0, {}
  for i, name in ipairs(list) do
    local text, cells = core.printable(name)
    shown[i] = { text, cells }
    widest = math.max(widest, cells)
  end
  local per_line = math.max(1, math.floor((width or 80) / (widest + 2)))
  local lines, parts = {}, {}
  for i, one in ipairs(shown) do
    parts[#parts + 1] = one[1] .. (" "):rep(widest + 2 - one[2])
    if i % per_line == 0 or i == #shown then
      lines[#lines + 1] = (table.concat(parts):gsub("%s+$", ""))
      parts = {}
    end
  end
  return table.concat(lines, "\n")
end

return complete
