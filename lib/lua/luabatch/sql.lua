--- SQL expressions: from text to programs for the engine's operators `compute` and `where`.
--
-- From the loosest to the tightest: `or`; `and`; `not`; `is [not] null|true|false|distinct from`; `= == <> != ~= < <= > >=`,
-- `[not] in|between|like|ilike|rlike`; `||`; `+ -`; `* / // %`; `-`; `^`; `::type`. Keywords and functions are known in any case, columns
-- only as they are spelt; "quoted" or `quoted` names may hold anything. Strings are 'it''s'.
--
-- `t[1]`, `t['key']` and `t.key` look into tables. A pattern of `rlike` and of the functions regexp_... is PCRE2's.
--
-- NULL is nil and logic is three-valued. Arithmetic is Lua's, but integer overflow is an error and a zero divisor gives NULL; `/` gives
-- a float, `//` and `%` round down. Comparing values of different types is an error. Strings are bytes: `length`, `substr`,
-- `_` of `like` count bytes, `upper` and `lower` change ASCII only. `ceil floor round abs` keep the type; `concat least greatest` pass over
-- NULLs. Times are seconds since 1970 or ISO 8601 text, whose fields are read as written; only `epoch` minds the zone.
-- @module luabatch.sql
local compat = require "luabatch.compat"
local lpeg = require "lpeg"
local check = require "luabatch.check"
local core = require "luabatch.core"
local suggest = require "luabatch.suggest"

local sql = {}

local MAX_NESTED = 200 -- brackets and cases
local MAX_DEPTH = 2000 -- of a tree, which a chain of operators makes deep, too; ORDER depth of src/core/expr/expr.c

-- Functions by name: class in programs (src/core/expr), least and most arguments.
local functions = {}

-- "name least most" (*: any number), or "name least most class" where the class has another name.
for line in ([[
  abs 1 1; ceil 1 1; floor 1 1; trunc 1 1; round 1 2; sign 1 1; mod 2 2; sqrt 1 1; cbrt 1 1; exp 1 1; ln 1 1; log2 1 1; log10 1 1;
  power 2 2; sin 1 1; cos 1 1; tan 1 1; asin 1 1; acos 1 1; atan 1 1; atan2 2 2; sinh 1 1; cosh 1 1; tanh 1 1; degrees 1 1;
  radians 1 1; pi 0 0; isnan 1 1; isinf 1 1; isfinite 1 1; gcd 2 2; lcm 2 2; bit_and 2 2; bit_or 2 2; bit_xor 2 2;
  shift_left 2 2; shift_right 2 2; bit_count 1 1;
  lower 1 1; upper 1 1; initcap 1 1; length 1 1; char_length 1 1; substr 2 3; left 2 2; right 2 2; trim 1 2; ltrim 1 2; rtrim 1 2;
  lpad 2 3; rpad 2 3; repeat 2 2; reverse 1 1; replace 3 3; translate 3 3; concat 1 *; concat_ws 2 *; split 2 2;
  split_part 3 3; starts_with 2 2; ends_with 2 2; contains 2 2; instr 2 2 position; ascii 1 1; chr 1 1; printf 1 *; folder_name 2 2;
  regexp_matches 2 3; regexp_full_match 2 3; regexp_count 2 3; regexp_extract 2 4; regexp_extract_all 2 4; regexp_replace 3 4;
  regexp_split 2 3; md5 1 1; sha1 1 1; sha256 1 1; sha2 2 2; hash 1 1; hex 1 1; unhex 1 1; base64 1 1; from_base64 1 1;
  coalesce 1 *; nullif 2 2; least 1 *; greatest 1 *; ifnull 2 2 coalesce; if 3 3 case; typeof 1 1; element 2 2;
  list_contains 2 2; year 1 1; quarter 1 1; month 1 1; week 1 1; day 1 1; hour 1 1; minute 1 1; second 1 1; dayofweek 1 1;
  isodow 1 1; dayofyear 1 1; isoyear 1 1; monthname 1 1; dayname 1 1; date 1 1; last_day 1 1; make_date 3 3; date_trunc 2 2;
  date_add 2 3; date_sub 2 3; date_diff 3 3; epoch 1 1; to_timestamp 1 1; strftime 2 2; strptime 2 2; try_strptime 2 2;
  time_like 2 2;
]]):gmatch "[^;\n]+" do
  local name, least, most, class = line:match "^%s*(%S+) (%d+) ([%d*]+) ?(%S*)"
  if name then functions[name] = { class ~= "" and class or name, tonumber(least), tonumber(most) or math.huge } end
end
functions.log = { { "log10", "log_base" }, 1, 2 } -- the class by the number of arguments

-- Names that others give them.
local other_names = {}
for name, known in ([[substring substr; ceiling ceil; pow power; len length; octet_length length; character_length char_length;
  lcase lower; ucase upper; strpos instr; prefix starts_with; suffix ends_with; startswith starts_with; endswith ends_with;
  string_split split; format_string printf; regexp_like regexp_matches; regexp_substr regexp_extract; sha sha1;
  to_base64 base64; unbase64 from_base64; to_hex hex; from_hex unhex; nvl ifnull; iff if; list_element element;
  array_contains list_contains; dayofmonth day; weekofyear week; day_of_week dayofweek; day_of_year dayofyear; to_date date;
  dateadd date_add; datediff date_diff; unix_timestamp epoch; from_unixtime to_timestamp; make_timestamp to_timestamp;
  truncate trunc; is_nan isnan]]):gmatch "([%w_]+) ([%w_]+)" do
  functions[name], other_names[name] = functions[known], known
end

-- What extract and date_part take, and which function gives it.
local date_parts = {
  year = "year", quarter = "quarter", month = "month", week = "week", day = "day", hour = "hour", minute = "minute",
  second = "second", dow = "dayofweek", dayofweek = "dayofweek", isodow = "isodow", doy = "dayofyear", dayofyear = "dayofyear",
  isoyear = "isoyear", epoch = "epoch",
}

-- Those with a syntax of their own, for suggestions.
local function_names = { "cast", "try_cast", "position", "extract", "date_part" }
for name in pairs(functions) do function_names[#function_names + 1] = name end
table.sort(function_names)

-- Names of other languages, and what does it here.
local elsewhere = {}
for words, hint in pairs {
  ["now today current_date current_time current_timestamp getdate sysdate localtimestamp"] =
    "; the time of the run is put in from Lua: os.date '%Y-%m-%d', os.time()",
  ["random rand uuid"] = "; it would not be the same again: add the column with a Lua function",
  ["date_format to_char format_date"] = "; did you mean 'strftime'?",
  ["str_to_date parse_date to_time"] = "; did you mean 'strptime'?",
  ["time_bucket date_bin"] = "; did you mean 'date_trunc', or lb.tumble in group_by?",
  ["sum avg mean count min max median stddev string_agg group_concat listagg array_agg collect_list"] =
    "; aggregates such as lb.sum stand in agg and window, outside of expressions",
  ["row_number rank lag lead first_value last_value"] = "; window functions such as lb.rank stand in window",
  ["json_extract json_extract_string json_value get_json_object"] = "; a value in a table is read as t.key or t[1]",
  ["nil"] = "; it is written null", ["isnull is_null"] = "; it is written x is null",
} do
  for word in words:gmatch "%S+" do elsewhere[word] = hint end
end

local function hint_of(name, names)
  return elsewhere[name:lower()] or suggest.hint(name, names)
end

local types = {
  integer = "integer", int = "integer", bigint = "integer", float = "float", double = "float", real = "float",
  string = "string", text = "string", varchar = "string", boolean = "boolean", bool = "boolean", date = "date",
}
local type_names = {}
for name in pairs(types) do type_names[#type_names + 1] = name end
table.sort(type_names)

local LINE_BYTES, AROUND_BYTES = 200, 62 -- of an expression, in a message

local keywords = {}
for word in ("and or not is null true false in between like ilike escape case when then else end as distinct from"):gmatch "%a+" do
  keywords[word] = true
end

-- Raised while compiling, caught by sql.compile: a message and where in the text.
local function fail(position, format, ...)
  error({ position = position, message = format:format(...) }, 0)
end

-- Nodes of the syntax tree: class, from, to (bytes of the text), depth, then argument nodes. A literal has `value`, a column
-- `name`.

local function node_of(class, from, to, arguments)
  local depth = 0
  for _, argument in ipairs(arguments) do depth = math.max(depth, argument.depth or 0) end
  if depth >= MAX_DEPTH then fail(from, "nested more than %d deep, long chains of operators included", MAX_DEPTH) end
  arguments.class, arguments.from, arguments.to, arguments.depth = class, from, to, depth + 1
  return arguments
end

local function node(class, from, to, ...)
  return node_of(class, from, to, { ... })
end

local function unary(class, from, argument)
  return node(class, from, argument.to, argument)
end

local function negated(is_negated, tree)
  return is_negated and node("not", tree.from, tree.to, tree) or tree
end

-- {first, class, operand, class, operand...} to the left.
local function fold_left(list)
  local tree = list[1]
  for i = 2, #list, 2 do
    local right = list[i + 1]
    tree = node(list[i], tree.from, right.to, tree, right)
  end
  return tree
end

local function chain(class)
  return function(list)
    if #list == 1 then return list[1] end
    return node_of(class, list[1].from, list[#list].to, list)
  end
end

local function parse_number(from, text, to)
  -- It reads "1" as an integer while it fits, as Lua source does.
  local value = compat.number(text)
  return { class = "literal", from = from, to = to - 1, value = value, text = text }
end

-- -9223372036854775808 is a number, though its digits alone are none that fits.
local function negate(from, tree)
  if tree.text then
    return { class = "literal", from = from, to = tree.to, value = compat.number("-" .. tree.text) }
  end
  return unary("neg", from, tree)
end

-- {position, is minus, position, is minus...} before a tree.
local function signed(signs, tree)
  for i = #signs - 1, 1, -2 do
    if signs[i + 1] then tree = negate(signs[i], tree) end
  end
  return tree
end

-- {base, signs, exponent, signs, exponent...}: to the right, where signs stand before all that follows.
local function fold_powers(list)
  local tree = list[#list]
  for i = #list - 2, 1, -2 do
    tree = signed(list[i + 1], tree)
    tree = node("power", list[i].from, tree.to, list[i], tree)
  end
  return tree
end

-- extract(part from time), date_part('part', time).
local function date_part(from, part, part_from, time, to)
  local class = date_parts[part:lower()]
  if not class then
    local names = {}
    for name in pairs(date_parts) do names[#names + 1] = name end
    table.sort(names)
    fail(part_from, "a time has no '%s'%s", part, suggest.hint(part, names))
  end
  return node(class, from, to - 1, time)
end

-- A pattern that is a literal is checked now; the mark stands under what is wrong in it.
local function check_pattern(tree)
  local pattern, flags = tree[2], tree.class:match "^regexp_[mfcs]" and tree[3] or tree[4]
  if pattern.class ~= "literal" or type(pattern.value) ~= "string" then return end
  if flags and (flags.class ~= "literal" or type(flags.value) ~= "string") then return end
  local problem, at = core.check_regexp(pattern.value, flags and flags.value or "")
  if not problem then return end
  if at == 0 then fail(flags and flags.from or pattern.from, "%s", problem) end
  local _, n_quotes = pattern.value:sub(1, at - 1):gsub("'", "")
  fail(pattern.from + at + n_quotes, "%s", problem)
end

local function rlike(is_not, pattern)
  return function(left)
    local tree = node("regexp_matches", left.from, pattern.to, left, pattern)
    check_pattern(tree)
    return negated(is_not, tree)
  end
end

local function call(from, name, arguments, to)
  local entry = functions[name:lower()]
  if name:lower() == "extract" then fail(from, "it is written extract(year from time)") end
  if name:lower() == "date_part" then
    local part = arguments[1]
    if #arguments ~= 2 or part.class ~= "literal" or type(part.value) ~= "string" then
      fail(from, "it is written date_part('year', time)")
    end
    return date_part(from, part.value, part.from, arguments[2], to)
  end
  if not entry then
    fail(from, "there is no function '%s'%s", name, hint_of(name, function_names))
  end
  local class, least, most = entry[1], entry[2], entry[3]
  if #arguments < least or #arguments > most then
    local wanted = least == most and tostring(least)
      or most < math.huge and ("%d %s %d"):format(least, most > least + 1 and "to" or "or", most) or "at least " .. least
    fail(from, "%s takes %s argument%s, got %d", name:lower(), wanted, wanted == "1" and "" or "s", #arguments)
  end
  local tree = node_of(type(class) == "table" and class[#arguments] or class, from, to - 1, arguments)
  if class == "date_add" or class == "date_sub" or class == "date_diff" or class == "date_trunc" then
    local unit = arguments[1]
    if (#arguments == 3 or class == "date_trunc") and unit.class == "column" and not unit.is_quoted and date_parts[unit.name:lower()] then
      fail(unit.from, "the unit is written '%s'", unit.name)
    end
  end
  if tree.class:find "^regexp_" then check_pattern(tree) end
  return tree
end

local function cast(from, prefix, argument, type_from, type_name, to)
  local kind = types[type_name:lower()]
  if not kind then
    local hint = suggest.hint(type_name, type_names)
    fail(type_from, "there is no type '%s'%s", type_name, hint ~= "" and hint or "; there are boolean, date, float, integer and string")
  end
  if kind == "date" then return node(prefix == "to_" and "date" or "try_date", from, to - 1, argument) end
  return node(prefix .. kind, from, to - 1, argument)
end

-- `case x when v` compares x anew each time: every step of a program has one user.
local function case(from, subject, branches, otherwise, to)
  local tree = {}
  for i = 1, #branches, 2 do
    local condition = branches[i]
    if subject then condition = node("eq", condition.from, condition.to, subject, condition) end
    tree[i], tree[i + 1] = condition, branches[i + 1]
  end
  if otherwise then tree[#branches + 1] = otherwise end
  return node_of("case", from, to - 1, tree)
end

local function literal(value)
  return function(from, to)
    return { class = "literal", from = from, to = to - 1, value = value }
  end
end

local function parenthesised(from, tree, to)
  tree.from, tree.to, tree.text = from, to - 1, nil
  return tree
end

-- What may follow an operand on the level of comparisons: functions from the operand to a tree.
local function comparison(class, right)
  return function(left) return node(class, left.from, right.to, left, right) end
end

local function between(is_not, low, high)
  return function(left) return negated(is_not, node("between", left.from, high.to, left, low, high)) end
end

local function in_list(is_not, list, to)
  return function(left)
    return negated(is_not, node_of("in", left.from, to - 1, table.move(list, 1, #list, 2, { left })))
  end
end

local function like(is_not, class, pattern, escape)
  return function(left)
    return negated(is_not, node(class, left.from, (escape or pattern).to, left, pattern, escape))
  end
end

local function is_null(is_not, to)
  return function(left) return negated(is_not, node("is_null", left.from, to - 1, left)) end
end

local function is_same(is_not, right)
  return function(left) return negated(is_not, node("same", left.from, right.to, left, right)) end
end

-- t[key], t.key.
local function element(key, to)
  return function(left) return node("element", left.from, to - 1, left, key) end
end

local function field(from, name, to)
  return element({ class = "literal", from = from, to = to - 1, value = name }, to)
end

local function apply(list)
  local tree = list[1]
  for i = 2, #list do tree = list[i](tree) end
  return tree
end

local function build_grammar()
  local P, R, S, V = lpeg.P, lpeg.R, lpeg.S, lpeg.V
  local C, Cc, Cg, Cp, Ct, Carg, Cmt, Cs = lpeg.C, lpeg.Cc, lpeg.Cg, lpeg.Cp, lpeg.Ct, lpeg.Carg, lpeg.Cmt, lpeg.Cs

  local space = S(" \t\r\n\f\v") ^ 0
  local letter = R("az", "AZ", "\128\255") + "_"
  local word = letter * (letter + R "09") ^ 0

  -- The farthest place where something was wanted is where the text is wrong.
  local missing = Cmt(Carg(1), function(_, at, farthest)
    if at > farthest.position then farthest.position = at end
    return false
  end) * 1 -- so that LPeg sees no empty loops
  local function token(pattern) return (pattern + missing) * space end
  local function sign(text) return token(P(text)) end
  -- A token and where it ends, without the blanks behind it.
  local function ended(pattern) return (pattern + missing) * Cp() * space end

  local function keyword_pattern(text)
    local pattern = P(true)
    for c in text:gmatch "." do pattern = pattern * S(c:lower() .. c:upper()) end
    return pattern * -(letter + R "09")
  end
  local function keyword(text) return token(keyword_pattern(text)) end

  local reserved = P(false)
  for name in pairs(keywords) do reserved = reserved + keyword_pattern(name) end
  local plain = C(word - reserved)
  -- Read once, or what is nested in them and wrong would be read 2^depth times.
  local special = (keyword_pattern "cast" + keyword_pattern "try_cast" + keyword_pattern "position") * space * "("
  local quoted = P '"' * Cs((P '""' / '"' + (1 - P '"')) ^ 1) * '"' + P "`" * Cs((P "``" / "`" + (1 - P "`")) ^ 1) * "`"
  local string = P "'" * Cs((P "''" / "'" + (1 - P "'")) ^ 0) * "'"
  local digits = R "09" ^ 1
  local number = C((digits * (P "." * R "09" ^ 0) ^ -1 + P "." * digits) * (S "eE" * S "+-" ^ -1 * digits) ^ -1)
    * -(letter + R "09" + ".")

  local function binary(operand, operators)
    return Ct(operand * (operators * operand) ^ 0) / fold_left
  end
  local function operator(text, class, but)
    local pattern = P(text)
    if but then pattern = pattern * -S(but) end
    return token(pattern) * Cc(class)
  end

  local is_not = keyword "not" * Cc(true) + Cc(false)
  local compare = operator("==", "eq") + operator("=", "eq") + operator("<>", "ne") + operator("!=", "ne") + operator("~=", "ne")
    + operator("<=", "le") + operator(">=", "ge") + operator("<", "lt") + operator(">", "gt")
  local list = Ct(V "expr" * (sign "," * V "expr") ^ 0)
  local signs = Ct((Cp() * (sign "-" * Cc(true) + sign "+" * Cc(false))) ^ 0)
  -- What stands in brackets becomes a tree as soon as they close, since LPeg nests captures no more than 200 deep.
  local function closed(pattern, make)
    return Cmt(pattern, function(_, at, ...) return at, make(...) end)
  end
  local constant = Cp() * ended(keyword_pattern "null") / literal(nil)
    + Cp() * ended(keyword_pattern "true") / literal(true)
    + Cp() * ended(keyword_pattern "false") / literal(false)
    + Cp() * ended(number) / parse_number
    + Cp() * ended(string) / function(from, value, to) return { class = "literal", from = from, to = to - 1, value = value } end
  local type_name = Cp() * token(plain)

  return P {
    space * V "expr" * (P(-1) + missing),
    expr = Ct(V "conjunction" * (keyword "or" * V "conjunction") ^ 0) / chain "or",
    conjunction = Ct(V "negation" * (keyword "and" * V "negation") ^ 0) / chain "and",
    negation = Ct((Cp() * keyword "not") ^ 0) * V "test" / function(positions, tree)
      for i = #positions, 1, -1 do tree = unary("not", positions[i], tree) end
      return tree
    end,
    test = Ct(V "comparison" * (keyword "is" * (
      is_not * ended(keyword_pattern "null" + keyword_pattern "nil") / is_null
      + is_not * keyword "distinct" * keyword "from" * V "joined" / function(no, right) return is_same(not no, right) end
      + is_not * (Cp() * ended(keyword_pattern "true") / literal(true) + Cp() * ended(keyword_pattern "false") / literal(false))
        / is_same)) ^ 0) / apply,
    comparison = Ct(V "joined" * (
      compare * V "joined" / comparison
      + is_not * keyword "between" * V "joined" * keyword "and" * V "joined" / between
      + is_not * keyword "rlike" * V "joined" / rlike
      + closed(is_not * keyword "in" * sign "(" * list * ended ")", in_list)
      + is_not * (keyword "ilike" * Cc "ilike" + keyword "like" * Cc "like") * V "joined" * (keyword "escape" * V "joined") ^ -1
        / like) ^ -1) / apply,
    joined = Ct(V "sum" * (sign "||" * V "sum") ^ 0) / chain "join",
    sum = binary(V "product", operator("+", "add") + operator("-", "sub")),
    product = binary(V "signed", operator("*", "mul") + operator("//", "idiv") + operator("/", "div") + operator("%", "mod")),
    signed = signs * V "power" / signed,
    power = Ct(V "typed" * (sign "^" * signs * V "typed") ^ 0) / fold_powers,
    typed = Ct(V "primary" * (closed(sign "[" * V "expr" * ended "]", element)
      + sign "." * (Cp() * C(word) * Cp() * space) / field
      + sign "::" * (Cp() * ended(plain)) / function(from, name, to)
      return function(left) return cast(left.from, "to_", left, from, name, to) end
    end) ^ 0) / apply,
    primary = constant
      + closed(Cp() * sign "(" * V "expr" * ended ")", parenthesised)
      + closed(Cp() * keyword "case" * (V "expr" + Cc(false)) * Ct((keyword "when" * V "expr" * keyword "then" * V "expr") ^ 1)
        * (keyword "else" * V "expr" + Cc(false)) * ended(keyword_pattern "end"), case)
      + closed(Cp() * (keyword "cast" * Cc "to_" + keyword "try_cast" * Cc "try_") * sign "(" * V "expr" * keyword "as" * type_name
        * ended ")", cast)
      + closed(Cp() * keyword "position" * sign "(" * V "joined" * (keyword "in" * V "joined" * ended ")") ^ -1,
        function(from, part, text, to)
          if not text then fail(from, "it is written position(part in text)") end
          return node("position", from, to - 1, text, part)
        end)
      + closed(Cp() * keyword "extract" * sign "(" * Cp() * token(plain) * keyword "from" * V "expr" * ended ")",
        function(from, part_from, part, time, to) return date_part(from, part, part_from, time, to) end)
      + closed(Cp() * token(plain - special) * sign "(" * (list + Ct "") * ended ")", call)
      + Cp() * Cg(ended(plain)) / function(from, name, to) return { class = "column", from = from, to = to - 1, name = name } end
      + Cp() * ended(quoted) / function(from, name, to)
        return { class = "column", from = from, to = to - 1, name = name, is_quoted = true }
      end,
  }
end

local grammar

-- The parser recurses: what is nested too deep must not reach it.
local function check_nesting(text)
  local plain = text:gsub("'[^']*'", "''"):gsub('"[^"]*"', '""'):lower()
  local function check_pairs(pattern, changes)
    local depth = 0
    for token in plain:gmatch(pattern) do
      depth = depth + (changes[token] or 0)
      if depth > MAX_NESTED then fail(1, "nested more than %d deep", MAX_NESTED) end
    end
  end
  check_pairs("[%w_]+", { case = 1, ["end"] = -1 })
  check_pairs("[][()]", { ["("] = 1, ["["] = 1, [")"] = -1, ["]"] = -1 })
end

-- What stands where something else was wanted, and what may have been meant by it.
local literals = {
  date = "; there are no date literals: a date is text, '2024-01-31', or cast(text as date)",
  interval = "; there are no intervals: write date_add('day', 1, time)",
}
literals.timestamp, literals.time = literals.date, literals.date
local signs_elsewhere = {
  ["&"] = "; it is written and", ["&&"] = "; it is written and", ["!"] = "; it is written not",
  ["~"] = "; a regular expression is matched with rlike", ["?"] = "; it is written case when c then x else y end, or if(c, x, y)",
}

local function syntax_error(text, position, names)
  local rest = text:sub(position)
  local quote = rest:match "^['\"`]"
  if quote then
    local content = rest:match(("^%s([^%s]*)%s"):format(quote, quote, quote))
    if not content then fail(position, "a %s that does not end", quote) end
    if content == "" and quote ~= "'" then fail(position, "an empty name") end
    local before = text:sub(1, position - 1):match "([%a_]+)%s*$"
    if #content > 40 then content = content:sub(1, 40) .. "..." end
    fail(position, "unexpected %s%s%s%s", quote, content, quote, quote == "'" and before and literals[before:lower()] or "")
  end
  local word = rest:match "^[%a_\128-\255][%w_\128-\255]*" or rest:match "^%d[%w.]*" or rest:match "^[=<>!~|:/&]+" or rest:sub(1, 1)
  local hint = signs_elsewhere[word] or ""
  for _, name in ipairs(names) do
    if name == word then hint = ('; a column of this name is written "%s"'):format(name) end
  end
  fail(position, "unexpected %s%s", word == "" and "end" or "'" .. word .. "'", hint)
end

local function column_error(tree, names)
  local plain = tree.name:lower()
  local hint = (plain == "nil" or plain:find "^current_") and elsewhere[plain] or suggest.hint(tree.name, names)
  if hint == "" then hint = tree.is_quoted and "; a string is written in single quotes" or require("luabatch.columns").listed(names) end
  fail(tree.from, "there is no column '%s'%s", tree.name, hint)
end

-- Appends the steps of a tree; the result is the number of its last one.
local function emit(tree, program, index, names, used)
  local step = { tree.class, tree.from, tree.to }
  if tree.class == "column" then
    local number = index[tree.name]
    if not number then column_error(tree, names) end
    step[4] = number
    if not used[tree.name] then
      used[tree.name] = true
      used[#used + 1] = tree.name
    end
  elseif tree.class == "literal" then
    step[4] = tree.value
  else
    for i, argument in ipairs(tree) do step[3 + i] = emit(argument, program, index, names, used) end
  end
  local steps = program.steps
  steps[#steps + 1] = step
  return #steps
end

local function compile(text, names)
  grammar = grammar or build_grammar()
  lpeg.setmaxstack(100000)
  check_nesting(text)
  local farthest = { position = 1 }
  local ok, tree = pcall(grammar.match, grammar, text, 1, farthest)
  if not ok then
    if type(tree) == "table" then error(tree, 0) end
    check.pass_on(tree)
    -- LPeg's own limits: about 30,000 bracketed parts at once.
    fail(1, "the expression is too long (%s)", (tostring(tree):gsub("^.-:%d+: ", "")))
  end
  if not tree then syntax_error(text, farthest.position, names) end
  local index = {}
  for i, name in ipairs(names) do index[name] = i end
  local program, used = { text = text, steps = {} }, {}
  emit(tree, program, index, names, used)
  local list = {}
  for i, name in ipairs(used) do list[i] = name end
  return program, list
end

-- The message with the line of the text, and a mark under the place.
local function explain(text, problem)
  local first = 1
  for at in text:gmatch "()\n" do
    if at < problem.position then first = at + 1 end
  end
  local line = text:sub(first):match "^[^\n]*"
  local before, behind = line:sub(1, problem.position - first), line:sub(problem.position - first + 1)
  if #line > LINE_BYTES then -- of a long line what is around the place
    if #before > AROUND_BYTES then before = "..." .. before:sub(-AROUND_BYTES) end
    if #behind > AROUND_BYTES then behind = behind:sub(1, AROUND_BYTES) .. "..." end
    line = before .. behind
  end
  before = before:gsub("[^\t]", " ")
  return ("position %d: %s\n  %s\n  %s^"):format(problem.position, problem.message, line, before)
end

--- Compiles an expression.
-- @param text the expression
-- @param names list of the columns' names, in the order of the columns
-- @return program for the engine (`compute`, `where`), list of the names that it reads; or nil and a message, which shows the
-- text, points at the place and suggests the nearest column or function
-- @usage local program, used = sql.compile("age >= 18 and country in ('SE', 'NO')", { "country", "age" })
function sql.compile(text, names)
  local ok, program, used = pcall(compile, text, names)
  if ok then return program, used end
  if type(program) ~= "table" or not program.position then error(program, 0) end
  return nil, explain(text, program)
end

--- The functions' names, sorted.
function sql.functions()
  local copy = {}
  for i, name in ipairs(function_names) do copy[i] = name end
  return copy
end

--- The function that a name stands for: "substr" of "substring"; nil when there is none.
function sql.function_named(name)
  if other_names[name] then return other_names[name] end
  for _, known in ipairs(function_names) do
    if known == name then return name end
  end
end

return sql
