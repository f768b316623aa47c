-- Prints the manual page, made of the table of options: luabatch scripts/man.lua > luabatch.1
local core = require "luabatch.core"
local options = require "luabatch.options"

local function roff(text)
  return (text:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("^([.'])", "\\&%1"):gsub("`([^`]*)`", "\\fB%1\\fR"))
end

local out = {}
local function add(...) out[#out + 1] = table.concat { ... } end

add('.TH LUABATCH 1 "" "luabatch ', core.version, '" "User Commands"')
add ".SH NAME"
add "luabatch \\- batch dataflow over large files, in Lua"
add ".SH SYNOPSIS"
for _, form in ipairs { "\\fIjob.lua\\fR [\\fIarg\\fR...]", "\\fB\\-e\\fR \\fICHUNK\\fR [\\fIarg\\fR...]" } do
  add(".B luabatch")
  add("[\\fIoption\\fR...] ", form)
  add ".br"
end
add ".B luabatch"
add "config | completion bash|zsh|fish"
add ".SH DESCRIPTION"
add(roff("Runs a job file: a Lua script that reads files, transforms and groups their records and writes the result, on all cores and "
  .. "within a fixed amount of memory. A dataset or a job that it returns is run and its records are printed. Without a script, on a "
  .. "terminal, luabatch reads Lua line by line; :help tells more. `-` as a file is standard input."))
add ".SH OPTIONS"
for _, option in ipairs(options.list) do
  add ".TP"
  add(".B ", roff(options.shown(option)))
  local variable = options.variable(option)
  local text = option.help:gsub("[;,]$", "")
  if option.default then text = text .. " (default: " .. option.default .. ")" end
  add(roff(text .. "."), variable and roff(" Variable: " .. variable .. ".") or "")
end
add ".SH EXAMPLES"
for _, example in ipairs {
  { "Count words:", "luabatch -e 'lb.text(arg[1]):words():value_counts()' book.txt" },
  { "Sum by group:", [[luabatch --icsv -e ':group_by("item"):agg { total = lb.sum "price" }' sales.csv]] },
  { "Convert:", "luabatch --icsv --ojson sales.csv > sales.json" },
} do
  add ".PP"
  add(roff(example[1]))
  add ".PP"
  add ".nf"
  add(roff(example[2]))
  add ".fi"
end
add ".SH EXIT STATUS"
for _, status in ipairs {
  { "0", "success" }, { "1", "the job raised an error" }, { "2", "wrong usage, a missing input, an output that exists" },
  { "3", "the script does not compile" }, { "4", "bad input data" }, { "5", "out of memory, disk or descriptors" },
  { "130, 143", "interrupted" }, { "141", "the reader of a pipe is gone" },
} do
  add ".TP"
  add(".B ", status[1])
  add(status[2])
end
print(table.concat(out, "\n"))
