-- Bytes sent by status of a web server's log, and on standard error how many lines could not be read.
-- luabatch examples/log_bytes_by_status.lua examples/data/access.log
local lb = require "luabatch"

local unreadable = lb.counter "unreadable_lines"

local bytes_by_status = lb.text(#arg > 0 and arg or "-")
  :flat_map(function(line, emit)
    local status, bytes = line:match('" (%d%d%d) (%S+)')
    if status then
      emit(tonumber(status), tonumber(bytes) or 0)
    else
      unreadable:add(1)
    end
  end)
  :reduce_by_key(function(a, b) return a + b end)
  :sort_by_key()

for status, bytes in bytes_by_status:iterate() do print(status, bytes) end
io.stderr:write("unreadable lines: ", unreadable:value(), "\n")
