-- Functions of SQL expressions: patterns, digests, numbers, strings, tables, times; random values against Lua, os.date and sqlite3.
local tonumber = tonumber
local lb = require "luabatch"
local core = require "luabatch.core"
local sql = require "luabatch.sql"
local support = require "tests.lua.support"

local names = { "a", "b", "c" }

local function values(text, rows)
  local program, problem = sql.compile(text, names)
  if not program then error(problem, 0) end
  local nodes = {
    { op = "scan.list", rows = rows },
    { op = "compute", exprs = { program }, columns = #names, label = "compute", inputs = { 1 } },
    { op = "store", inputs = { 2 }, result = true },
  }
  local results = core.execute({ nodes = nodes }, { threads = 1 })
  local list, next_row = {}, results[3].store:rows()
  for i = 1, results[3].store:count() do list[i] = { (select(#names + 1, next_row())) } end
  return list
end

local function value(text, ...) return values(text, { { ... } })[1][1] end
local function constant(text) return value(text, 1) end

local function message(text, ...)
  local ok, problem = pcall(value, text, ...)
  assert.is_false(ok, text)
  return tostring(type(problem) == "table" and problem.message or problem)
end

local function all_equal(cases)
  for text, wanted in pairs(cases) do
    local got = constant(text)
    assert.same(wanted, got, text)
    if support.has_integers then assert.equal(math.type(wanted), math.type(got), text) end
  end
end

local function sqlite(script)
  if not io.popen("command -v sqlite3"):read "l" then return nil end
  local pipe = io.popen("sqlite3 :memory: < " .. support.file(script))
  local lines = {}
  for line in pipe:lines() do lines[#lines + 1] = line end
  pipe:close()
  return lines
end

describe("regular expressions (seed " .. support.seed .. ")", function()
  after_each(support.clean)

  it("match, count, extract, replace, split", function()
    all_equal {
      ["regexp_matches('banana', 'n.n')"] = true, ["regexp_like('banana', '^nan')"] = false, ["'banana' rlike 'a$'"] = true,
      ["'banana' not rlike 'a$'"] = false, ["'BANANA' rlike '(?i)nan'"] = true, ["regexp_matches('A', 'a', 'i')"] = true,
      ["regexp_full_match('banana', 'b.*n')"] = false, ["regexp_full_match('banana', 'b.*a|x')"] = true,
      ["regexp_count('banana', 'an')"] = 2, ["regexp_count('abc', '')"] = 4, ["regexp_count('aXbx', 'x', 'i')"] = 2,
      ["regexp_extract('k=v', '(\\w)=(\\w)')"] = "k=v", ["regexp_extract('k=v', '(\\w)=(\\w)', 2)"] = "v",
      ["regexp_extract('k=', '(\\w)=(\\w)?', 2)"] = "", ["regexp_extract('x', 'y')"] = "",
      ["regexp_extract_all('a1b22', '\\d+')"] = { "1", "22" }, ["regexp_extract_all('a1b22', '([a-z])(\\d)', 1)"] = { "a", "b" },
      ["regexp_extract_all('ab', 'x')"] = {}, ["regexp_replace('banana', 'an', 'AN')"] = "bANana",
      ["regexp_replace('banana', 'an', 'AN', 'g')"] = "bANANa",
      ["regexp_replace('john smith', '(\\w+) (\\w+)', '\\2, \\1')"] = "smith, john",
      ["regexp_replace('abc', '', '-', 'g')"] = "-a-b-c-", ["regexp_replace('a.b', '\\.', '\\\\')"] = "a\\b",
      ["regexp_replace('abc', 'b', '[\\0]')"] = "a[b]c", ["regexp_split('a, b,c', ',\\s*')"] = { "a", "b", "c" },
      ["regexp_split('abc', '')"] = { "a", "b", "c" }, ["regexp_split('', ',')"] = { "" },
      ["regexp_matches('é', '^.$')"] = false, ["regexp_matches('é', '^.$', 'u')"] = true, ["regexp_count('a\nb', '^.', 'm')"] = 2,
      ["regexp_matches('a\nb', 'a.b')"] = false, ["regexp_matches('a\nb', 'a.b', 's')"] = true,
      ["regexp_matches('ab', 'a b # c', 'x')"] = true,
    }
    assert.is_nil(constant "regexp_matches(null, 'a')")
    assert.is_nil(constant "regexp_extract('a', null)")
    assert.is_true(value("regexp_matches(a, '\\x00\\xff', 'u') is false", "\0\xff"))
    assert.is_true(value("regexp_matches(a, '\\x00\\xff')", "a\0\xff"))
  end)

  it("take computed patterns and flags", function()
    local out = values("regexp_replace(a, b, '<\\0>', c)", {
      { "banana", "an", "g" }, { "banana", "an", "" }, { "BANANA", "an", "gi" }, { "banana", "(a)(n)", "g" }, { "b", nil, "g" },
    })
    assert.same({ { "b<an><an>a" }, { "b<an>ana" }, { "B<AN><AN>A" }, { "b<an><an>a" }, {} }, out)
    assert.matches("missing closing parenthesis", message("regexp_matches('x', a)", "(x"), 1, true)
    assert.matches("flags of a pattern", message("regexp_matches('x', 'x', a)", "q"), 1, true)
  end)

  it("agree with Lua's patterns where these mean the same", function()
    local rows = {}
    for i = 1, 400 do rows[i] = { support.word(3) .. support.word(4), support.word(2) } end
    local counts, found = values("regexp_count(a, '[ab]+c?')", rows), values("regexp_extract(a, b || '.')", rows)
    local replaced = values("regexp_replace(a, '([ab])(c?)', '\\2\\1', 'g')", rows)
    for i, row in ipairs(rows) do
      assert.same({ select(2, row[1]:gsub("[ab]+c?", "")) }, counts[i], row[1])
      assert.same({ (row[1]:gsub("([ab])(c?)", "%2%1")) }, replaced[i], row[1])
      assert.same({ row[1]:match(row[2] .. ".") or "" }, found[i], row[1] .. " " .. row[2])
    end
  end)

  it("point at a bad pattern when the verb is called", function()
    local ds = lb.from({ { s = "a" } }):select("s")
    local ok, problem = pcall(ds.where, ds, "s is null or s rlike 'it''s (a'")
    assert.is_false(ok)
    assert.matches("position 31: pattern 'it's (a': missing closing parenthesis, at byte 8\n", problem, 1, true)
    assert.matches("sql_functions_spec.lua:%d+:", problem)
    assert.matches("position 26: flags of a pattern are letters", message "regexp_matches('a', 'a', 'z')", 1, true)
    assert.matches("there is no group 2; the pattern has 1", message "regexp_extract('a', '(a)', 2)", 1, true)
    assert.matches("there is no group 3; the pattern has 0", message "regexp_replace('a', 'a', '\\3')", 1, true)
    assert.matches("a regular expression is matched with rlike", message "'a' ~ 'a'", 1, true)
  end)

  it("give up a match that would never end, and name the record", function()
    local path = support.file("s\nab\n" .. ("a"):rep(60) .. "c\n", ".csv")
    local before = os.clock()
    local ok, problem = pcall(function() return lb.csv(path):where("s rlike '^(a|aa)+$'"):count() end)
    assert.is_false(ok)
    assert.matches("too many ways to match a string of 61 bytes", tostring(problem), 1, true)
    assert.matches(path .. ":3", tostring(problem), 1, true)
    assert.is_true(os.clock() - before < 20)
  end)

  it("give the same at any number of threads", function()
    local path = support.path ".csv"
    local file = io.open(path, "w")
    file:write "s\n"
    for i = 1, 30000 do file:write("user-", i, "@host", i % 7, ".example\n") end
    file:close()
    local function run()
      return lb.csv(path):where("s rlike '@host[135]\\.'"):select { h = "regexp_extract(s, '@(\\w+)', 1)" }
        :group_by("h"):count():order_by("h"):collect()
    end
    local one = support.with({ threads = 1 }, run)
    assert.same(one, support.with({ threads = 4 }, run))
    assert.equal(3, #one)
    assert.equal("host1", one[1].h)
  end)
end)

describe("functions (seed " .. support.seed .. ")", function()
  after_each(support.clean)

  it("of digests and digits", function()
    all_equal {
      ["md5('')"] = "d41d8cd98f00b204e9800998ecf8427e", ["md5('abc')"] = "900150983cd24fb0d6963f7d28e17f72",
      ["sha1('abc')"] = "a9993e364706816aba3e25717850c26c9cd0d89d",
      ["sha256('abc')"] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      ["sha2('abc', 0)"] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      ["length(sha2('abc', 384))"] = 96, ["substr(sha2('abc', 512), 1, 16)"] = "ddaf35a193617aba",
      ["hex('aZ~')"] = "615A7E", ["hex(255)"] = "FF", ["unhex('615A')"] = "aZ", ["base64('')"] = "", ["base64('a')"] = "YQ==",
      ["base64('ab')"] = "YWI=", ["base64('abc')"] = "YWJj", ["from_base64('YWI=')"] = "ab",
    }
    for _, text in ipairs { "sha2('a', 100)", "unhex('abc')", "unhex('zz')", "from_base64('YWI')", "from_base64('Y*I=')" } do
      assert.matches("expected, got", message(text), 1, true)
    end
    for _ = 1, 50 do
      local bytes = {}
      for i = 1, math.random(0, 40) do bytes[i] = string.char(math.random(0, 255)) end
      local text = table.concat(bytes)
      assert.equal(text, value("from_base64(base64(a))", text))
      assert.equal(text, value("unhex(hex(a))", text))
    end
  end)

  it("of numbers", function()
    all_equal {
      ["trunc(-1.7)"] = -1.0, ["trunc(5)"] = 5, ["cbrt(27)"] = 3.0, ["log(100)"] = 2.0, ["log10(1000)"] = 3.0, ["log2(8)"] = 3.0,
      ["log(2, 8)"] = 3.0, ["atan2(0, -1)"] = math.pi, ["pi()"] = math.pi, ["degrees(pi())"] = 180.0, ["radians(180)"] = math.pi,
      ["gcd(-12, 18)"] = 6, ["lcm(4, 6)"] = 12, ["lcm(0, 6)"] = 0, ["bit_and(12, 10)"] = 8, ["bit_or(12, 10)"] = 14,
      ["bit_xor(12, 10)"] = 6, ["shift_left(1, 62)"] = math.tointeger(2 ^ 62), ["shift_left(1, 64)"] = 0, ["shift_right(-1, 60)"] = 15,
      ["bit_count(-1)"] = 64, ["isnan(sqrt(-1))"] = true, ["isinf(exp(1000))"] = true, ["isfinite(1)"] = true,
      ["if(1 > 2, 'a', 'b')"] = "b", ["nvl(null, 3)"] = 3, ["power(2, 0.5)"] = 2 ^ 0.5,
    }
    assert.matches("integer overflow in lcm", message("lcm(a, a - 1)", support.maxinteger), 1, true)
    assert.matches("integer overflow in gcd", message("gcd(a, a)", support.mininteger), 1, true)
    for _, name in ipairs { "sin", "cos", "tan", "asin", "acos", "exp", "sqrt" } do
      local x = math.random()
      assert.equal(math[name](x), value(name .. "(a)", x), name)
      assert.equal(math.atan(x), value("atan2(a, 1)", x))
    end
  end)

  it("of strings", function()
    all_equal {
      ["left('hello', 2)"] = "he", ["left('hello', -2)"] = "hel", ["left('ab', -5)"] = "", ["left('ab', 9)"] = "ab",
      ["right('hello', 2)"] = "lo", ["right('hello', -2)"] = "llo", ["repeat('ab', 3)"] = "ababab", ["repeat('ab', -1)"] = "",
      ["ascii('A')"] = 65, ["ascii('')"] = 0, ["chr(65)"] = "A", ["chr(233)"] = "é", ["chr(8364)"] = "€", ["chr(128512)"] = "😀",
      ["char_length('é€😀a')"] = 4, ["concat_ws('-', 'a', null, 1)"] = "a-1", ["split_part('a,b,c', ',', 2)"] = "b",
      ["split_part('a,b,c', ',', -1)"] = "c", ["split_part('a,b,c', ',', 4)"] = "", ["split_part('abc', '', 1)"] = "abc",
      ["split('a,b,,c', ',')"] = { "a", "b", "", "c" }, ["split('', ',')"] = { "" }, ["initcap('hello wORLD it''s')"] = "Hello World It's",
      ["translate('12345', '143', 'ax')"] = "a2x5", ["printf('%d-%05.1f|%-4s|%4s|%x%%', 7, 2.25, 'a', 'b', 255)"] = "7-002.2|a   |   b|ff%",
      ["printf('%s %s', 1.0, null)"] = "1.0 NULL", ["printf('%.2s', 'abc')"] = "ab",
    }
    assert.is_nil(constant "concat_ws(null, 'a')")
    assert.matches("the format wants more than 1 value", message "printf('%d %d', 1)", 1, true)
    assert.matches("in the format, got '%n'", message "printf('%n', 1)", 1, true)
    assert.matches("code point", message "chr(55296)", 1, true)
    assert.matches("more than 1073741824 bytes", message "repeat('abc', 9223372036854775807)", 1, true)
  end)

  it("of tables", function()
    local t = { 10, 20, { k = "v", list = { "x" } } }
    assert.equal(20, value("a[2]", t))
    assert.equal(10, value("a[-3]", t))
    assert.is_nil(value("a[4]", t))
    assert.equal("v", value("a[3].k", t))
    assert.equal("x", value("a[3]['list'][1]", t))
    assert.is_nil(value("a[3].nothing", t))
    assert.is_true(value("list_contains(a, 20)", { 10, 20.0 }))
    assert.is_false(value("list_contains(a, 5)", {}))
    assert.equal("b", value("split(a, ',')[2]", "a,b"))
    assert.matches("table expected, got integer 1", message("a[1]", 1), 1, true)
    assert.same({ { w = "a" }, { w = "b" } }, lb.from({ { s = "a b" } }):select { w = "split(s, ' ')" }:explode("w"):collect())
  end)

  it("of times", function()
    all_equal {
      ["dayofweek('2024-02-29')"] = 4, ["isodow('2024-03-03')"] = 7, ["dayofyear('2024-12-31')"] = 366, ["week('2021-01-03')"] = 53,
      ["isoyear('2021-01-03')"] = 2020, ["quarter('2024-06-30')"] = 2, ["monthname('2024-02-29')"] = "February",
      ["dayname('2024-02-29')"] = "Thursday", ["date('2024-02-29T10:00:00Z')"] = "2024-02-29", ["date(86400)"] = "1970-01-02",
      ["'2024-02-29 10:00'::date"] = "2024-02-29", ["last_day('2023-02-10')"] = "2023-02-28", ["make_date(2024, 2, 29)"] = "2024-02-29",
      ["to_timestamp(0)"] = "1970-01-01T00:00:00Z", ["to_timestamp(1.5)"] = "1970-01-01T00:00:01.5Z",
      ["date_add('2024-02-28', 2)"] = "2024-03-01", ["date_sub('2024-03-01', 1)"] = "2024-02-29",
      ["date_add('month', 1, '2024-01-31')"] = "2024-02-29", ["date_add('year', -1, '2024-02-29T01:02:03Z')"] = "2023-02-28T01:02:03Z",
      ["date_add('hours', 25, '2024-02-28')"] = "2024-02-29T01:00:00",
      ["date_add('second', 90, '2024-01-01 00:00')"] = "2024-01-01 00:01:30",
      ["date_add('day', 1, 0)"] = 86400, ["date_add('quarter', -1, '2024-01-15')"] = "2023-10-15",
      ["date_diff('day', '2024-02-28', '2024-03-01')"] = 2, ["date_diff('month', '2023-12-31', '2024-01-01')"] = 1,
      ["date_diff('hour', '2024-01-01T00:59:59', '2024-01-01T01:00:00')"] = 1, ["date_diff('week', '2024-03-03', '2024-03-04')"] = 1,
      ["date_diff('year', '2024-12-31', '2020-01-01')"] = -4, ["extract(year from '2024-02-29')"] = 2024,
      ["extract(DOW from '2024-02-29')"] = 4, ["date_part('doy', '2024-02-29')"] = 60,
      ["strftime('2024-02-09T15:04:05.25+01:00', '%a %A %b %B %e %I %p %f %y %j %G-W%V-%u %z %%')"] =
        "Fri Friday Feb February  9 03 PM 250000 24 040 2024-W06-5 +0100 %",
      ["strftime('2024-02-09', '%-d.%-m.%y %-H')"] = "9.2.24 0",
      ["strptime('09/Feb/2024:15:04:05 +0100', '%d/%b/%Y:%H:%M:%S %z')"] = "2024-02-09T15:04:05+01:00",
      ["strptime('2/9/24 3:04 PM', '%m/%d/%y %I:%M %p')"] = "2024-02-09T15:04:00", ["strptime('20240209', '%Y%m%d')"] = "2024-02-09",
      ["strptime('12:00:01.125', '%T.%f')"] = "1970-01-01T12:00:01.125",
    }
    assert.is_nil(constant "try_strptime('x', '%Y')")
    assert.is_nil(constant "try_strptime('2023-02-29', '%F')")
    assert.is_nil(constant "try_cast('x' as date)")
    assert.matches("text of the form '%Y' expected, got string 'x'", message "strptime('x', '%Y')", 1, true)
    assert.matches("format of", message "strftime(0, '%Q')", 1, true)
    assert.matches("there is no day 2023-2-29", message "make_date(2023, 2, 29)", 1, true)
    assert.matches("a time has no 'yeer'; did you mean 'year'?", message "extract(yeer from '2024-01-01')", 1, true)
    assert.matches("the unit is written 'day'", message "date_trunc(day, '2024-01-01')", 1, true)
    assert.matches("not between the years 0 and 9999", message "date_add('year', 8000, '2024-01-01')", 1, true)
  end)

  it("of times mean what sqlite3 and os.date say", function()
    local script, rows = {}, {}
    for i = 1, 200 do
      local seconds = math.random(-17179869184, 17179869184)
      local days = math.random(-2000, 2000)
      rows[i] = { os.date("!%Y-%m-%d %H:%M:%S", seconds), days, seconds }
      script[i] = ("select strftime('%%Y %%m %%d %%H %%M %%S %%j %%w %%s', %d, 'unixepoch'), date(%d, 'unixepoch', '%d days'), "
        .. "datetime(%d, 'unixepoch', 'start of month', '%d months');"):format(seconds, seconds, days, seconds, days)
    end
    local lines = sqlite(table.concat(script, "\n"))
    if not lines then return pending "sqlite3 is not installed" end
    local formatted = values("strftime(a, '%Y %m %d %H %M %S %j %w %s')", rows)
    local added = values("date_add(date(a), b)", rows)
    local months = values("date_add('month', b, date_trunc('month', a))", rows)
    local weeks = values("strftime(c, '%G-%V-%u')", rows)
    local diffs = values("date_diff('day', a, date_add('day', b, a))", rows)
    for i, row in ipairs(rows) do
      assert.equal(lines[i], table.concat({ formatted[i][1], added[i][1], months[i][1] }, "|"), row[1])
      assert.equal(os.date("!%G-%V-%u", row[3]), weeks[i][1], row[1])
      assert.equal(row[2], diffs[i][1])
    end
    local parsed = values("epoch(strptime(a, '%Y-%m-%d %H:%M:%S')) = c", rows)
    for i, row in ipairs(rows) do assert.is_true(parsed[i][1], row[1]) end
  end)

  it("of casts and arithmetic hold at their limits", function()
    all_equal {
      ["cast('9223372036854775807' as int)"] = support.maxinteger, ["cast(-9223372036854775808 as float)"] = -2.0 ^ 63,
      ["cast(-0.9 as int)"] = 0, ["cast(true as int)"] = 1, ["cast('  1e3 ' as float)"] = 1000.0, ["cast(1e15 as string)"] = "1e+15",
      ["cast(0.1 as string)"] = "0.1", ["cast(1 as boolean)"] = true, ["'F'::bool"] = false, ["7 / 7"] = 1.0, ["-7 // 2.0"] = -4.0,
      ["-7 % -4"] = -3, ["9223372036854775807 % -1"] = 0, ["try_cast(1.5 as int)"] = 1, ["-9223372036854775808"] = support.mininteger,
    }
    for _, text in ipairs { "cast('1.5' as int)", "cast('9223372036854775808' as int)", "cast('' as int)", "cast('0x10' as int)",
      "cast(1e19 as int)", "cast('1e999' as float)", "cast('yes' as boolean)", "cast(split('a', ',') as string)",
      "cast('2024-02-30' as date)" } do
      assert.matches("cannot be cast", (message(text):gsub("expected, got", "cannot be cast")), 1, true)
      assert.is_nil(constant(text:gsub("^cast", "try_cast")), text)
    end
    for _, text in ipairs { "1 / 0", "1 // 0", "1 % 0", "1.5 / 0", "1.5 // 0.0", "1.5 % 0", "0 / 0", "mod(1, 0)" } do
      assert.is_nil(constant(text), text)
    end
    for _, text in ipairs { "a + 1", "a * 2", "a - -1", "-(-a - 1)", "abs(-a - 1)", "(-a - 1) // -1", "round(a, -1)" } do
      assert.matches("integer overflow", message(text, support.maxinteger), 1, true)
    end
    local rows, script = {}, {}
    for i = 1, 100 do
      local x = (math.random() - 0.5) * 2.0 ^ math.random(-5, 60)
      rows[i] = { x, math.random(-1000, 1000), math.random(-3, 3) }
      script[i] = ("select cast(%.17g as integer), cast(%d as text), %d + %d * %d, %d / %d.0;"):format(
        x, rows[i][2], rows[i][2], rows[i][2], rows[i][3], rows[i][2], rows[i][3])
    end
    local lines = sqlite(table.concat(script, "\n"))
    if not lines then return pending "sqlite3 is not installed" end
    local whole, text, sum = values("cast(a as integer)", rows), values("cast(b as string)", rows), values("b + b * c", rows)
    local quotient = values("b / c", rows)
    for i, line in ipairs(lines) do
      local w, t, s, q = line:match "^(.-)|(.-)|(.-)|(.-)$"
      assert.same({ w, t, s }, { core.format(whole[i][1]), text[i][1], core.format(sum[i][1]) }, script[i])
      if q == "" then
        assert.is_nil(quotient[i][1])
      else
        assert.is_true(math.abs(tonumber(q) - quotient[i][1]) <= 1e-9 * math.abs(quotient[i][1]), script[i])
      end
    end
  end)

  it("have a nearest name", function()
    assert.matches("there is no function 'regexp_match'; did you mean 'regexp_matches'?", message "regexp_match('a', 'b')", 1, true)
    assert.matches("there is no function 'datetrunc'; did you mean 'date_trunc'?", message "datetrunc('a', 'b')", 1, true)
    assert.matches("log takes 1 or 2 arguments, got 3", message "log(1, 2, 3)", 1, true)
    assert.matches("regexp_extract takes 2 to 4 arguments, got 1", message "regexp_extract('a')", 1, true)
  end)

  it("finds values in lists of any length, as a table of them would", function()
    local function random_text()
      return ("prefix"):rep(math.random(0, 4)) .. math.random(40)
    end
    for _, n in ipairs { 1, 3, 9, 200 } do
      local candidates, is_one, rows = {}, {}, {}
      for i = 1, n do
        local text = random_text()
        candidates[i], is_one[text] = "'" .. text .. "'", true
      end
      for i = 1, 300 do rows[i] = { random_text(), math.random(20) } end
      local list = table.concat(candidates, ", ")
      local found, missed = values("a in (" .. list .. ")", rows), values("a not in (" .. list .. ")", rows)
      for i, row in ipairs(rows) do
        assert.equal(is_one[row[1]] == true, found[i][1], row[1])
        assert.equal(not is_one[row[1]], missed[i][1], row[1])
      end
    end
  end)
end)

describe("the help about SQL functions", function()
  local sql_help = require "luabatch.sql_help"

  it("has every function, and examples that give what they say", function()
    for _, name in ipairs(sql.functions()) do
      assert.truthy(sql_help.topic(name), "no line about " .. name)
    end
    local n = 0
    for name, entry in pairs(sql_help.entries()) do
      n = n + 1
      assert.truthy(sql.function_named(name), name)
      local gives = support.has_integers and entry.gives or entry.gives:gsub("(%d)%.0%f[%D]", "%1")
      assert.equal(gives, core.format(constant(entry.example), "json"), entry.example)
    end
    assert.is_true(n > 110)
  end)

  it("is shown under any of a function's names", function()
    local help = require "luabatch.help"
    assert.matches("in SQL expressions: substr%(s, from, n%)\n  n bytes.*%(substring is another name of it%)", help.topic "SUBSTRING")
    assert.matches("^ds:sum.*lb.sum.*", help.topic "sum")
    assert.matches("lb.min.*", help.topic "lb.min")
    assert.matches("did you mean 'upper'%?", help.topic "uper")
  end)
end)
