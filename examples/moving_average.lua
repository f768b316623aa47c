-- Each day's revenue and its average over seven days, the day and those before it; days without sales do not count.
-- luabatch examples/moving_average.lua examples/data/sales.csv
local lb = require "luabatch"

local DAY = 24 * 60 * 60 -- seconds

lb.csv(arg[1])
  :group_by("date")
  :agg({ revenue = lb.sum "amount" })
  :window({
    order_by = "date",
    range = { -6 * DAY, 0 },
    average = lb.avg "revenue",
    days = lb.count(),
    change = lb.over(function(frame) return frame[#frame].revenue - frame[1].revenue end),
  })
  :select("date", "revenue", { average = "round(average, 2)" }, "days", "change")
  :show(30)
