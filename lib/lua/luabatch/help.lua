--- What the library's functions do, from the comments above them: the REPL's :help, and what `make docs` and the check of the
-- comments are made of.
--
-- FORMAT  A comment begins with `---`. Its text goes up to the first tag; a tag goes up to the next one:
--
--     @param name type: text     type is "integer", "string|table", "function(a, b) -> value", ...; "?" behind it: may be left out
--     @return type: text         where it is no dataset
--     @raise text                what else than a wrong type of an argument raises an error
--     @usage code                runs as it stands, with `lb`
--     @function lb.sum(column)   how the function is written, where the line below the comment does not say it
-- @module luabatch.help
local help = {}

-- Who has the functions, by the table that they are declared in.
local owners = {
  Dataset = "ds", row = "ds", action = "ds", Groups = "groups", Job = "job",
  constructors = "lb", source = "lb", row_source = "lb", lb = "lb",
}
local titles = { ds = "ds:", groups = "ds:group_by(...):", job = "job:", lb = "lb." }

-- What users may call: not all functions of those tables are for them.
local function known()
  local set = { ds = {}, lb = {}, groups = { agg = true, count = true, pivot = true }, job = { dataset = true } }
  for _, name in ipairs(require("luabatch.dataset").verbs()) do set.ds[name] = true end
  for _, name in ipairs(getmetatable(require("luabatch")).names()) do set.lb[name] = true end
  return set
end

-- Owner, name and parameters of a declaration, or nothing when it is no function's.
local function declared(line)
  local owner, separator, name, parameters = line:match("^function ([%a_][%w_]*)([%.:])([%a_][%w_]*)%((.-)%)")
  owner = owner and owners[owner]
  if owner and (separator == ".") == (owner == "lb") then return owner, name, parameters end
end

-- The same of "@function lb.sum(column)".
local function named(text)
  local owner, name, parameters = text:match("^(%a+)[%.:]([%w_]+)%((.-)%)")
  if titles[owner] then return owner, name, parameters end
end

local function words(text)
  local list = {}
  for word in text:gmatch("[^,%s]+") do list[#list + 1] = word end
  return list
end

-- "type: text", where a function's type may contain blanks and commas. The type is nil when it is not written.
local function type_of(text)
  local kind, rest = text:match("^(function%b()%??)(.*)$")
  if kind then
    local result, said = rest:match("^ *%-> *([^:]*)(.*)$")
    if result then kind, rest = kind .. " -> " .. result, said end
  else
    kind, rest = text:match("^([%a_|]+%??)(.*)$")
  end
  if not kind or rest ~= "" and rest:sub(1, 1) ~= ":" then return nil, text end
  return kind, (rest:gsub("^:%s*", ""))
end

-- A comment's lines as text and tags.
local function parts(lines)
  local text, tags = {}, {}
  for _, line in ipairs(lines) do
    local tag, rest = line:match("^@(%a+)%s*(.*)$")
    if tag then
      tags[#tags + 1] = { tag = tag, lines = { rest } }
    elseif tags[1] then
      table.insert(tags[#tags].lines, line)
    else
      text[#text + 1] = line
    end
  end
  for _, tag in ipairs(tags) do
    local all = table.concat(tag.lines, "\n"):gsub("^\n", "")
    if tag.tag == "param" then
      local name, rest = all:match("^(%S+)%s*(.*)$")
      tag.name = name
      tag.type, tag.text = type_of(rest or "")
    elseif tag.tag == "return" then
      tag.type, tag.text = type_of(all)
    else
      tag.text = all
    end
  end
  return text, tags
end

-- The functions that a module's text declares, documented or not.
local function read(file, text, set, list)
  local comment, number = {}, 0
  local module = file == "luabatch" and "init" or file:match("([%w_]+)%.lua$") or file:match("[%w_]+$")
  for line in (text .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    local said = line:match("^%-%-%-?%s?(.*)$")
    if said then
      if line:sub(1, 3) == "---" then comment = { is_doc = true } end
      comment[#comment + 1] = said
    else
      local said_lines, tags = parts(comment.is_doc and comment or {})
      local owner, name, parameters = declared(line)
      for _, tag in ipairs(tags) do
        if tag.tag == "function" then owner, name, parameters = named(tag.text) end
      end
      if owner and set[owner][name] then
        list[#list + 1] = {
          owner = owner, name = name, parameters = words(parameters), title = titles[owner] .. name .. "(" .. parameters .. ")",
          text = said_lines, tags = tags, file = file, line = number, module = module,
        }
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

--- All public functions that modules declare, by module, in the order in which they stand.
-- @param sources table from name of a file or module to text (default: the library's)
-- @return list of tables: `owner` ("lb", "ds", "groups" or "job"), `name`, `parameters` (list of names), `title`, `text` (list of lines),
--   `tags` (list of `{tag =, text =}`, with `name` and `type`), `module` ("action"), `file` (its key in sources), `line` of the
--   declaration
function help.functions(sources)
  sources = sources or texts()
  local names, set, list = {}, known(), {}
  for name in pairs(sources) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do read(name, sources[name], set, list) end
  return list
end

local topics -- by name: list of functions

local function load_topics()
  if topics then return end
  topics = {}
  for _, one in ipairs(help.functions()) do
    if #one.text > 0 then
      topics[one.name] = topics[one.name] or {}
      table.insert(topics[one.name], one)
    end
  end
end

--- Names that there is help about.
-- @return set of strings
function help.topics()
  load_topics()
  local set = {}
  for name in pairs(topics) do set[name] = true end
  for _, name in ipairs(require("luabatch.sql").functions()) do set[name] = true end
  return set
end

local shown = { raise = "raises", ["return"] = "gives", usage = "example" }

-- A comment's marks as plain text.
local function render(topic)
  local lines = { topic.title }
  for _, line in ipairs(topic.text) do lines[#lines + 1] = line ~= "" and "  " .. line:gsub("`", "") or "" end
  for _, tag in ipairs(topic.tags) do
    local first, text = tag.tag == "param" and tag.name or shown[tag.tag], tag.text
    if tag.type then first = first .. " (" .. tag.type .. ")" end
    if tag.tag == "usage" then
      -- An example of several lines stands below.
      text = (text:find("\n") and "\n" .. text or text):gsub("\n", "\n    ")
    elseif first then
      text = text:gsub("`", ""):gsub("\n", "\n  ")
    end
    if first then lines[#lines + 1] = "  " .. first .. (text == "" and "" or text:sub(1, 1) == "\n" and ":" .. text or ": " .. text) end
  end
  return table.concat(lines, "\n")
end

--- What is known about a name: "group_by", "lb.csv", "ds:map".
-- @return string
function help.topic(text)
  load_topics()
  local name = text:match("([%a_][%w_]*)%s*$") or text
  local found = topics[name]
  -- What is asked for as lb.sum is no function of SQL.
  local of_sql = not text:find "[%.:]" and require("luabatch.sql_help").topic(name)
  if not found then
    if of_sql then return of_sql end
    local names = require("luabatch.sql").functions()
    for one in pairs(topics) do names[#names + 1] = one end
    return ("no help about '%s'%s"):format(text, require("luabatch.suggest").hint(name, names))
  end
  local list = {}
  for i, topic in ipairs(found) do list[i] = render(topic) end
  list[#list + 1] = of_sql or nil
  return table.concat(list, "\n\n")
end

return help
