--- What is known of an SQL expression before it runs: its type, whether it may fail, its parts, its constants.
--
-- The optimiser moves only what cannot fail: a result must not depend on whether a rule was applied, nor must an error.
-- @module luabatch.sql_types
local compat = require "luabatch.compat"
local check = require "luabatch.check"
local core = require "luabatch.core"
local sql = require "luabatch.sql"

local sql_types = {}

local numeric = { integer = true, float = true, null = true }
local scalar = { integer = true, float = true, string = true, boolean = true, null = true }

-- Whether all of these types can be compared with each other, and what they have in common.
local function common(kinds)
  local found = "null"
  for _, kind in ipairs(kinds) do
    if not scalar[kind] then return nil end
    if found == "null" then
      found = kind
    elseif kind ~= "null" and kind ~= found then
      if not (numeric[kind] and numeric[found]) then return nil end
      found = "float"
    end
  end
  return found
end

local function all(kinds, wanted)
  for _, kind in ipairs(kinds) do
    if kind ~= wanted and kind ~= "null" then return false end
  end
  return true
end

local function all_in(kinds, set)
  for _, kind in ipairs(kinds) do
    if not set[kind] then return false end
  end
  return true
end

local known = {}

-- known[class](kinds of the arguments) -> type or nil, whether it cannot fail.

local function logic(kinds) return "boolean", all(kinds, "boolean") end
known["and"], known["or"], known["not"] = logic, logic, logic
local function truth() return "boolean", true end
known.is_null, known.same = truth, truth
local function comparison(kinds) return "boolean", common(kinds) ~= nil end
for _, class in ipairs { "eq", "ne", "lt", "le", "gt", "ge", "between", "in" } do known[class] = comparison end
function known.coalesce(kinds) return all(kinds, kinds[1]) and kinds[1] or nil, true end
function known.nullif(kinds) return kinds[1], common(kinds) ~= nil end
local function extreme(kinds) return all(kinds, kinds[1]) and kinds[1] or nil, common(kinds) ~= nil end
known.least, known.greatest = extreme, extreme
function known.case(kinds)
  local conditions, values = {}, {}
  for i = 1, #kinds, 2 do
    if i < #kinds then conditions[#conditions + 1] = kinds[i] end
    values[#values + 1] = kinds[i + 1] or kinds[i]
  end
  return all(values, values[1]) and values[1] or nil, all(conditions, "boolean")
end
function known.typeof() return "string", true end

-- Integers may overflow.
local function arithmetic(kinds)
  local is_float = kinds[1] == "float" or kinds[2] == "float"
  return all_in(kinds, numeric) and (is_float and "float" or "integer") or nil, is_float and all_in(kinds, numeric)
end
for _, class in ipairs { "add", "sub", "mul", "idiv", "neg", "abs" } do known[class] = arithmetic end
function known.mod(kinds)
  local kind = arithmetic(kinds)
  return kind, kind ~= nil
end
local function real(kinds) return "float", all_in(kinds, numeric) end
for _, class in ipairs { "div", "power", "sqrt", "cbrt", "ln", "exp", "log2", "log10", "sin", "cos", "tan" } do known[class] = real end
local function whole(kinds) return kinds[1], #kinds == 1 and numeric[kinds[1]] end
for _, class in ipairs { "ceil", "floor", "trunc", "round" } do known[class] = whole end

local function text(kind)
  return function(kinds) return kind, all(kinds, "string") end
end
for _, class in ipairs { "lower", "upper", "trim", "ltrim", "rtrim", "reverse", "initcap", "md5", "sha1", "sha256" } do
  known[class] = text "string"
end
for _, class in ipairs { "starts_with", "ends_with", "contains" } do known[class] = text "boolean" end
for _, class in ipairs { "length", "position", "ascii", "char_length" } do known[class] = text "integer" end
function known.like(kinds) return "boolean", #kinds == 2 and all(kinds, "string") end
known.ilike = known.like
local function joined(kinds) return "string", all_in(kinds, scalar) end
known.concat, known.join = joined, joined

function known.to_string(kinds) return "string", scalar[kinds[1]] end
function known.to_float(kinds) return "float", numeric[kinds[1]] or kinds[1] == "boolean" end
function known.to_integer(kinds) return "integer", kinds[1] == "integer" or kinds[1] == "boolean" or kinds[1] == "null" end
function known.to_boolean(kinds) return "boolean", numeric[kinds[1]] or kinds[1] == "boolean" end
for _, kind in ipairs { "integer", "float", "string", "boolean" } do
  known["try_" .. kind] = function() return kind, true end
end

local function literal_type(value)
  if value == nil then return "null" end
  return compat.math_type(value) or type(value)
end

--- The type of an expression and whether it cannot fail, for columns of these types.
-- @param source text of the expression
-- @param names the columns
-- @param types map from names to types, as far as known
-- @return "boolean", "integer", "float", "string", "null" or nil; boolean
function sql_types.of(source, names, types)
  local program = sql.compile(source, names)
  if not program then return nil, false end
  local kinds, safe = {}, {}
  for i, step in ipairs(program.steps) do
    local class = step[1]
    if class == "column" then
      local kind = types[names[step[4]]]
      kinds[i], safe[i] = scalar[kind] and kind or "any", true
    elseif class == "literal" then
      kinds[i], safe[i] = literal_type(step[4]), true
    else
      local of, is_safe = {}, known[class] ~= nil
      for j = 4, #step do
        of[j - 3] = kinds[step[j]]
        is_safe = is_safe and safe[step[j]]
      end
      local kind, cannot_fail
      if known[class] then kind, cannot_fail = known[class](of) end
      kinds[i], safe[i] = kind or "any", is_safe and cannot_fail and true or false
    end
  end
  local last = #program.steps
  return kinds[last] ~= "any" and kinds[last] or nil, safe[last]
end

-- Replaces parts of a text: a list of { from, to, text }, which do not overlap. What becomes of a part stays a word of its own:
-- where `or"a"` has quotes, `or b` needs a blank.
local function replace(source, parts)
  table.sort(parts, function(a, b) return a[1] < b[1] end)
  local out, at = "", 1
  local function append(piece)
    local is_joined = out:find "[%w_.]$" and piece:find "^[%w_.]"
    out = out .. (is_joined and " " or "") .. piece
  end
  for _, part in ipairs(parts) do
    if part[1] >= at then
      append(source:sub(at, part[1] - 1))
      append(part[3])
      at = part[2] + 1
    end
  end
  append(source:sub(at))
  return out
end

--- A column's name as an expression has it: in quotes only when these are needed.
function sql_types.name(name)
  local program = name:find "^[%a_][%w_]*$" and sql.compile(name, { name })
  if program and #program.steps == 1 and program.steps[1][1] == "column" then return name end
  return '"' .. name:gsub('"', '""') .. '"'
end

--- The same expression over columns of other names.
-- @param map from each name that it reads to the new one
function sql_types.rename(source, names, map)
  local program, parts = sql.compile(source, names), {}
  for _, step in ipairs(program.steps) do
    local name = step[1] == "column" and names[step[4]]
    if name and map[name] ~= name then parts[#parts + 1] = { step[2], step[3], sql_types.name(map[name]) } end
  end
  return replace(source, parts)
end

--- The operands of the outermost `and`s.
-- @return list of { text, used = list of names }
function sql_types.conjuncts(source, names)
  local program = sql.compile(source, names)
  local list = {}
  local function add(number)
    local step = program.steps[number]
    if step[1] == "and" then
      for i = 4, #step do add(step[i]) end
      return
    end
    local part = source:sub(step[2], step[3])
    local _, used = sql.compile(part, names)
    list[#list + 1] = { text = part, used = used }
  end
  add(#program.steps)
  return list
end

--- Conditions as one; those that are always true are left out.
function sql_types.conjunction(list)
  local left = {}
  for _, part in ipairs(list) do
    if part.text ~= "true" then left[#left + 1] = part end
  end
  list = left[1] and left or { list[1] }
  if #list == 1 then return list[1].text end
  local texts = {}
  for i, part in ipairs(list) do
    local program = sql.compile(part.text, part.used)
    local is_loose = not program or program.steps[#program.steps][1] == "or"
    texts[i] = is_loose and not part.text:find "^%b()$" and "(" .. part.text .. ")" or part.text
  end
  return table.concat(texts, " and ")
end

-- A value, which JSON has as `written`, as an expression has it; nil when none means it.
local function constant(value, written)
  if value == nil then return "null" end
  local kind = type(value)
  if kind == "boolean" then return tostring(value) end
  if kind == "string" then return "'" .. value:gsub("'", "''") .. "'" end
  if not compat.math_type(value) or value ~= value or value - value ~= 0 then return nil end
  return written:sub(1, 1) == "-" and "(" .. written .. ")" or written
end

--- The same expression with its constant parts computed. What fails, or gives a table, stays: perhaps no row comes to it.
function sql_types.fold(source, names)
  local program = sql.compile(source, names)
  local is_constant, parts = {}, {}
  local steps = program.steps
  for i, step in ipairs(steps) do
    is_constant[i] = step[1] ~= "column"
    if step[1] ~= "literal" then
      for j = 4, #step do is_constant[i] = is_constant[i] and is_constant[step[j]] end
    end
  end
  local function visit(number)
    local step = steps[number]
    if step[1] == "literal" or step[1] == "column" then return end
    if is_constant[number] then
      local part = source:sub(step[2], step[3])
      local alone = sql.compile(part, {})
      local ok, value, json = false, nil, nil
      if alone then ok, value, json = pcall(core.evaluate, alone) end
      if not ok then check.pass_on(value) end
      local written = ok and constant(value, json)
      if written then
        parts[#parts + 1] = { step[2], step[3], written }
        return
      end
    end
    for j = 4, #step do visit(step[j]) end
  end
  visit(#steps)
  local folded = #parts > 0 and replace(source, parts) or source
  return sql.compile(folded, names) and folded or source
end

return sql_types
