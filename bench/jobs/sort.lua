-- Sorts the lines of a file into another file. Arguments: input, output.
local lb = require "luabatch"

lb.text(arg[1]):sort_by(function(line) return line end):save_text(arg[2], { mode = "overwrite" })
