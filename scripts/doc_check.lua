-- Checks the comments of public functions: luabatch scripts/doc_check.lua, in the top directory. Says what is missing, a line each:
-- the description, @param with a type for each parameter, @return where something else than a dataset is returned, @usage.
local help = require "luabatch.help"
local terminal = require "luabatch.terminal"

local DIRECTORY = "lib/lua/luabatch/"

local texts, lines_of = {}, {}
for _, name in ipairs(terminal.list_directory(DIRECTORY)) do
  if name:find("%.lua$") then
    local file = assert(io.open(DIRECTORY .. name))
    texts[name] = file:read("a")
    file:close()
    lines_of[name] = {}
    for line in texts[name]:gmatch("([^\n]*)\n") do table.insert(lines_of[name], line) end
  end
end

-- Whether the function that is declared at a line gives something, not counting what functions inside it give. nil: it is not here.
local function gives_value(one)
  local lines, inside = lines_of[one.file], nil
  if not lines[one.line]:find("^function ") then return nil end
  for i = one.line, #lines do
    local line = lines[i]
    if inside then
      if line:find("^" .. inside .. "end") then inside = nil end
    elseif i > one.line and line:find("function[%w_ ]*%b()$") then
      inside = line:match("^ *")
    elseif line:find("%f[%w]return%f[%W] *[^%s]") and not line:find("return nil") then
      return true
    end
    if line == "end" or i == one.line and line:find(" end$") then return false end
  end
end

local found = {}
local function say(one, format, ...)
  found[#found + 1] = ("%s%s:%d: %s: "):format(DIRECTORY, one.file, one.line, one.title) .. format:format(...)
end

-- Those whose result is a dataset when the comment does not say otherwise.
local function is_verb(one)
  return (one.owner == "ds" or one.owner == "groups") and one.module ~= "action"
end

local seen = {}
for _, one in ipairs(help.functions(texts)) do
  seen[one.owner .. "." .. one.name] = true
  if #one.text == 0 or one.text[1] == "" then say(one, "no description") end
  local described, has = {}, {}
  for _, tag in ipairs(one.tags) do
    has[tag.tag] = true
    if tag.tag == "param" then
      described[tag.name] = true
      if not tag.type then say(one, "@param %s has no type (`-- @param %s integer: how many`)", tag.name, tag.name) end
    elseif tag.tag == "return" and not tag.type then
      say(one, "@return has no type")
    end
  end
  local parameters = {}
  for _, name in ipairs(one.parameters) do
    parameters[name] = true
    if not described[name] then say(one, "no @param %s", name) end
  end
  for name in pairs(described) do
    if not parameters[name] then say(one, "@param %s is no parameter", name) end
  end
  if not has["return"] and not is_verb(one) and gives_value(one) ~= false then say(one, "no @return") end
  if not has.usage then
    say(one, "no @usage")
  else
    for _, tag in ipairs(one.tags) do
      if tag.tag == "usage" and not (load("return " .. tag.text) or load(tag.text)) then say(one, "@usage is not Lua") end
    end
  end
end

-- What users can call and no comment is about.
local names = {}
for _, name in ipairs(require("luabatch.dataset").verbs()) do names[#names + 1] = "ds." .. name end
for _, name in ipairs(getmetatable(require("luabatch")).names()) do
  if name ~= "options" and name ~= "version" then names[#names + 1] = "lb." .. name end
end
for _, name in ipairs(names) do
  if not seen[name] then found[#found + 1] = DIRECTORY .. ": nothing is said about " .. name end
end

table.sort(found)
for _, line in ipairs(found) do print(line) end
os.exit(#found == 0)
