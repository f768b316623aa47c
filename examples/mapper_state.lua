-- Words that are not in a list, with their number: the list is loaded once for each task, and counts are
-- combined by hand in the task's own table.
-- luabatch examples/mapper_state.lua --words=examples/data/known_words.txt /usr/share/common-licenses
local lb = require "luabatch"

return lb.job {
  options = { words = "examples/data/known_words.txt" },
  mapper_init = function(task)
    task.known, task.counts = {}, {}
    for word in io.lines(lb.options.words) do task.known[word:lower()] = true end
  end,
  mapper = function(_, line, _, task)
    for word in line:lower():gmatch("%a+") do
      if not task.known[word] then task.counts[word] = (task.counts[word] or 0) + 1 end
    end
  end,
  mapper_final = function(emit, task)
    for word, n in pairs(task.counts) do emit(word, n) end
  end,
  reducer = function(word, counts, emit)
    local n = 0
    for c in counts do n = n + c end
    emit(word, n)
  end,
}
