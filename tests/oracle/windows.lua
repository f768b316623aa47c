--- Random windows, in luabatch and as queries.
local windows = {}

function windows.step() return nil end

return windows
