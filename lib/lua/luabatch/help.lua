--- What the library's functions do, from the comments above them: the REPL's :help.
-- @module luabatch.help
local help = {}

local topics -- by name: list of { title = "ds:map(f, options)", text = lines }

-- How a function is written by its user. Methods of datasets and constructors of lb are what users know.
local function title_of(declaration)
  local owner, separator, name, parameters = declaration:match("^function ([%a_][%w_]*)([%.:])([%a_][%w_]*)(%b())")
  if not owner then return nil end
  if separator == ":" then
    owner = owner:find("Group") and "ds:group_by(...)" or "ds"
  elseif owner == "constructors" or owner == "source" or owner == "row_source" or owner == "lb" then
    owner, separator = "lb", "."
  else
    return nil
  end
  return owner .. separator .. name .. parameters, name
end

local function read(text)
  local comment = {}
  for line in (text .. "\n"):gmatch("(.-)\n") do
    local said = line:match("^%-%-%-?%s?(.*)$")
    if said then
      if line:sub(1, 3) == "---" then comment = {} end
      comment[#comment + 1] = said
    else
      local title, name = title_of(line)
      if title and #comment > 0 then
        topics[name] = topics[name] or {}
        table.insert(topics[name], { title = title, lines = comment })
      end
      comment = {}
    end
  end
end

-- The texts of the library's modules: the program has them inside, elsewhere they are files.
local function texts()
  if package.preload["luabatch.sources"] then return require "luabatch.sources" end
  local directory, found = package.searchpath("luabatch.help", package.path):match("^(.*/)[^/]*$"), {}
  for _, name in ipairs(require("luabatch.terminal").list_directory(directory)) do
    local file = name:find("%.lua$") and io.open(directory .. name)
    if file then
      found[name] = file:read("a")
      file:close()
    end
  end
  return found
end

local function load_topics()
  if topics then return end
  topics = {}
  local sources = texts()
  local names = {}
  for name in pairs(sources) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do read(sources[name]) end
end

--- Names that there is help about.
-- @return set of strings
function help.topics()
  load_topics()
  local set = {}
  for name in pairs(topics) do set[name] = true end
  return set
end

-- LDoc's marks as plain text.
local function render(topic)
  local lines = { topic.title }
  for _, line in ipairs(topic.lines) do
    line = line:gsub("^@param ([%w_,%.]+)%s*", "  %1: "):gsub("^@return%s*", "  gives: "):gsub("^@usage%s*", "  example: ")
    lines[#lines + 1] = "  " .. line:gsub("`", "")
  end
  return table.concat(lines, "\n")
end

--- What is known about a name: "group_by", "lb.csv", "ds:map".
-- @return string
function help.topic(text)
  load_topics()
  local name = text:match("([%a_][%w_]*)%s*$") or text
  local found = topics[name]
  if not found then
    local names = {}
    for known in pairs(topics) do names[#names + 1] = known end
    return ("no help about '%s'%s"):format(text, require("luabatch.suggest").hint(name, names))
  end
  local parts = {}
  for i, topic in ipairs(found) do parts[i] = render(topic) end
  return table.concat(parts, "\n\n")
end

return help
