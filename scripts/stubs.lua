-- Writes what is made of the comments above public functions: luabatch scripts/stubs.lua DIRECTORY
--
--   DIRECTORY/luabatch.lua   LuaCATS annotations, which lua-language-server reads: completion, types and texts in editors
--   DIRECTORY/ldoc/*.lua     the same functions by the names that users write, for LDoc
local help = require "luabatch.help"

local directory = assert(arg[1], "usage: luabatch scripts/stubs.lua DIRECTORY")

-- The functions of one name are one: `join` of pairs and of rows. By owner, in order.
local function merged()
  local by_owner, by_title = {}, {}
  for _, one in ipairs(help.functions()) do
    local known = by_title[one.title]
    if known then
      table.insert(known.text, "")
      for _, line in ipairs(one.text) do table.insert(known.text, line) end
      for i, tag in ipairs(one.tags) do
        local same
        for _, other in ipairs(known.tags) do
          if other.tag == "param" and tag.tag == "param" and other.name == tag.name then same = other end
        end
        if same and same.text ~= tag.text then
          same.text = same.text .. ". " .. tag.text
        elseif not same and tag.tag ~= "function" then
          table.insert(known.tags, one.tags[i])
        end
      end
    else
      by_title[one.title] = one
      by_owner[one.owner] = by_owner[one.owner] or {}
      table.insert(by_owner[one.owner], one)
    end
  end
  return by_owner
end

local classes = {
  { "ds", "dataset", "An immutable, lazy description of records: verbs make others of it, actions run it." },
  { "groups", "groups", "Groups of rows, given by `group_by`." },
  { "job", "job", "Steps of mappers and reducers, given by `lb.job`." },
}
local others = {
  {
    "counter", "A counter of all threads.",
    { "---@param n? integer", "function counter:add(n) end", "---@return integer", "function counter:value() end" },
  },
  { "aggregate", "For `agg`, `pivot` and `window`; one of your own is called with its columns.", {} },
  { "window_function", "For `window`.", {} },
  { "window", "A window of time, for `group_by`.", {} },
  { "order", "A column in descending order.", {} },
}

local simple = {
  value = "any", list = "any[]", ["function"] = "fun(...: any): any", dataset = "luabatch.dataset", groups = "luabatch.groups",
  job = "luabatch.job", key = "any", state = "any",
}
for _, other in ipairs(others) do simple[other[1]] = "luabatch." .. other[1] end

-- A type of the comments as one of LuaCATS.
local function luacats(kind)
  local inside, result = kind:match "^function(%b())%??%s*%-?>?%s*(.*)$"
  if inside then
    local list = {}
    for name in inside:gmatch "[%w_%.]+" do
      if name:find "%.%.%.$" then
        list[#list + 1] = "...: any"
      else
        local callable = name == "emit" or name == "iterator" or name == "values"
        list[#list + 1] = name .. (callable and ": fun(...: any): any" or ": any")
      end
    end
    -- What stands behind the dots of a record cannot be written.
    for i = 1, #list - 1 do
      if list[i] == "...: any" then list = { "...: any" } break end
    end
    local gives = result == "values" and ":..." or result ~= "" and ": any" or ""
    return ("fun(%s)%s"):format(table.concat(list, ", "), gives)
  end
  return (kind:gsub("%?$", ""):gsub("[%a_]+", simple))
end

-- "integer?" may be left out; of "function(a) -> list?" it is the result.
local function is_optional(tag) return tag.type:find(tag.type:find "^function%(" and "^function%b()%?" or "%?$") ~= nil end

-- A text of several lines as one.
local function one_line(text) return (text:gsub("%s*\n%s*", " ")) end

local function annotated(out, one, owner)
  local function add(...) out[#out + 1] = table.concat { ... } end
  for _, line in ipairs(one.text) do add("---", line) end
  local gives
  for _, tag in ipairs(one.tags) do
    if tag.tag == "usage" then
      add "---"
      add "---```lua"
      for line in (tag.text .. "\n"):gmatch "(.-)\n" do add("---", line) end
      add "---```"
    elseif tag.tag == "raise" then
      add "---"
      add("---Raises: ", one_line(tag.text))
    end
  end
  for _, tag in ipairs(one.tags) do
    if tag.tag == "param" then
      local name = tag.name ~= "..." and is_optional(tag) and tag.name .. "?" or tag.name
      add("---@param ", name, " ", luacats(tag.type), tag.text ~= "" and " " or "", one_line(tag.text))
    elseif tag.tag == "return" then
      gives = luacats(tag.type)
      add("---@return ", gives, tag.text ~= "" and " # " or "", one_line(tag.text))
    end
  end
  if not gives and one.module ~= "action" and one.owner ~= "lb" then add "---@return luabatch.dataset" end
  add("function ", owner, one.owner == "lb" and "." or ":", one.name, "(", table.concat(one.parameters, ", "), ") end")
  add ""
end

local function append(out, lines)
  for _, line in ipairs(lines) do out[#out + 1] = line end
end

local function write(name, lines)
  local path = directory .. "/" .. name
  local file = assert(io.open(path, "w"))
  assert(file:write(table.concat(lines, "\n"), "\n"))
  file:close()
end

local all = merged()

local function stubs()
  local out = { "---@meta luabatch", "-- Annotations for lua-language-server, made by `make docs`.", "" }
  for _, other in ipairs(others) do
    append(out, { "---" .. other[2], "---@class luabatch." .. other[1] })
    if other[1] == "aggregate" then append(out, { "---@overload fun(...: string|function): luabatch.aggregate" }) end
    append(out, { "local " .. other[1] .. " = {}" })
    append(out, other[3])
    out[#out + 1] = ""
  end
  for _, class in ipairs(classes) do
    append(out, { "---" .. class[3], "---@class luabatch." .. class[2], "local " .. class[2] .. " = {}", "" })
    for _, one in ipairs(all[class[1]]) do annotated(out, one, class[2]) end
  end
  append(out, {
    "---Batch jobs over large data, on all cores.", "---@class luabatch", "---@field version string the library's version",
    "---@field options table options of the job, from its defaults and the command line", "local lb = {}", "",
  })
  for _, one in ipairs(all.lb) do annotated(out, one, "lb") end
  out[#out + 1] = "return lb"
  return out
end

-- Where the functions of a page stand in it, by their module.
local sections = {
  source = "Sources", row_source = "Sources of rows", aggregates = "Aggregates", window = "Window functions",
  windows = "Windows of time", job = "Jobs", init = "Counters", row = "Verbs of rows",
  dataset = "Verbs", by_key = "Verbs by key", action = "Actions", save = "Actions that write files", groups = "Groups",
}

local function page(owner, name, about)
  local out, section = { "--- " .. about, "-- @module " .. name, "" }, nil
  for _, one in ipairs(all[owner]) do
    local wanted = owner == "lb" and one.module == "row" and "Order" or sections[one.module]
    if wanted ~= section then
      section = wanted
      append(out, { "--- " .. section, "-- @section " .. section:lower():gsub("%W", "_"), "" })
    end
    for i, line in ipairs(one.text) do out[#out + 1] = (i == 1 and "--- " or "-- ") .. line end
    out[#out + 1] = "-- @function " .. name .. (owner == "lb" and "." or ":") .. one.name
    for _, tag in ipairs(one.tags) do
      local text = tag.text:gsub("\n", "\n-- ")
      if tag.tag == "param" then
        out[#out + 1] = ("-- @param %s `%s` %s"):format(tag.name, tag.type, text)
      elseif tag.tag == "return" then
        out[#out + 1] = ("-- @return `%s` %s"):format(tag.type, text)
      elseif tag.tag == "raise" then
        out[#out + 1] = "-- @raise " .. text
      elseif tag.tag == "usage" then
        out[#out + 1] = "-- @usage\n-- " .. text
      end
    end
    out[#out + 1] = ""
  end
  return out
end

write("luabatch.lua", stubs())
write("ldoc/lb.lua", page("lb", "lb", "What `require \"luabatch\"` gives: sources of datasets, aggregates, functions of windows."))
for _, class in ipairs(classes) do write("ldoc/" .. class[2] .. ".lua", page(class[1], class[2], class[3])) end
