--- How a report looks: its style sheet, for light and dark.
-- @module luabatch.report_style
return [[
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #1d2430; --soft: #5d6775; --line: #dfe3e9; --fill: #eef1f5;
  --c: #3b78c2; --lua: #d9822b; --gc: #8b5fbf; --spill: #c2413b; --wait: #a7b0bc; --bar: #5b8fd0; --good: #2c7a4b;
  --bad: #b3261e; --bad-fill: #fdecea }
@media (prefers-color-scheme: dark) { :root { --page: #14171c; --card: #1c2027; --ink: #e4e8ee; --soft: #98a2b0; --line: #313843;
  --fill: #262c35; --c: #6ea4e6; --lua: #eaa356; --gc: #b592dd; --spill: #ea7b74; --wait: #69737f; --bar: #5387c6; --good: #67c08c;
  --bad: #f0938c; --bad-fill: #3a2022 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
main, header { max-width: 1180px; margin: 0 auto; padding: 0 24px }
header { padding-top: 28px }
h1 { font-size: 22px; margin: 0 }
h2 { font-size: 18px; margin: 34px 0 12px; display: flex; align-items: center; gap: 10px }
h3 { font-size: 14px; margin: 0 0 12px }
p { margin: 4px 0 }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(520px, 1fr)); gap: 0 14px }
.soft { color: var(--soft) }
.badge { font-size: 12px; font-weight: 600; padding: 1px 9px; border-radius: 10px; border: 1px solid currentColor; color: var(--good) }
.badge.bad { color: var(--bad) }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 16px 18px; margin: 0 0 14px; overflow-x: auto }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(124px, 1fr)); gap: 10px; margin: 0 0 14px }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px }
.tile b { display: block; font-size: 18px; font-weight: 600; font-variant-numeric: tabular-nums }
.tile span { color: var(--soft); font-size: 12px }
.error { background: var(--bad-fill); border-color: var(--bad) }
.error h3 { color: var(--bad) }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font: 12.5px/1.5 ui-monospace, "DejaVu Sans Mono", monospace }
pre.wide { white-space: pre }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 12px }
th, td { padding: 4px 10px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; white-space: nowrap }
td.n, th.n { text-align: right }
td.name { white-space: normal; overflow-wrap: anywhere; min-width: 220px }
td.note { white-space: normal; color: var(--soft); font-size: 12.5px; padding-left: 22px; overflow-wrap: anywhere }
tr.stage td { font-weight: 600; background: var(--fill); padding-left: 8px }
tr:last-child td { border-bottom: 0 }
.legend { display: flex; flex-wrap: wrap; gap: 16px; margin: 10px 0 0; font-size: 12px; color: var(--soft) }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 6px }
td svg { margin-top: 5px }
svg { display: block; font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
svg text { fill: var(--ink) }
svg .soft { fill: var(--soft) }
svg .head { font-weight: 600 }
svg .box { fill: var(--card); stroke: var(--line) }
svg .top { fill: var(--fill) }
svg .edge { fill: none; stroke: var(--soft); stroke-width: 1.4 }
svg .tip { fill: var(--soft) }
svg .axis { stroke: var(--line) }
svg .median { stroke: var(--lua); stroke-dasharray: 4 3 }
.c { fill: var(--c); background: var(--c) } .lua { fill: var(--lua); background: var(--lua) }
.gc { fill: var(--gc); background: var(--gc) }
.spill { fill: var(--spill); background: var(--spill) } .wait { fill: var(--wait); background: var(--wait) }
.bar { fill: var(--bar) }
details summary { cursor: pointer; font-weight: 600 }
details pre { margin-top: 10px }
]]
