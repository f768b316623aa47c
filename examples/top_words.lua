-- The 20 most frequent words of some texts, as a table.
-- luabatch examples/top_words.lua /usr/share/common-licenses
local lb = require "luabatch"

local inputs = #arg > 0 and { table.unpack(arg) } or { "-" }

lb.text(inputs)
  :flat_map(function(line, emit)
    for word in line:gmatch("%a+") do emit(word:lower(), 1) end
  end)
  :reduce_by_key(function(a, b) return a + b end)
  :sort_by(function(word, n) return { -n, word } end)
  :show(20)
