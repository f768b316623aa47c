-- In which files each word stands: word<TAB>list of paths.
-- luabatch examples/inverted_index.lua /usr/share/common-licenses
local lb = require "luabatch"

local inputs = #arg > 0 and { table.unpack(arg) } or { "." }

return lb.files(inputs)
  :flat_map(function(path, content, emit)
    local seen = {}
    for word in content:gmatch("%a+") do
      word = word:lower()
      if not seen[word] then
        seen[word] = true
        emit(word, path)
      end
    end
  end)
  :reduce_groups(function(word, paths, emit)
    local list = {}
    for path in paths do list[#list + 1] = path end
    emit(word, list)
  end, { sort_values = true })
