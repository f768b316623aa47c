-- Whole runs over random data: results as awk, sort and uniq give them, and the same bytes whatever the threads and memory.
local cli = require "tests.cli.support"

local seed = tonumber(os.getenv("LB_SEED")) or os.time()

local function text_file(n_lines)
  math.randomseed(seed)
  local lines = {}
  for i = 1, n_lines do
    local words = {}
    for j = 1, math.random(0, 12) do
      local letters = {}
      for k = 1, math.random(1, 3) do letters[k] = string.char(96 + math.random(12)) end
      words[j] = table.concat(letters)
    end
    lines[i] = table.concat(words, " ")
  end
  return cli.file(table.concat(lines, "\n") .. "\n", ".txt")
end

-- What a line of shell prints, which must succeed.
local function output(line, ...)
  local status, out, err = cli.shell(line:format(...))
  assert.same({ 0, "" }, { status, err })
  return out
end

-- Fails without showing megabytes.
local function assert_equal_text(want, got)
  assert.equal(#want, #got)
  assert.is_true(want == got)
end

describe("runs over random data (seed " .. seed .. ")", function()
  local text

  setup(function() text = text_file(20000) end)
  teardown(cli.clean)

  it("count words as uniq does", function()
    local want = output([[tr -s ' ' '\n' < '%s' | grep . | LC_ALL=C sort | uniq -c | awk '{print $2 "\t" $1}']], text)
    assert_equal_text(want, output([[luabatch examples/word_count.lua '%s' | LC_ALL=C sort]], text))
    assert_equal_text(want, output([[luabatch -e 'lb.text(arg[1]):words():value_counts():sort_by_key()' '%s']], text))
    assert_equal_text(want, output([[luabatch -e 'lb.text(arg[1]):words():value_counts()' < /dev/null '%s' | LC_ALL=C sort]], text))
  end)

  it("sort lines as sort does", function()
    local want = output([[LC_ALL=C sort '%s']], text)
    for _, options in ipairs { "--threads 1", "--threads 2", "--threads 7 --memory 32M" } do
      assert_equal_text(want, output([[luabatch %s -e 'lb.text(arg[1]):sort_by()' '%s']], options, text))
    end
    assert_equal_text(output([[LC_ALL=C sort -r '%s']], text),
      output([[luabatch -e 'lb.text(arg[1]):sort_by({ desc = true })' '%s']], text))
    assert_equal_text(output([[LC_ALL=C sort -u '%s']], text),
      output([[luabatch -e 'lb.text(arg[1]):distinct():sort_by()' '%s']], text))
  end)

  it("group as awk does", function()
    local want = output([[awk 'NF >= 2 { n[$1] += length($2) } END { for (k in n) print k "\t" n[k] }' '%s' | LC_ALL=C sort]], text)
    local got = output([[luabatch -e '
      lb.text(arg[1]):fields():filter(function(_, b) return b end)
        :map(function(a, b) return a, #b end):reduce_by_key(function(a, b) return a + b end)' '%s' | LC_ALL=C sort]], text)
    assert_equal_text(want, got)
  end)

  it("give the same bytes with any number of threads and with little memory", function()
    local jobs = {
      ("examples/word_count.lua '%s'"):format(text),
      ("examples/three_steps.lua --min-length=2 '%s'"):format(text),
      ("examples/inverted_index.lua '%s'"):format(text),
      "examples/secondary_sort.lua examples/data/access.log",
      (("-e 'lb.text(arg[1]):words():map(function(w) return w, #w / 7 end)"
        .. ":reduce_by_key(function(a, b) return a + b end)' '%s'")):format(text),
      ("-e 'lb.text(arg[1]):words():map(function(w) return #w / 7 end):sum()' '%s'"):format(text),
    }
    for _, job in ipairs(jobs) do
      local want = output("luabatch --threads 1 %s", job)
      assert.is_true(#want > 0)
      assert_equal_text(want, output("luabatch --threads 2 %s", job))
      assert_equal_text(want, output("luabatch --threads 7 --memory 32M %s", job))
    end
  end)

  it("read several compressed inputs as the plain ones", function()
    local gz, bz2 = cli.path ".gz", cli.path ".bz2"
    output("gzip -c '%s' > '%s'; bzip2 -c '%s' > '%s'", text, gz, text, bz2)
    local want = output("luabatch -e 'lb.text{arg[1], arg[1]}' '%s'", text)
    assert_equal_text(want, output("luabatch -e 'lb.text{arg[1], arg[2]}' '%s' '%s'", gz, bz2))
  end)

  it("save in parts what read gives back", function()
    local dir = cli.path "/"
    output([[luabatch -e 'lb.text(arg[1]):words():value_counts():save(arg[2])' '%s' '%s']], text, dir)
    assert_equal_text(output([[luabatch -e 'lb.text(arg[1]):words():value_counts()' '%s']], text),
      output([[luabatch -e 'lb.read(arg[1])' '%s']], dir))
  end)
end)
