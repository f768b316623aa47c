-- Word count with Lua functions: the job of README.md.
local lb = require "luabatch"

return lb.job {
  mapper = function(_, line, emit)
    for word in line:gmatch("%a+") do emit(word:lower(), 1) end
  end,
  combiner = function(word, counts, emit)
    local n = 0
    for c in counts do n = n + c end
    emit(word, n)
  end,
  reducer = function(word, counts, emit)
    local n = 0
    for c in counts do n = n + c end
    emit(word, n)
  end,
}
