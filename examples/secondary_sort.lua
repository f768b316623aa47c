-- The longest pause of each client of a web server, in seconds: its requests come in order of time, for a value is a
-- list that begins with the time, and values are sorted.
-- luabatch examples/secondary_sort.lua examples/data/access.log
local lb = require "luabatch"

local months = {
  Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12,
}

return lb.job {
  mapper = function(_, line, emit)
    local client, day, month, year, hour, minute, second, path =
      line:match('^(%S+) .-%[(%d+)/(%a+)/(%d+):(%d+):(%d+):(%d+).-%] "%u+ (%S+)')
    if client then
      local time = os.time {
        year = tonumber(year), month = months[month], day = tonumber(day), hour = tonumber(hour),
        min = tonumber(minute), sec = tonumber(second), isdst = false,
      }
      emit(client, { time, path })
    end
  end,
  sort_values = true,
  reducer = function(client, requests, emit)
    local longest, after, last = 0, nil, nil
    for request in requests do
      if last and request[1] - last[1] > longest then
        longest, after = request[1] - last[1], last[2]
      end
      last = request
    end
    if after then emit(client, { pause = longest, after = after }) end
  end,
}
