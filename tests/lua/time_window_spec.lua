-- Windows of time as groups, against loops.
local lb = require "luabatch"
local support = require "tests.lua.support"
local tostring, math = tostring, math

local function message(f, ...) return tostring(select(2, pcall(f, ...))) end

describe("windows of time (seed " .. support.seed .. ")", function()
  teardown(support.clean)

  local function random_rows(n, time)
    return support.list(n, function(i)
      return { id = i, user = math.random(8) > 1 and "u" .. math.random(5) or nil, ts = math.random(15) > 1 and time() or nil }
    end)
  end

  local function integers() return math.random(-5000, 5000) end
  local function floats() return math.random(-40000, 40000) / 8 end
  local function tenths() return math.random(-3000, 3000) * 0.1 end

  -- Runs `make` with other threads and memory, which must give the same rows.
  local function same_rows(make)
    local before
    for _, settings in ipairs { { threads = 1 }, { threads = 3 }, { threads = 2, memory = 8 * 1024 ^ 2 } } do
      support.with(settings, function()
        local rows = make():collect()
        if before then assert.same(before, rows) end
        before = rows
      end)
    end
    return before
  end

  -- Rows by window and user; every record must be in its windows by their bounds, and in no others.
  local function check_windows(rows, result, starts_of)
    local wanted, n = {}, 0
    for _, row in ipairs(rows) do
      for _, start in ipairs(row.ts and starts_of(row.ts) or {}) do
        local key = ("%.17g/%s"):format(start, tostring(row.user))
        if not wanted[key] then wanted[key], n = {}, n + 1 end
        table.insert(wanted[key], row)
      end
    end
    for _, got in ipairs(result) do
      local key = ("%.17g/%s"):format(got.window_start, tostring(got.user))
      local group = assert(wanted[key], key)
      local ids = {}
      for i, row in ipairs(group) do
        ids[i] = row.id
        assert.is_true(got.window_start <= row.ts and row.ts < got.window_end)
      end
      assert.same(ids, got.ids)
      assert.equal(#group, got.n)
      n = n - 1
    end
    assert.equal(0, n)
  end

  local function grouped(rows, window)
    local ds = lb.from(rows)
    return same_rows(function()
      return ds:group_by(window, "user"):agg({ ids = lb.collect_list "id", n = lb.count() })
    end)
  end

  for name, case in pairs {
    ["integers"] = { integers, 60, 0 }, ["an offset"] = { integers, 100, -37 }, ["one second"] = { integers, 1, 0 },
    ["fractions"] = { floats, 2.5, 0.5 }, ["floats in whole windows"] = { floats, 7, 3 },
  } do
    it("lie side by side: " .. name, function()
      local time, size, offset = case[1], case[2], case[3]
      local rows = random_rows(1500, time)
      local result = grouped(rows, lb.tumble("ts", size, offset))
      check_windows(rows, result, function(t) return { math.floor((t - offset) / size) * size + offset } end)
      for _, row in ipairs(result) do assert.equal(row.window_start + size, row.window_end) end
    end)
  end

  it("contain their times also where sizes are no binary fractions", function()
    local rows = random_rows(3000, tenths)
    local starts, ends = {}, {}
    for _, row in ipairs(grouped(rows, lb.tumble("ts", 0.1))) do
      starts[row.window_start], ends[row.window_end] = true, true
    end
    local result = grouped(rows, lb.tumble("ts", 0.1))
    local n = 0
    for _, row in ipairs(result) do
      for _, id in ipairs(row.ids) do
        local t = rows[id].ts
        assert.is_true(row.window_start <= t and t < row.window_end)
        n = n + 1
      end
    end
    for _, row in ipairs(rows) do n = row.ts and n - 1 or n end
    assert.equal(0, n)
    -- Windows neither overlap nor leave gaps: where two are neighbours they share the border.
    local sorted = {}
    for start in pairs(starts) do sorted[#sorted + 1] = start end
    table.sort(sorted)
    for i = 2, #sorted do
      if sorted[i] - sorted[i - 1] < 0.15 then assert.is_true(ends[sorted[i]] == true) end
    end
  end)

  for name, case in pairs {
    ["overlap"] = { integers, 100, 30, 0 }, ["overlap unevenly"] = { integers, 60, 25, 7 }, ["leave gaps"] = { integers, 20, 50, -10 },
    ["of fractions overlap"] = { floats, 7.5, 2.5, 0.25 },
  } do
    it(name, function()
      local time, size, every, offset = case[1], case[2], case[3], case[4]
      local rows = random_rows(support.size(800, 200), time)
      check_windows(rows, grouped(rows, lb.slide("ts", size, every, offset)), function(t)
        local starts = {}
        for k = math.floor((t - offset - size) / every) - 1, math.floor((t - offset) / every) + 1 do
          local start = k * every + offset
          if start <= t and t < start + size then starts[#starts + 1] = start end
        end
        return starts
      end)
    end)
  end

  local function check_sessions(rows, result, gap, by_user)
    local users, wanted, n = {}, {}, 0
    for _, row in ipairs(rows) do
      if row.ts then
        local user = by_user and tostring(row.user) or ""
        users[user] = users[user] or {}
        table.insert(users[user], row)
      end
    end
    for user, list in pairs(users) do
      table.sort(list, function(a, b) if a.ts ~= b.ts then return a.ts < b.ts end return a.id < b.id end)
      local session
      for _, row in ipairs(list) do
        if not session or row.ts >= session.last + gap then
          session = { start = row.ts, ids = {} }
          wanted[user .. "/" .. ("%.17g"):format(row.ts)] = session
          n = n + 1
        end
        session.last = row.ts
        table.insert(session.ids, row.id)
      end
    end
    for _, got in ipairs(result) do
      local session = wanted[(by_user and tostring(got.user) or "") .. "/" .. ("%.17g"):format(got.window_start)]
      assert.same(session.ids, got.ids)
      assert.equal(session.last + gap, got.window_end)
      n = n - 1
    end
    assert.equal(0, n)
  end

  for name, case in pairs {
    ["integers"] = { integers, 20 }, ["floats"] = { floats, 12.5 }, ["gap of one"] = { integers, 1 }, ["all in one"] = { integers, 20000 },
  } do
    it("are sessions: " .. name, function()
      local rows = random_rows(support.size(1500, 300), case[1])
      check_sessions(rows, grouped(rows, lb.session("ts", case[2])), case[2], true)
      local alone = same_rows(function()
        return lb.from(rows):group_by(lb.session("ts", case[2])):agg({ ids = lb.collect_list "id" })
      end)
      check_sessions(rows, alone, case[2], false)
    end)
  end

  it("of text are text, and the same as those of numbers", function()
    local rows = support.list(500, function(i) return { id = i, user = "u" .. math.random(3), ts = math.random(0, 200000) } end)
    for _, window in ipairs { { lb.tumble, "1 hour" }, { lb.slide, "90 minutes", 1800 }, { lb.session, "30 seconds" } } do
      local make, size, every = window[1], window[2], window[3]
      local function rows_of(ds)
        return ds:group_by(make("ts", size, every), "user"):agg({ ids = lb.collect_list "id" }):order_by("window_start", "user"):collect()
      end
      local of_numbers = rows_of(lb.from(rows))
      local of_text = rows_of(lb.from(rows):with_columns({ ts = "strftime(ts, '%Y-%m-%dT%H:%M:%S')" }))
      for _, row in ipairs(of_numbers) do
        row.window_start = os.date("!%Y-%m-%dT%H:%M:%S", row.window_start)
        row.window_end = os.date("!%Y-%m-%dT%H:%M:%S", row.window_end)
      end
      assert.same(of_numbers, of_text)
    end
  end)

  it("are written in the form of their times", function()
    local function bounds(size, ...)
      local list = {}
      for i, ts in ipairs { ... } do list[i] = { ts = ts } end
      local rows = lb.from(list):group_by(lb.tumble("ts", size)):agg({ n = lb.count() }):order_by("window_start"):collect()
      local texts = {}
      for i, row in ipairs(rows) do texts[i] = ("%s %s %d"):format(row.window_start, row.window_end, row.n) end
      return table.concat(texts, " | ")
    end
    assert.equal("2024-02-29 2024-03-01 2", bounds("1 day", "2024-02-29", "2024-02-29"))
    assert.equal("1969-12-31T23:00:00Z 1970-01-01T00:00:00Z 1", bounds(3600, "1969-12-31T23:59:59Z"))
    assert.equal("2024-01-01 10:15 2024-01-01 10:30 1", bounds("15 minutes", "2024-01-01 10:29"))
    assert.equal("2024-01-01T10:00:00.5 2024-01-01T10:00:01 1", bounds(0.5, "2024-01-01T10:00:00.75"))
    -- An hour of another zone is the same hour; the least text says how it is written.
    assert.equal("2024-01-01T10:00Z 2024-01-01T11:00Z 2", bounds(3600, "2024-01-01T12:30+02:00", "2024-01-01T10:31Z"))
    assert.equal("2024-01-01T12:00+02:00 2024-01-01T13:00+02:00 1", bounds(3600, "2024-01-01T12:30+02:00"))
  end)

  it("stand where group_by names them, and count and pivot know them", function()
    local ds = lb.from { { u = "a", k = 1, ts = 5, v = 1 }, { u = "b", k = 1, ts = 15, v = 2 }, { u = "b", k = 1, ts = 3, v = 3 } }
    assert.same({ "u", "window_start", "window_end", "k", "count" }, ds:group_by("u", lb.tumble("ts", 10), "k"):count()._node.names)
    local pivoted = ds:pivot({ index = { lb.tumble("ts", 10), "k" }, columns = "u", values = lb.sum "v" })
    assert.same({ "window_start", "window_end", "k", "a", "b" }, pivoted._node.names)
    assert.same({
      { window_start = 0, window_end = 10, k = 1, a = 1, b = 3 }, { window_start = 10, window_end = 20, k = 1, b = 2 },
    }, pivoted:order_by("window_start"):collect())
    assert.same({ { window_start = 3, window_end = 26, count = 3 } }, ds:group_by(lb.session("ts", 11)):count():collect())
  end)

  it("take a file's columns as its types are in the end", function()
    local lines = { "ts,v" }
    for i = 1, 20000 do lines[#lines + 1] = i .. ",1" end
    lines[#lines + 1] = "1970-01-01T00:00:00,5"
    local path = support.file(table.concat(lines, "\n") .. "\n", ".csv")
    local result = lb.csv(path, { types = { ts = "string" } }):where("v = 5"):group_by(lb.tumble("ts", 60)):count():collect()
    assert.same({ { window_start = "1970-01-01T00:00:00", window_end = "1970-01-01T00:01:00", count = 1 } }, result)
    assert.matches("no time", message(function() lb.csv(path):group_by(lb.tumble("ts", 60)):count():collect() end))
  end)

  it("fail with the record that has no time", function()
    local path = support.file("ts,v\n2024-01-01,1\nyesterday,2\n", ".csv")
    local m = message(function() lb.csv(path):group_by(lb.tumble("ts", 60)):count():collect() end)
    assert.matches("tumble%(ts%): no time", m)
    assert.matches("record .*csv:3", m)
    assert.matches("time", message(function() lb.csv(path):group_by(lb.session("ts", 60)):count():collect() end))
    assert.matches("too far away", message(function()
      lb.from({ { ts = support.maxinteger } }):group_by(lb.tumble("ts", 60)):count():collect()
    end))
    assert.matches("too far away", message(function()
      lb.from({ { ts = 1e300 } }):group_by(lb.slide("ts", 60, 30)):count():collect()
    end))
    local booleans = support.file("ts\ntrue\nfalse\n", ".csv")
    for _, window in ipairs { lb.tumble("ts", 60), lb.slide("ts", 60, 30), lb.session("ts", 60) } do
      assert.matches("time", message(function() lb.csv(booleans):group_by(window):count():collect() end))
    end
    assert.same({}, lb.from({ { ts = 1, v = 1 } }):where("v > 1"):group_by(lb.session("ts", 9)):count():collect())
  end)

  it("show what was written where they fail, not how they are computed", function()
    local far = message(function() lb.from({ { t = "9999-12-31" } }):group_by(lb.tumble("t", "7 days")):count():collect() end)
    assert.matches('window_end of tumble("t")', far, 1, true)
    local none = message(function() lb.from({ { t = "x" } }):group_by(lb.session("t", 5)):count():collect() end)
    assert.matches('session(t) "t": ', none, 1, true)
    local out = support.path "/"
    local folder = message(function()
      lb.from({ { t = { 1 }, v = 1 } }):select("t", "v"):save_csv(out, { partition_by = "t" })
    end)
    assert.matches('"partition_by t": ', folder, 1, true)
    assert.matches("a folder has no name", message(function()
      lb.from({ { [""] = 1, v = 1 } }):select("", "v"):save_csv(out, { partition_by = "" })
    end), 1, true)
  end)

  it("refuse what cannot be", function()
    local ds = lb.from { { ts = 1 } }
    assert.matches("bad argument 'size' to tumble %(positive number expected, got 0%)", message(lb.tumble, "ts", 0))
    assert.matches("'size' to tumble %(number of seconds, or text such as \"15 minutes\"", message(lb.tumble, "ts", "5 apples"))
    assert.matches("bad argument 'every' to slide %(number expected, got nil%)", message(lb.slide, "ts", 5))
    assert.matches("bad argument 'gap' to session %(positive number expected, got %-1%)", message(lb.session, "ts", -1))
    assert.matches("bad argument 'column' to session %(string expected, got nil%)", message(lb.session))
    assert.matches("there is no column 'tz'; did you mean 'ts'", message(function() ds:group_by(lb.tumble("tz", 5)) end))
    assert.matches("group_by: more than one window", message(function() ds:group_by(lb.tumble("ts", 5), lb.session("ts", 5)) end))
  end)
end)
