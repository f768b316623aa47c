--- Random SQL expressions, each in the spelling of luabatch and in that of the peer.
--
-- An expression is `{ lb =, sql =, kind =, bound =, plain =, fuzzy = }`, as is a column. `kind` is "integer", "float",
-- "string", "boolean" or "mixed" (values of several types, which no operator takes). `bound`: no number is
-- larger; without a bound it takes part in comparisons only, because sqlite makes a float of an integer that
-- overflows and luabatch an error. `plain`: ASCII letters, digits and blanks only, for functions that count
-- bytes here and characters there. `fuzzy`: floats of which the last digits depend on the order of additions, so that
-- nothing may hang on their exact value.
local expressions = {}

-- Beyond it integers do not convert to floats without loss.
local LARGEST = 2 ^ 50

local random = math.random

local function pick(list) return list[random(#list)] end
expressions.pick = pick

--- A name as SQL writes it; luabatch takes the same.
function expressions.quote(name) return '"' .. name:gsub('"', '""') .. '"' end

function expressions.string_literal(text) return "'" .. text:gsub("'", "''") .. "'" end

local words = { "a", "b", "ab", "abc", "B", "Ab", " a", "a b ", "zz", "0", "12", "", "kettle" }
expressions.words = words

--- A constant of this kind.
function expressions.literal(dialect, kind)
  if kind == "integer" then
    local n = random(-12, 12)
    local text = n < 0 and ("(%d)"):format(n) or tostring(n)
    -- A literal of DuckDB has 32 bits.
    return { lb = text, sql = dialect == "duckdb" and text .. "::BIGINT" or text, kind = kind, bound = 12, constant = n }
  elseif kind == "float" then
    -- Eighths are exact in binary and in decimal; without an exponent DuckDB's literal is a DECIMAL.
    local x = random(-80, 80) / 8
    local text = ("%.3f"):format(x)
    if x < 0 then text = "(" .. text .. ")" end
    return { lb = text, sql = dialect == "duckdb" and text .. "::DOUBLE" or text, kind = kind, bound = 10, constant = x }
  elseif kind == "string" then
    local word = pick(words)
    local text = expressions.string_literal(word)
    return { lb = text, sql = text, kind = kind, plain = true, constant = word }
  end
  local text = random(2) == 1 and "true" or "false"
  return { lb = text, sql = text, kind = "boolean", constant = text == "true" }
end

-- Division that rounds down and its remainder, where `/` cuts off; a zero divisor gives NULL.
local IDIV = {
  sqlite = "($1 / $2 - (($1 % $2 <> 0) and (($1 < 0) <> ($2 < 0))))",
  duckdb = "($1 // nullif($2, 0) - case when ($1 % nullif($2, 0) <> 0) and (($1 < 0) <> ($2 < 0)) then 1 else 0 end)",
}
local MOD = {
  sqlite = "($1 % $2 + case when ($1 % $2 <> 0) and (($1 % $2 < 0) <> ($2 < 0)) then $2 else 0 end)",
  duckdb = "($1 % nullif($2, 0) + case when ($1 % nullif($2, 0) <> 0) and (($1 % nullif($2, 0) < 0) <> ($2 < 0)) "
    .. "then $2 else 0 end)",
}
-- least and greatest pass over NULL here and in DuckDB, not in sqlite.
local function choice(compare)
  return ("case when $2 is null or $1 %s $2 then $1 when $1 is null or $2 is not null then $2 end"):format(compare)
end
local LEAST, GREATEST = choice "<=", choice ">="

local function add(a, b) return a + b end
local function mul(a, b) return a * b end
local function most(a, b) return math.max(a, b or 0) end
local function first(a) return a end
local function constant(n) return function() return n end end

-- Operators: kind of the result, kinds of the arguments, luabatch's text, the peers' texts (one for both, or by name; a
-- peer that is not named has no such thing), the bound of the result from those of the arguments. Kinds of arguments:
-- "number" is an integer or a float, "plain" a string that is plain, "any" anything but mixed; "same" is of the kind
-- of the argument before, "lit" and "words" a constant of it, "nonzero" a constant that is not 0, "regexp" and "pattern" what they say.
local operators = {
  integer = {
    { { "integer", "integer" }, "$1 + $2", "$1 + $2", add },
    { { "integer", "integer" }, "$1 - $2", "$1 - $2", add },
    { { "integer", "integer" }, "$1 * $2", "$1 * $2", mul },
    { { "integer" }, "-$1", "-$1", first },
    { { "integer" }, "abs($1)", "abs($1)", first },
    { { "integer", "integer" }, "$1 // $2", IDIV, first },
    { { "integer", "integer" }, "$1 % $2", MOD, function(_, b) return b end },
    { { "float" }, "cast($1 as integer)", { sqlite = "(+cast($1 as integer))", duckdb = "cast(trunc($1) as BIGINT)" }, first },
    { { "boolean" }, "cast($1 as integer)", { sqlite = "(+cast($1 as integer))", duckdb = "cast($1 as BIGINT)" }, constant(1) },
    { { "string" }, "length($1)", { sqlite = "length(cast($1 as blob))", duckdb = "strlen($1)" }, constant(1000) },
    { { "plain", "words" }, "instr($1, $2)", "instr($1, $2)", constant(1000) },
    { { "plain", "words" }, "position($2 in $1)", "instr($1, $2)", constant(1000) },
    { { "date" }, "year($1)", "(+cast(substr($1, 1, 4) as integer))", constant(9999) },
    { { "date" }, "month($1)", "(+cast(substr($1, 6, 2) as integer))", constant(12) },
    { { "date" }, "day($1)", "(+cast(substr($1, 9, 2) as integer))", constant(31) },
    { { "date" }, "quarter($1)",
      { sqlite = "((cast(substr($1, 6, 2) as integer) + 2) / 3)", duckdb = "quarter($1::DATE)" }, constant(4) },
    { { "date" }, "dayofweek($1)", { sqlite = "(+cast(strftime('%w', $1) as integer))", duckdb = "dayofweek($1::DATE)" }, constant(7) },
    { { "date" }, "isodow($1)", { duckdb = "isodow($1::DATE)" }, constant(7) },
    { { "date" }, "week($1)", { duckdb = "week($1::DATE)" }, constant(53) },
    { { "date" }, "isoyear($1)", { duckdb = "isoyear($1::DATE)" }, constant(9999) },
    { { "date" }, "dayofyear($1)", { sqlite = "(+cast(strftime('%j', $1) as integer))", duckdb = "dayofyear($1::DATE)" }, constant(366) },
    { { "date" }, "extract(month from $1)", "(+cast(substr($1, 6, 2) as integer))", constant(12) },
    { { "date", "date" }, "date_diff('day', $1, $2)",
      { sqlite = "(+cast(julianday($2) - julianday($1) as integer))", duckdb = "date_diff('day', $1::DATE, $2::DATE)" }, constant(1e6) },
    { { "date", "date" }, "date_diff('month', $1, $2)", { duckdb = "date_diff('month', $1::DATE, $2::DATE)" }, constant(1e5) },
    { { "date" }, "epoch($1)", { sqlite = "(+cast(strftime('%s', $1) as integer))", duckdb = "epoch($1::DATE)::BIGINT" }, constant(1e10) },
    { { "string" }, "char_length($1)", "length($1)", constant(1000) },
    { { "plain" }, "ascii($1)", { duckdb = "ascii($1)" }, constant(255) },
    { { "integer", "integer" }, "bit_and($1, $2)", { sqlite = "($1 & $2)", duckdb = "($1 & $2)" } },
    { { "integer", "integer" }, "bit_or($1, $2)", { sqlite = "($1 | $2)", duckdb = "($1 | $2)" } },
    { { "integer", "integer" }, "bit_xor($1, $2)", { duckdb = "xor($1, $2)" } },
    { { "integer" }, "bit_count($1)", { duckdb = "bit_count($1)" }, constant(64) },
    { { "integer", "integer" }, "gcd($1, $2)", { duckdb = "gcd($1, $2)" }, most },
    { { "integer" }, "sign($1)", { sqlite = "sign($1)", duckdb = "sign($1)" }, constant(1) },
    { { "boolean", "integer", "same" }, "if($1, $2, $3)", { sqlite = "iif($1, $2, $3)", duckdb = "if($1, $2, $3)" },
      function(_, a, b) return most(a, b) end },
    { { "integer", "same" }, "least($1, $2)", LEAST, most },
    { { "integer", "same" }, "greatest($1, $2)", GREATEST, most },
    { { "integer", "same" }, "coalesce($1, $2)", "coalesce($1, $2)", most },
    { { "integer", "same" }, "nullif($1, $2)", "nullif($1, $2)", first },
    { { "boolean", "integer", "same" }, "case when $1 then $2 else $3 end", "case when $1 then $2 else $3 end",
      function(_, a, b) return most(a, b) end },
    { { "boolean", "integer" }, "case when $1 then $2 end", "case when $1 then $2 end", function(_, a) return a end },
    { { "integer", "lit", "integer", "same" }, "case $1 when $2 then $3 else $4 end", "case $1 when $2 then $3 else $4 end",
      function(_, _, a, b) return most(a, b) end },
  },
  float = {
    { { "float", "number" }, "$1 + $2", "$1 + $2", add },
    { { "number", "float" }, "$1 - $2", "$1 - $2", add },
    { { "float", "number" }, "$1 * $2", "$1 * $2", mul },
    { { "float" }, "-$1", "-$1", first },
    { { "float" }, "abs($1)", "abs($1)", first },
    { { "number", "nonzero" }, "$1 / $2", { sqlite = "cast($1 as real) / $2", duckdb = "cast($1 as DOUBLE) / $2" }, first },
    { { "number", "number" }, "$1 / $2", { sqlite = "cast($1 as real) / $2", duckdb = "cast($1 as DOUBLE) / nullif($2, 0)" } },
    { { "float" }, "floor($1)", "floor($1)", function(a) return a + 1 end },
    { { "float" }, "ceil($1)", "ceil($1)", function(a) return a + 1 end },
    { { "float" }, "round($1)", "round($1)", function(a) return a + 1 end },
    { { "float" }, "trunc($1)", "trunc($1)", first },
    { { "number" }, "sqrt(abs($1))", "sqrt(abs($1))", function(a) return a + 1 end },
    { { "integer" }, "cast($1 as float)", { sqlite = "(+cast($1 as real))", duckdb = "cast($1 as DOUBLE)" }, first },
    { { "float", "same" }, "least($1, $2)", LEAST, most },
    { { "float", "same" }, "greatest($1, $2)", GREATEST, most },
    { { "float", "same" }, "coalesce($1, $2)", "coalesce($1, $2)", most },
    { { "float", "same" }, "nullif($1, $2)", "nullif($1, $2)", first },
    { { "boolean", "float", "same" }, "case when $1 then $2 else $3 end", "case when $1 then $2 else $3 end",
      function(_, a, b) return most(a, b) end },
  },
  string = {
    { { "string", "string" }, "$1 || $2", "$1 || $2" },
    { { "string", "integer" }, "concat($1, $2)", { sqlite = "(coalesce($1, '') || coalesce($2, ''))", duckdb = "concat($1, $2)" } },
    { { "plain" }, "lower($1)", "lower($1)" },
    { { "plain" }, "upper($1)", "upper($1)" },
    { { "plain" }, "trim($1)", "trim($1)" },
    { { "plain" }, "ltrim($1)", "ltrim($1)" },
    { { "plain" }, "rtrim($1)", "rtrim($1)" },
    { { "plain", "small", "small" }, "substr($1, $2, $3)", "substr($1, $2, $3)" },
    { { "string", "words", "lit" }, "replace($1, $2, $3)", "replace($1, $2, $3)" },
    { { "plain", "small" }, "left($1, $2)", { sqlite = "substr($1, 1, $2)", duckdb = "left($1, $2)" } },
    { { "plain", "small" }, "right($1, $2)", { duckdb = "right($1, $2)" } },
    { { "string", "small" }, "repeat($1, $2)", { duckdb = "repeat($1, $2)" } },
    { { "plain", "words", "lit" }, "translate($1, $2, $3)", { duckdb = "translate($1, $2, $3)" } },
    { { "words", "string", "string" }, "concat_ws($1, $2, $3)", { duckdb = "concat_ws($1, $2, $3)" } },
    { { "string", "words", "small" }, "split_part($1, $2, $3)", { duckdb = "split_part($1, $2, $3)" } },
    -- sqlite gives '' for NULL.
    { { "string" }, "hex($1)", { sqlite = "case when $1 is not null then hex($1) end", duckdb = "hex($1)" } },
    { { "string" }, "md5($1)", { duckdb = "md5($1)" } },
    { { "string" }, "sha256($1)", { duckdb = "sha256($1)" } },
    { { "string" }, "base64($1)", { duckdb = "base64(encode($1))" } },
    { { "plain", "regexp", "words" }, "regexp_replace($1, $2, $3)", { duckdb = "regexp_replace($1, $2, $3)" } },
    { { "plain", "regexp", "words" }, "regexp_replace($1, $2, $3, 'g')", { duckdb = "regexp_replace($1, $2, $3, 'g')" } },
    { { "plain", "regexp" }, "regexp_extract($1, $2)", { duckdb = "regexp_extract($1, $2)" } },
    { { "date" }, "strftime($1, '%d/%m/%Y %j')",
      { sqlite = "strftime('%d/%m/%Y %j', $1)", duckdb = "strftime($1::DATE, '%d/%m/%Y %j')" } },
    { { "date", "small" }, "date_add($1, $2)",
      { sqlite = "date($1, $2 || ' days')", duckdb = "strftime($1::DATE + $2::INTEGER, '%Y-%m-%d')" } },
    { { "date" }, "last_day($1)",
      { sqlite = "date($1, 'start of month', '+1 month', '-1 day')", duckdb = "strftime(last_day($1::DATE), '%Y-%m-%d')" } },
    { { "date" }, "date_trunc('year', $1)", "(substr($1, 1, 4) || '-01-01')" },
    { { "date" }, "monthname($1)", { duckdb = "monthname($1::DATE)" } },
    { { "plain" }, "reverse($1)", { duckdb = "reverse($1)" } },
    { { "plain", "small", "words" }, "lpad($1, $2, $3)", { duckdb = "lpad($1, $2::INTEGER, $3)" } },
    { { "plain", "small", "words" }, "rpad($1, $2, $3)", { duckdb = "rpad($1, $2::INTEGER, $3)" } },
    { { "integer" }, "cast($1 as string)", { sqlite = "(+cast($1 as text))", duckdb = "cast($1 as VARCHAR)" } },
    { { "date" }, "date_trunc('month', $1)", "(substr($1, 1, 7) || '-01')" },
    { { "string", "same" }, "least($1, $2)", LEAST },
    { { "string", "same" }, "greatest($1, $2)", GREATEST },
    { { "string", "same" }, "coalesce($1, $2)", "coalesce($1, $2)" },
    { { "string", "same" }, "nullif($1, $2)", "nullif($1, $2)" },
    { { "boolean", "string", "same" }, "case when $1 then $2 else $3 end", "case when $1 then $2 else $3 end" },
    { { "boolean", "string" }, "case when $1 then $2 end", "case when $1 then $2 end" },
  },
  boolean = {
    { { "any", "same" }, "$1 = $2", "$1 = $2" },
    { { "any", "same" }, "$1 == $2", "$1 = $2" },
    { { "any", "same" }, "$1 <> $2", "$1 <> $2" },
    { { "any", "same" }, "$1 ~= $2", "$1 <> $2" },
    { { "comparable", "same" }, "$1 < $2", "$1 < $2" },
    { { "comparable", "same" }, "$1 <= $2", "$1 <= $2" },
    { { "comparable", "lit" }, "$1 > $2", "$1 > $2" },
    { { "comparable", "lit" }, "$1 >= $2", "$1 >= $2" },
    { { "number", "number" }, "$1 < $2", "$1 < $2" },
    { { "number", "number" }, "$1 != $2", "$1 <> $2" },
    { { "comparable", "lit", "lit" }, "$1 between $2 and $3", "$1 between $2 and $3" },
    { { "comparable", "same", "lit" }, "$1 not between $2 and $3", "$1 not between $2 and $3" },
    { { "comparable", "lit", "lit", "same" }, "$1 in ($2, $3, $4)", "$1 in ($2, $3, $4)" },
    { { "comparable", "lit", "lit" }, "$1 not in ($2, $3)", "$1 not in ($2, $3)" },
    { { "comparable", "lit" }, "$1 in ($2, null)", "$1 in ($2, null)" },
    { { "whatever" }, "$1 is null", "$1 is null" },
    { { "whatever" }, "$1 is not null", "$1 is not null" },
    { { "any", "same" }, "$1 is distinct from $2", "$1 is distinct from $2" },
    { { "any", "same" }, "$1 is not distinct from $2", "$1 is not distinct from $2" },
    { { "boolean", "boolean" }, "$1 and $2", "$1 and $2" },
    { { "boolean", "boolean" }, "$1 or $2", "$1 or $2" },
    { { "boolean" }, "not $1", "not $1" },
    { { "boolean" }, "$1 is true", "$1 is true" },
    { { "boolean" }, "$1 is not false", "$1 is not false" },
    { { "string", "pattern" }, "$1 like $2", "$1 like $2" },
    { { "string", "pattern" }, "$1 not like $2", "$1 not like $2" },
    { { "plain", "pattern_" }, "$1 like $2", "$1 like $2" },
    { { "plain", "pattern_" }, "$1 ilike $2", { sqlite = "lower($1) like lower($2)", duckdb = "$1 ilike $2" } },
    { { "string", "words" }, "starts_with($1, $2)", { sqlite = "(substr($1, 1, length($2)) = $2)", duckdb = "starts_with($1, $2)" } },
    { { "string", "words" }, "ends_with($1, $2)", { sqlite = "(substr($1, -length($2)) = $2)", duckdb = "ends_with($1, $2)" } },
    { { "string", "words" }, "contains($1, $2)", { sqlite = "(instr($1, $2) > 0)", duckdb = "contains($1, $2)" } },
    { { "plain", "regexp" }, "regexp_matches($1, $2)", { duckdb = "regexp_matches($1, $2)" } },
    { { "plain", "regexp" }, "regexp_full_match($1, $2)", { duckdb = "regexp_full_match($1, $2)" } },
    { { "plain", "regexp" }, "$1 rlike $2", { duckdb = "regexp_matches($1, $2)" } },
    { { "boolean", "boolean", "same" }, "case when $1 then $2 else $3 end", "case when $1 then $2 else $3 end" },
    { { "boolean", "same" }, "coalesce($1, $2)", "coalesce($1, $2)" },
  },
}

-- Functions of the mathematical library: their last digit is not the same everywhere, so they stand outermost.
local fuzzy = {
  "exp($1 / 10)", "ln(abs($1) + 1)", "log2(abs($1) + 1)", "log10(abs($1) + 1)", "sin($1)", "cos($1)", "atan($1)", "atan2($1, 2.5)",
  "tanh($1)", "degrees($1)", "radians($1)", "power(abs($1), 0.5)", "power($1, 2)",
}

-- Whether a column may stand for an argument of this kind.
local function fits(column, kind)
  if kind == "whatever" then return true end
  if column.fuzzy or column.kind == "mixed" then return false end
  if kind == "plain" then return column.kind == "string" and column.plain end
  if kind == "date" then return column.date end
  return column.kind == kind
end

local function column_of(scope, kind, bounded)
  local list = {}
  for _, column in ipairs(scope.columns) do
    if fits(column, kind) and (not bounded or column.bound) then list[#list + 1] = column end
  end
  local column = #list > 0 and pick(list)
  if not column then return nil end
  local text = expressions.quote(column.name)
  return {
    lb = text, sql = text, kind = column.kind, bound = column.bound, plain = column.plain, date = column.date, is_column = true,
  }
end

local make

local function constant_text(text)
  text = expressions.string_literal(text)
  return { lb = text, sql = text, kind = "string" }
end

local function pattern(letters)
  local text = ""
  for _ = 1, random(1, 3) do text = text .. pick(letters) end
  return constant_text(text)
end

-- Comparisons need no bound, arithmetic does.
local function argument(scope, kind, depth, before, bounded)
  if kind == "any" then kind = pick { "integer", "float", "string", "boolean" } end
  if kind == "comparable" then kind = pick { "integer", "float", "string" } end
  if kind == "number" then kind, bounded = pick { "integer", "float" }, true end
  if kind == "same" then return make(scope, before.kind, depth, bounded) end
  if kind == "lit" then return expressions.literal(scope.dialect, before.kind) end
  if kind == "small" then
    local text = tostring(random(1, 5))
    return { lb = text, sql = text, kind = "integer", bound = 5 }
  end
  if kind == "nonzero" then
    local n = pick { -8, -3, 2, 4, 10 }
    local text = n < 0 and ("(%d)"):format(n) or tostring(n)
    return { lb = text, sql = text, kind = "integer", bound = 10 }
  end
  if kind == "words" then
    local text
    repeat text = expressions.literal(scope.dialect, "string") until text.constant ~= ""
    return text
  end
  if kind == "regexp" then return constant_text(pick { "a", "[ab]+", "^a", "b$", "(a)(b)?", "[^a]", "a|b", "\\d", "a{2}" }) end
  if kind == "pattern" then return pattern { "%", "a", "b", "%a%" } end
  if kind == "pattern_" then return pattern { "%", "_", "a", "B" } end
  if kind == "whatever" then
    return column_of(scope, kind)
  elseif kind == "date" then
    return column_of(scope, kind)
  elseif kind == "plain" then
    local found = column_of(scope, kind)
    if not found or random(4) == 1 then found = make(scope, "string", depth, false) end
    return found and found.plain and found or expressions.literal(scope.dialect, "string")
  end
  return make(scope, kind, depth, bounded)
end

local function apply(scope, kind, depth)
  local entry = pick(operators[kind])
  local kinds, lb, sql, bound = entry[1], entry[2], entry[3], entry[4]
  if type(sql) == "table" then sql = sql[scope.dialect] end
  if not sql then return nil end
  local bounded = bound ~= nil
  local arguments, bounds, plain = {}, {}, true
  for i, wanted in ipairs(kinds) do
    local one = argument(scope, wanted, depth - 1, arguments[i - 1], bounded)
    if not one then return nil end
    arguments[i], bounds[i] = one, one.bound or 0
    plain = plain and (one.kind ~= "string" or one.plain)
  end
  -- DuckDB compares integers with floats as floats.
  if kinds[1] == "any" or kinds[1] == "comparable" then bounded = false end
  local result = { kind = kind, plain = kind == "string" and plain or nil }
  if bounded then
    result.bound = bound(table.unpack(bounds))
    if result.bound > LARGEST then return nil end
  end
  local function text(template, side)
    return "(" .. template:gsub("%$(%d)", function(i) return arguments[tonumber(i)][side] end) .. ")"
  end
  result.lb, result.sql = text(lb, "lb"), text(sql, "sql")
  if #result.sql > 4000 then return nil end
  return result
end

--- An expression of this kind, over the scope's columns.
-- @param scope `{ dialect =, columns = }`
-- @param bounded whether arithmetic is to be done with it
function make(scope, kind, depth, bounded)
  for _ = 1, 8 do
    local found
    if depth > 0 and random(3) > 1 then
      found = apply(scope, kind, depth)
    else
      found = random(5) > 1 and column_of(scope, kind, bounded) or nil
    end
    if found and (not bounded or kind == "string" or kind == "boolean" or found.bound) then return found end
  end
  return expressions.literal(scope.dialect, kind)
end

expressions.make = make

--- A float of which the last digits are uncertain.
function expressions.fuzzy(scope)
  local argument_of, template = make(scope, "float", 1, true), pick(fuzzy)
  -- exp of more than a hundred has few digits in common.
  if argument_of.bound > 1000 then return expressions.literal(scope.dialect, "float") end
  local function text(side) return (template:gsub("%$1", function() return argument_of[side] end)) end
  return { lb = text "lb", sql = text "sql", kind = "float", fuzzy = true }
end

--- A condition for `where`.
function expressions.condition(scope) return make(scope, "boolean", random(1, 3), false) end

return expressions
