-- Anagrams in three steps: the distinct words, the words with the same letters, and how many words such groups
-- have. Shorter words than --min-length are left out.
-- luabatch examples/three_steps.lua --min-length=5 /usr/share/common-licenses
local lb = require "luabatch"

return lb.job {
  options = { min_length = 4 },
  steps = {
    {
      mapper = function(_, line, emit)
        for word in line:gmatch("%a+") do
          if #word >= lb.options.min_length then emit(word:lower(), true) end
        end
      end,
      combiner = function(word, values, emit) emit(word, values()) end,
      reducer = function(word, _, emit) emit(word, true) end,
    },
    {
      mapper = function(word, _, emit)
        local letters = {}
        for letter in word:gmatch(".") do letters[#letters + 1] = letter end
        table.sort(letters)
        emit(table.concat(letters), word)
      end,
      reducer = function(letters, words, emit)
        local list = {}
        for word in words do list[#list + 1] = word end
        if #list > 1 then emit(letters, list) end
      end,
      sort_values = true,
    },
    {
      mapper = function(_, list, emit) emit(#list, list) end,
      reducer = function(size, lists, emit)
        local n, first = 0, nil
        for list in lists do
          first = first or list
          n = n + 1
        end
        emit(size, { groups = n, first = first })
      end,
      sort_values = true,
    },
  },
}
