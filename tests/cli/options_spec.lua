-- The command line: formats of one-liners, settings and where they come from, completion, hints.
local support = require "tests.cli.support"

local ipairs, table = ipairs, table

describe("the command line", function()
  after_each(support.clean)

  local sales = "item,price\nTea,4.5\nLamp,89\nTea,4\n"

  it("reads and writes formats by option", function()
    local csv = support.file(sales, ".csv")
    local json = '{"item":"Tea","price":4.5}\n{"item":"Lamp","price":89.0}\n{"item":"Tea","price":4.0}\n'
    assert.same({ 0, json, "" }, { support.run("--icsv", "--ojson", csv) })
    assert.same({ 0, json, "" }, { support.shell(("luabatch --icsv --ojson < %s"):format(csv)) })
    local lines = support.file(json, ".jsonl")
    assert.same({ 0, "item,price\nTea,4.5\nLamp,89.0\nTea,4.0\n", "" }, { support.run("--ijson", "--ocsv", lines) })
    assert.same({ 0, '{"item":"Lamp","price":89.0}\n', "" }, { support.run("--ijson", "-e", ':where "price > 5"', lines) })
    assert.same({ 0, "item,price\nLamp,89.0\n", "" }, { support.run("--icsv", "-e", ':where "price > 5"', csv) })
    local out = support.path(".json")
    assert.same({ 0, "", "" }, { support.run("--icsv", "--output", out, csv) })
    assert.equal(json, support.read(out))
    local tsv = support.file((sales:gsub(",", "\t")), ".tsv")
    assert.same({ 0, "item\tn\nTea\t2\n", "" },
      { support.run("--itsv", "-e", ':group_by("item"):agg { n = lb.count() }:where "n > 1"', tsv) })
    local tabs = "item\tprice\nTea\t4.5\nLamp\t89.0\nTea\t4.0\n"
    assert.same({ 0, tabs, "" }, { support.run("--icsv", "--otsv", csv) })
    assert.same({ 0, tabs, "" }, { support.run("--itsv", tsv) })
    assert.same({ 0, "Lamp\t89.0\n", "" }, { support.run("--itsv", "--otext", "-e", ':where "price > 5"', tsv) })
    out = support.path(".tsv")
    assert.same({ 0, "", "" }, { support.run("--icsv", "--output", out, csv) })
    assert.equal(tabs, support.read(out))
    out = support.path(".tsv")
    assert.same({ 0, "", "" }, { support.run("--output", out, "-e", 'lb.from_pairs { { \'"a"\', 1 } }') })
    assert.equal('"a"\t1\n', support.read(out))
    assert.same({ 0, "4\n", "" }, { support.run("--itext", "-e", "input:count()", csv) })
    assert.same({ 0, "8\n", "" }, { support.run("-e", ":map(function(l) return #l end):max() - 2", csv) })
    assert.same({ 0, "2\n", "" }, { support.shell("printf 'a b\\nc\\n' | luabatch -e ':count()'") })
  end)

  it("takes lines as rows of one column", function()
    local log = support.file("short\na longer line\nend\na longer line\n", ".log")
    assert.same({ 0, "a longer line\na longer line\n", "" }, { support.run("--itext", "-e", ':where "length(line) > 5"', log) })
    assert.same({ 0, "line,count\nend,1\nshort,1\n", "" }, { support.run("--itext", "--ocsv", "-e",
      ':group_by("line"):count():where "count = 1":order_by "line"', log) })
  end)

  it("writes no file whose name promises another format", function()
    local csv = support.file(sales, ".csv")
    local out = support.path(".parquet")
    local status, _, err = support.run("--icsv", "--output", out, csv)
    assert.equal(1, status)
    assert.truthy(err:find("--output: parquet cannot be written; save_csv", 1, true), err)
    assert.equal(0, (support.run("--icsv", "--output", out, "--output-format", "csv", csv)))
  end)

  it("tells each setting and where it comes from", function()
    local status, out, err = support.shell("LUABATCH_MEMORY=1G LUABATCH_QUIET=1 luabatch --threads 3 config")
    assert.same({ 0, "" }, { status, err })
    for _, row in ipairs { { "threads", "3", "option %-%-threads" }, { "memory", "1073741824", "LUABATCH_MEMORY" },
      { "quiet", "true", "LUABATCH_QUIET" }, { "tmp", "%S+", "default" } } do
      assert.truthy(("\n" .. out):find("\n" .. table.concat(row, " +") .. "\n"), out)
    end
  end)

  it("prefers a file to a command of its name", function()
    local status, out = support.shell("cd $(mktemp -d) && echo 'print(7)' > config && luabatch config && rm config")
    assert.same({ 0, "7\n" }, { status, out })
  end)

  it("completes itself in shells", function()
    local status, out, err = support.shell([[
      source <(luabatch completion bash)
      complete_words() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _luabatch; echo "${COMPREPLY[*]}"; }
      complete_words luabatch --output-f
      complete_words luabatch --output-format j
      complete_words luabatch completion z
      complete_words luabatch conf
      luabatch completion zsh | head -n 1
      luabatch completion fish | grep -c -- '-l memory'
    ]])
    assert.same({ 0, "--output-format\njson\nzsh\nconfig\n#compdef luabatch\n1\n", "" }, { status, out, err })
    status, out, err = support.run("completion", "fsh")
    assert.same({ 2, "", "luabatch: completion: 'bash', 'zsh', 'fish' expected, got 'fsh'; did you mean 'fish'?\n" }, { status, out, err })
  end)

  it("hints at what was meant", function()
    local path = support.file("x\n", ".text")
    local wrong = path:sub(1, -2)
    local link = support.path()
    assert(os.execute("ln -s /nonexistent/lb " .. link))
    for _, case in ipairs {
      { { wrong }, ("cannot open %s: No such file or directory; did you mean '%s'?"):format(wrong, path) },
      { { "-e", ("lb.text('%s'):count()"):format(wrong) }, ("(command line):1: no such file: %s; did you mean '%s'?"):format(wrong, path) },
      { { "--itext", link }, ("no such file: %s; it is a symbolic link to nothing"):format(link) },
      { { "--memry", "1G" }, "unknown option --memry; did you mean '--memory'?" },
      { { "--output-format", "jsn" },
        "option --output-format: 'text', 'json', 'csv', 'tsv', 'lua' expected, got 'jsn'; did you mean 'json'?" },
      { { "help" }, "cannot open help: No such file or directory; did you mean 'luabatch --help'?" },
      { { "version" }, "cannot open version: No such file or directory; did you mean 'luabatch --version'?" },
      { { "--icsv", path, "-e", ":limit(1)" }, "no such file: -e; options stand before the script or the inputs" },
      { { "confg" }, "cannot open confg: No such file or directory; did you mean 'config'?" },
      { { "config", "--threads=3" }, "config takes nothing, got '--threads=3'; options stand before it" },
      { { "--check=1" }, "option --check takes no value" },
    } do
      local status, out, err = support.run(table.unpack(case[1]))
      assert.same({ 2, "", "luabatch: " .. case[2] .. "\n" }, { status, out, err })
    end
  end)

  it("says its version and fits its help on a screen", function()
    local _, version = support.run("--version")
    assert.truthy(version:find("^luabatch %d+%.%d+%.%d+ %(commit %S+, %a+, Lua[JIT]* [%d.]+[%w.-]*, libuv"))
    local _, help = support.run("--help")
    local _, lines = help:gsub("\n", "")
    assert.is_true(lines <= 50, lines .. " lines")
    assert.is_true(help:find("luabatch wordcount.lua", 1, true) < help:find("--threads", 1, true))
  end)

  it("prints each row once when a late value widens a type", function()
    local lines = { "a,b" }
    for n = 1, 30000 do lines[#lines + 1] = ("%d,x%d"):format(n, n) end
    lines[#lines + 1] = "late,y"
    local text = table.concat(lines, "\n") .. "\n"
    local path = support.file(text, ".csv")
    for _, threads in ipairs { "1", "3" } do
      assert.same({ 0, text, "" }, { support.run("--icsv", "--threads", threads, path) })
    end
  end)

  it("begins no further run after a signal, though the script caught the error", function()
    local begun = support.path()
    local script = support.file(([[
local lb = require "luabatch"
print(pcall(function()
  return lb.range(1e12):map(function(x)
    if x == 1 then io.open(%q, "w"):close() end
    return x
  end):sum()
end))
print(lb.range(10):sum())
]]):format(begun), ".lua")
    assert.same({ 130, "false\tinterrupted\n", "luabatch: interrupted\n" }, { support.signal("INT", "test -e " .. begun, script) })
  end)
end)
