-- SQL expressions: random ones against sqlite3 where the meaning is the same, and cases for all else.
local core = require "luabatch.core"
local sql = require "luabatch.sql"
local support = require "tests.lua.support"

-- Records through one operator; the result is a list of lists of `n` columns.
local function run(node, rows)
  node.inputs = { 1 }
  local nodes = { { op = "scan.list", rows = rows }, node, { op = "store", inputs = { 2 }, result = true } }
  local results = core.execute({ nodes = nodes }, { threads = 1 })
  local list, next_row = {}, results[3].store:rows()
  for i = 1, results[3].store:count() do list[i] = table.pack(next_row()) end
  return list
end

-- The values of an expression over rows.
local function values(text, names, rows)
  local program = assert(sql.compile(text, names))
  local out = run({ op = "compute", exprs = { program }, columns = #names, label = "compute" }, rows)
  local list = {}
  for i, row in ipairs(out) do list[i] = { row[#names + 1] } end
  return list
end

local function value(text, ...)
  return values(text, { "a", "b", "c" }, { { ... } })[1][1]
end

-- An expression without columns.
local function constant(text) return value(text, 1) end

local function message(text, ...)
  local ok, problem = pcall(value, text, ...)
  assert.is_false(ok)
  return tostring(type(problem) == "table" and problem.message or problem)
end

describe("sql (seed " .. support.seed .. ")", function()
  after_each(support.clean)

  local random = math.random
  local function pick(list) return list[random(#list)] end
  local ints = { "i", "j" }
  local floats = { "x", "y" }
  local texts = { "s", "t" }
  local words = { "''", "'a'", "'ab'", "'ABC'", "'b a'", "'a%'", "'longer than twelve bytes'", "'longer than twelve bytez'" }

  local integer, number, text, logic

  function integer(depth)
    local kind = random(depth > 0 and 9 or 2)
    if kind == 1 then return pick(ints) end
    if kind == 2 then return tostring(random(-9, 9)) end
    if kind == 3 then return ("(%s %s %s)"):format(integer(depth - 1), pick { "+", "-", "*" }, integer(depth - 1)) end
    if kind == 4 then return "length(" .. text(depth - 1) .. ")" end
    if kind == 5 then return ("case when %s then %s else %s end"):format(logic(depth - 1), integer(depth - 1), integer(depth - 1)) end
    if kind == 6 then return ("coalesce(%s, %s)"):format(integer(depth - 1), integer(depth - 1)) end
    if kind == 7 then return ("abs(%s)"):format(integer(depth - 1)) end
    if kind == 8 then return ("(-%s)"):format(pick(ints)) end
    return ("instr(%s, %s)"):format(text(depth - 1), text(depth - 1))
  end

  function number(depth)
    local kind = random(depth > 0 and 6 or 3)
    if kind == 1 then return pick(floats) end
    if kind == 2 then return ("%.2f"):format(random(-900, 900) / 100) end
    if kind == 3 then return integer(depth) end
    if kind == 4 then return ("(%s %s %s)"):format(number(depth - 1), pick { "+", "-", "*" }, number(depth - 1)) end
    if kind == 5 then return ("(%s / %s)"):format(number(depth - 1), pick(floats)) end
    return ("nullif(%s, %s)"):format(number(depth - 1), number(depth - 1))
  end

  function text(depth)
    local kind = random(depth > 0 and 8 or 2)
    if kind == 1 then return pick(texts) end
    if kind == 2 then return pick(words) end
    if kind == 3 then return ("(%s || %s)"):format(text(depth - 1), text(depth - 1)) end
    if kind == 4 then return ("substr(%s, %s, %s)"):format(text(depth - 1), integer(0), integer(0)) end
    if kind == 5 then return ("%s(%s)"):format(pick { "upper", "lower", "trim", "ltrim", "rtrim" }, text(depth - 1)) end
    if kind == 6 then return ("replace(%s, '%s', %s)"):format(text(depth - 1), pick { "a", "b", "twelve", " " }, text(0)) end
    if kind == 7 then return ("case %s when %s then %s end"):format(integer(0), integer(0), text(depth - 1)) end
    return ("trim(%s, %s)"):format(text(depth - 1), pick(words))
  end

  function logic(depth)
    local kind = random(depth > 0 and 12 or 3)
    local compare = pick { "=", "==", "<>", "!=", "<", "<=", ">", ">=" }
    local no = pick { "", "not " }
    if kind <= 2 then return ("%s %s %s"):format(number(depth - 1), compare, number(depth - 1)) end
    if kind == 3 then return ("%s %s %s"):format(text(depth - 1), compare, text(depth - 1)) end
    if kind == 4 then return ("%s %sin (%s, %s, %s)"):format(integer(depth - 1), no, integer(0), integer(0), pick { "null", "3" }) end
    if kind == 5 then return ("%s %sin (%s, %s, %s)"):format(pick(texts), no, pick(words), pick(words), pick(words)) end
    if kind == 6 then return ("%s %sbetween %s and %s"):format(number(depth - 1), no, number(0), number(0)) end
    if kind == 7 then return ("%s is %snull"):format(pick { integer, number, text }(depth - 1), no) end
    if kind == 8 then return ("%s %slike '%s'"):format(text(depth - 1), no, pick { "a%", "%b%", "_b%", "%", "a", "%twelve%bytes" }) end
    if kind == 9 then return ("not (%s)"):format(logic(depth - 1)) end
    if kind == 10 then return ("%s %sin (%s)"):format(pick(ints), no, "0,1,2,3,4,5,6.0,7,8,9.5") end
    return ("(%s %s %s)"):format(logic(depth - 1), pick { "and", "or" }, logic(depth - 1))
  end

  local function sql_literal(v)
    if v == nil then return "null" end
    if type(v) == "string" then return "'" .. v:gsub("'", "''") .. "'" end
    return math.type(v) == "float" and ("%.17g"):format(v) .. (v % 1 == 0 and ".0" or "") or tostring(v)
  end

  local function random_row()
    local function maybe(v) if random(5) > 1 then return v end end
    local function word() return (pick(words):gsub("^'(.*)'$", "%1")) end
    return { maybe(random(-5, 5)), maybe(random(0, 3)), maybe(random(-40, 40) / 8), maybe(random(1, 9) / 4),
      maybe(word()), maybe(word()) }
  end

  -- What sqlite3 and we call the same: booleans are integers there.
  local function same(mine, theirs)
    if mine == nil or theirs == "NULL" then return mine == nil and theirs == "NULL" end
    if type(mine) == "boolean" then return theirs == (mine and "1" or "0") end
    if type(mine) == "string" then return theirs == "'" .. mine:gsub("'", "''") .. "'" end
    local other = tonumber(theirs)
    if not other then return false end
    if not support.has_integers then mine, other = tonumber(mine) + 0.0, tonumber(other) + 0.0
    elseif math.type(mine) == "integer" then return math.type(other) == "integer" and mine == other
    elseif math.type(other) ~= "float" then return false end
    return math.abs(mine - other) <= 1e-9 * math.max(1, math.abs(mine), math.abs(other))
  end

  it("means what sqlite3 says: 2400 random expressions", function()
    if not io.popen("command -v sqlite3"):read "l" then return pending "sqlite3 is not installed" end
    local names = { "i", "j", "x", "y", "s", "t" }
    for _ = 1, 8 do
      local rows, script = {}, { "pragma case_sensitive_like = on; create table d(i integer, j integer, x real, y real, s text, t text);" }
      for r = 1, 9 do
        rows[r] = random_row()
        local list = {}
        for c = 1, 6 do list[c] = sql_literal(rows[r][c]) end
        script[#script + 1] = ("insert into d values (%s);"):format(table.concat(list, ", "))
      end
      local texts_of, programs = {}, {}
      for e = 1, 300 do
        texts_of[e] = pick { integer, number, text, logic }(random(0, 3))
        programs[e] = assert(sql.compile(texts_of[e], names))
        script[#script + 1] = ("select quote(%s) from d order by rowid;"):format(texts_of[e])
      end
      local path = support.file(table.concat(script, "\n"))
      local pipe = io.popen("sqlite3 :memory: < " .. path)
      for first = 1, 300, 100 do
        local out = run({ op = "compute", columns = 6, exprs = table.move(programs, first, first + 99, 1, {}) }, rows)
        for e = first, first + 99 do
          for r = 1, #rows do
            local theirs = pipe:read "l"
            local mine = out[r][6 + e - first + 1]
            if not same(mine, theirs) then
              local list = {}
              for c = 1, 6 do list[c] = names[c] .. "=" .. sql_literal(rows[r][c]) end
              error(("%s: %s, sqlite3 says %s, for %s"):format(texts_of[e], tostring(mine), theirs, table.concat(list, " ")))
            end
          end
        end
      end
      pipe:close()
    end
  end)

  it("keeps the rows for which a condition is true", function()
    local rows = {}
    for i = 1, 5000 do rows[i] = { i, i % 3 == 0 and "SE" or i % 3 == 1 and "NO" or nil } end
    for text_of, wanted in pairs {
      ["a >= 18 and b in ('SE', 'NO')"] = function(a, b) return a >= 18 and b ~= nil end,
      ["a > 4990 or b = 'SE'"] = function(a, b) return a > 4990 or b == "SE" end,
      ["not (b = 'SE')"] = function(_, b) return b == "NO" end,
      ["b is null and a % 2 = 0"] = function(a, b) return b == nil and a % 2 == 0 end,
      ["a between 10 and 12.5"] = function(a) return a >= 10 and a <= 12.5 end,
    } do
      local out = run({ op = "where", expr = assert(sql.compile(text_of, { "a", "b" })) }, rows)
      local n = 0
      for _, row in ipairs(rows) do
        if wanted(row[1], row[2]) then
          n = n + 1
          assert.equal(row[1], out[n][1])
        end
      end
      assert.equal(n, #out)
    end
  end)

  it("computes as Lua, but exactly", function()
    assert.equal(-4, constant "-7 // 2")
    assert.equal(1, constant "-7 % 4")
    assert.equal(-1, constant "7 % -4")
    assert.equal(3.5, constant "7 / 2")
    assert.equal(-4.0, constant "-7.0 // 2")
    assert.equal(0.5, constant "-5.5 % 2")
    assert.equal(-512.0, constant "-2 ^ 3 ^ 2")
    assert.is_nil(constant "1 / 0")
    assert.is_nil(constant "1.0 // 0.0")
    assert.is_nil(constant "5 % 0")
    assert.equal(0, constant "-9223372036854775808 % -1")
    assert.is_true(constant "9007199254740993 > 9007199254740992.0")
    assert.is_true(constant "-9223372036854775808 < -9223372036854775807")
    for _, text_of in ipairs { "a + 9223372036854775807", "-a - 9223372036854775807 - a", "a * 9223372036854775807 * 2",
      "(-a - 9223372036854775807) // -1", "abs(-a - 9223372036854775807)" } do
      assert.matches("integer overflow in", message(text_of, 1))
    end
    assert.equal(3, constant "round(2.5)")
    assert.equal(-3, constant "round(-2.5)")
    assert.equal(2.68, constant "round(2.676, 2)")
    assert.equal(1200, constant "round(1234, -2)")
    assert.equal("integer", math.type(constant "ceil(3)"))
    assert.equal(4.0, constant "ceil(3.2)")
    assert.equal(-1, constant "sign(-0.5)")
    assert.equal(8.0, constant "power(2, 3)")
    assert.equal(1, constant "mod(7, 3)")
  end)

  it("compares only values of one type", function()
    assert.matches("cannot compare string 'x' with integer 1", message("a = 1", "x"), 1, true)
    assert.matches("cannot compare integer 1 with string 'x'", message("a in ('x', 'y')", 1), 1, true)
    assert.matches('"a + b > 3": in "a + b": +: number expected, got string', message("a + b > 3", "x", 2), 1, true)
    assert.matches("true or false expected, got integer 1", message("a and true", 1), 1, true)
    assert.is_nil(value("a = 1", nil, 1))
    assert.is_false(value("a is not distinct from 1", "x"))
    assert.is_true(value("a is distinct from 1", nil, 1))
    assert.is_true(value("a is not true", nil, 1))
    assert.is_true(value("a is true", true))
  end)

  it("evaluates only what decides", function()
    assert.equal(0, value("case when b > 0 then 9223372036854775807 + b else 0 end", 1, 0))
    assert.is_false(value("b > 0 and cast(a as int) > 0", "x", 0))
    assert.equal(7, value("coalesce(a, cast('x' as int))", 7))
  end)

  it("casts", function()
    assert.equal(12, constant "cast(' 12 ' as integer)")
    assert.equal(-1, constant "(-1.9)::int")
    assert.equal(1.5, constant "'1.5'::float")
    assert.equal("2.0", constant "2.0::string")
    assert.is_true(constant "cast('T' as boolean)")
    assert.is_nil(constant "try_cast('x' as int)")
    assert.matches("string 'x' cannot be cast to integer", message("cast(a as int)", "x"), 1, true)
    assert.matches("float 1e+300 cannot be cast to integer", message("cast(a as int)", 1e300), 1, true)
  end)

  it("has functions of strings", function()
    for text_of, wanted in pairs {
      ["lpad('7', 3, '0')"] = "007", ["rpad('abc', 2)"] = "ab", ["rpad('a', 4, 'xy')"] = "axyx", ["reverse('abc')"] = "cba",
      ["concat('a', null, 1, true)"] = "a1true", ["'a' || 1.5"] = "a1.5", ["starts_with('abc', 'ab')"] = true,
      ["ends_with('abc', 'bc')"] = true, ["contains('abc', 'x')"] = false, ["position('c' in 'abc')"] = 3,
      ["'a_c' like 'a!_c' escape '!'"] = true, ["'abc' like 'a!_c' escape '!'"] = false, ["'ABC' ilike 'a_c'"] = true,
      ["'ABC' like 'abc'"] = false, ["least(3, null, 1.5)"] = 1.5, ["greatest('a', 'b')"] = "b", ["typeof(1.0)"] = "float",
      ["hash(1) = hash(1.0)"] = true, ["length('é')"] = 2, ["trim('xxaxx', 'x')"] = "a", ["'it''s'"] = "it's",
    } do
      assert.equal(wanted, constant(text_of), text_of)
    end
    assert.is_nil(constant "'a' || null")
  end)

  it("has functions of times", function()
    for text_of, wanted in pairs {
      ["year('2024-02-29')"] = 2024, ["month('2024-02-29T23:59:58.5+02:00')"] = 2, ["hour('2024-02-29 23:59')"] = 23,
      ["second('2024-02-29T23:59:58Z')"] = 58, ["day(-1)"] = 31, ["minute(3661)"] = 1,
      ["epoch('1970-01-02')"] = 86400, ["epoch('1970-01-01T01:00:00+01:00')"] = 0, ["epoch('2001-09-09T01:46:40.25Z')"] = 1e9 + 0.25,
      ["date_trunc('month', '2024-02-29T10:00:00Z')"] = "2024-02-01T00:00:00Z", ["date_trunc('week', '2024-03-03')"] = "2024-02-26",
      ["date_trunc('quarter', '2024-06-30')"] = "2024-04-01", ["date_trunc('hour', 7300)"] = 7200,
      ["date_trunc('day', -0.5)"] = -86400.0, ["date_trunc('year', '2024-06-30 10:11')"] = "2024-01-01 00:00",
    } do
      assert.equal(wanted, constant(text_of), text_of)
    end
    for i = 1, 200 do
      local seconds = random(-8589934592, 8589934592)
      local date = os.date("!%Y-%m-%dT%H:%M:%S", seconds)
      if #date == 19 then assert.equal(seconds, value("epoch(a)", date), i) end
    end
    assert.matches("time such as 2024-01-31 or 2024-01-31T12:30:00 expected, got string '2023-02-29'",
      message("year(a)", "2023-02-29"), 1, true)
    assert.matches("expected, got string 'fortnight'", message("date_trunc(a, 0)", "fortnight"), 1, true)
  end)

  it("points at mistakes", function()
    for text_of, wanted in pairs {
      ["agee > 1"] = "position 1: there is no column 'agee'; did you mean 'age'?\n  agee > 1\n  ^",
      ["1 + lenght(country)"] = "position 5: there is no function 'lenght'; did you mean 'length'?\n  1 + lenght(country)\n      ^",
      ["age >= and 1"] = "position 8: unexpected 'and'\n  age >= and 1\n         ^",
      ["(age"] = "position 5: unexpected end\n  (age\n      ^",
      ["country = \"SE\""] = "position 11: there is no column 'SE'; a string is written in single quotes\n",
      ["substr(country)"] = "position 1: substr takes 2 or 3 arguments, got 1\n",
      ["cast(age as integr)"] = "position 13: there is no type 'integr'; did you mean 'integer'?\n",
      ["end = 1"] = "position 1: unexpected 'end'; a column of this name is written \"end\"\n",
      ["1 < 2 < 3"] = "position 7: unexpected '<'\n",
      ["'abc"] = "position 1: a ' that does not end\n",
      ['1 + ""'] = "position 5: an empty name\n",
      [("("):rep(300)] = "nested more than 200 deep",
      [("age["):rep(300)] = "nested more than 200 deep",
      ["age > date '2024-01-01'"] = "position 12: unexpected '2024-01-01'; there are no date literals: a date is text",
      ["age - interval '1 day'"] = "position 16: unexpected '1 day'; there are no intervals: write date_add('day', 1, time)\n",
      [("cast("):rep(200) .. "age" .. (" as integer"):rep(200)] = "unexpected 'as'",
      [("position("):rep(100) .. "age" .. (")"):rep(100)] = "it is written position(part in text)",
      ["age 'x'"] = "position 5: unexpected 'x'\n",
      ["age > 1 && age < 9"] = "position 9: unexpected '&&'; it is written and\n",
      ["!age"] = "position 1: unexpected '!'; it is written not\n",
      ["now()"] = "position 1: there is no function 'now'; the time of the run is put in from Lua: os.date '%Y-%m-%d'",
      ["current_date"] = "position 1: there is no column 'current_date'; the time of the run",
      ["to_char(age, 'x')"] = "there is no function 'to_char'; did you mean 'strftime'?\n",
      ["sum(age)"] = "there is no function 'sum'; aggregates such as lb.sum stand in agg and window",
      ["age::timestamp"] = "position 6: there is no type 'timestamp'; there are boolean, date, float, integer and string\n",
      ["age = nil"] = "position 7: there is no column 'nil'; it is written null\n",
    } do
      local program, problem = sql.compile(text_of, { "age", "country", "end" })
      assert.is_nil(program)
      assert.matches(wanted, problem, 1, true)
    end
  end)

  it("takes long expressions", function()
    local parts = {}
    for i = 1, 1500 do parts[i] = "a" end
    assert.equal(1500, value(table.concat(parts, " + "), 1))
    for i = 1, 3000 do parts[i] = tostring(i) end
    assert.is_true(value("a in (" .. table.concat(parts, ", ") .. ")", 2999))
    assert.is_true(value("a = " .. table.concat(parts, " or a = "), 3000))
    local list = {}
    for i = 1, 35000 do list[i] = i % 2 == 0 and i or "a - " .. i end
    assert.is_true(value("a in (" .. table.concat(list, ", ") .. ")", 34998))
    assert.equal(1001, value("length(concat(" .. ("a, "):rep(1000) .. "a))", "x"))
    -- What is too long or too deep for the engine is the user's error.
    for _, source in ipairs {
      "a" .. (" + a"):rep(5000), ("-"):rep(5000) .. "a", ("not "):rep(5000) .. "a", "a" .. ("[1]"):rep(5000),
      "a" .. (" ^ a"):rep(5000), "a" .. ("::integer"):rep(5000), "a" .. (" is null"):rep(5000),
    } do
      local program, problem = sql.compile(source, { "a" })
      assert.is_nil(program)
      assert.matches("nested more than 2000 deep", problem, 1, true)
    end
    local program, problem = sql.compile("a in (" .. ("(a), "):rep(40000) .. "a)", { "a" })
    assert.is_nil(program)
    assert.matches("position 1: the expression is too long", problem, 1, true)
    -- Of a long line what is around the place is shown.
    program, problem = sql.compile(("a + "):rep(1000) .. "b" .. (" + a"):rep(1000), { "a" })
    assert.is_nil(program)
    local shown = ("..." .. ("+ a "):rep(15) .. "+ b" .. (" + a"):rep(15) .. " ...\n"):gsub("^", "  ", 1)
    assert.equal("position 4001: there is no column 'b'; did you mean 'a'?\n" .. shown .. (" "):rep(67) .. "^", problem)
  end)

  it("takes brackets, calls and cases that are nested up to 200 deep", function()
    for _, n in ipairs { 9, 50, 200 } do
      assert.equal(7, value(("("):rep(n) .. "a" .. (")"):rep(n), 7))
      assert.equal(7, value(("abs("):rep(n) .. "-a" .. (")"):rep(n), 7))
      assert.equal(7, value(("case when a = 8 then 1 else "):rep(n) .. "a" .. (" end"):rep(n), 7))
      assert.equal(7, value(("cast("):rep(n) .. "a" .. (" as integer)"):rep(n), 7))
      assert.is_true(value(("true in (false, "):rep(n) .. "a = 7" .. (")"):rep(n), 7))
    end
    assert.equal(2 ^ 2 ^ 3, value("a ^ a ^ 3", 2))
    assert.equal(-2.0 ^ -2 ^ 2, value("-a ^ -a ^ a", 2))
    assert.equal(2 ^ - -2 ^ 0.5, value("a ^ - -a ^ 0.5", 2))
  end)

  it("knows nil as null behind is", function()
    assert.is_true(value("a is nil", nil))
    assert.is_true(value("a is not nil", 1))
  end)

  it("has a class in the engine for every function", function()
    for _, name in ipairs(sql.functions()) do
      local found = name == "cast" or name == "try_cast" or name == "position" or name == "extract" or name == "date_part"
      for n = 0, 3 do
        local program = sql.compile(name .. "(" .. ("null, "):rep(n - 1) .. (n > 0 and "null" or "") .. ")", {})
        if program then
          found = true
          run({ op = "compute", columns = 1, exprs = { program } }, { { 1 } })
        end
      end
      assert.is_true(found, name)
    end
  end)
end)
