-- Counts words: a job with a mapper, a combiner and a reducer. Each line of output is word<TAB>count.
-- luabatch examples/word_count.lua /usr/share/common-licenses
local lb = require "luabatch"

local function sum(word, counts, emit)
  local n = 0
  for c in counts do n = n + c end
  emit(word, n)
end

return lb.job {
  mapper = function(_, line, emit)
    for word in line:gmatch("%a+") do emit(word:lower(), 1) end
  end,
  combiner = sum,
  reducer = sum,
}
