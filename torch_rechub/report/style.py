"""The style sheet of the page, for light and dark mode and for large and small screens."""

__all__ = ["STYLE"]

STYLE = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b1f27;--muted:#687182;--line:#e3e6ec;--curve:#3567d6;--best:#d1495b;
--good:#1f8a5b;--good-back:#e2f4ea;--warn:#9a6200;--warn-back:#fdf1d8;--bad:#b3261e;--bad-back:#fbe4e2}
@media (prefers-color-scheme:dark){:root{--page:#12151b;--card:#1b2029;--ink:#e7eaf0;--muted:#97a1b3;--line:#2c3340;--curve:#7fa6ff;
--best:#ff8592;--good:#6fd6a3;--good-back:#173528;--warn:#f0c068;--warn-back:#3a2d12;--bad:#ff9d94;--bad-back:#431d1b}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1120px;margin:0 auto;padding:28px 20px 40px}
h1{overflow-wrap:anywhere;font-size:26px;line-height:1.25;margin:0 0 10px;letter-spacing:-.01em}
h2{font-size:17px;margin:34px 0 12px}
.muted{color:var(--muted)}
.pill{display:inline-block;padding:1px 10px;border-radius:99px;font-size:13px;font-weight:600;background:var(--line);white-space:nowrap}
.pill.finished,.pill.best{background:var(--good-back);color:var(--good)}
.pill.stopped,.pill.paused{background:var(--warn-back);color:var(--warn)}
.pill.failed{background:var(--bad-back);color:var(--bad)}
.ending{margin:0;overflow-wrap:anywhere}.ending .pill{margin-right:8px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin-top:20px}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 16px;min-width:0}
.tiles b{display:block;font-size:22px;line-height:1.3;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.tiles span{font-size:13px}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(300px,100%),1fr));gap:12px}
.charts.two{grid-template-columns:repeat(auto-fit,minmax(min(420px,100%),1fr))}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:12px;padding:12px 12px 8px;min-width:0}
figcaption{font-size:14px;padding:0 4px 4px;overflow-wrap:anywhere}
svg{display:block;width:100%;height:auto;max-height:320px}
.curve{fill:none;stroke:var(--curve);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.dot{fill:var(--curve)}.best{stroke:var(--best);stroke-width:2.2}circle.best{fill:none;pointer-events:all}
.grid,.axis{stroke:var(--line);stroke-width:1}.axis{stroke:var(--muted)}.stop{stroke:var(--muted);stroke-dasharray:4 4}
.tick{fill:var(--muted);font-size:11px}.end{text-anchor:end}.middle{text-anchor:middle}
.scroll{overflow-x:auto;padding:0}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:7px 12px;text-align:right;white-space:nowrap;border-top:1px solid var(--line)}
th{border-top:0;color:var(--muted);font-weight:600;font-size:13px;white-space:normal}
.word{text-align:left}td.why{white-space:normal;min-width:190px}
tr.top td{background:color-mix(in srgb,var(--good-back) 55%,transparent)}
td.gap{text-align:center;color:var(--muted)}
.pairs{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(340px,100%),1fr));gap:0 32px;margin:0}
.pairs div{display:flex;justify-content:space-between;gap:16px;padding:5px 0;border-bottom:1px solid var(--line)}
dt{color:var(--muted);flex:none}dd{margin:0;text-align:right;overflow-wrap:anywhere;min-width:0}
details{margin-top:34px}summary{font-size:17px;font-weight:600;cursor:pointer}pre{overflow-x:auto;font-size:12px;line-height:1.4}
.note{font-size:13px;margin:10px 4px 0}
@media (max-width:560px){main{padding:18px 12px 28px}h1{font-size:22px}.tiles{grid-template-columns:1fr 1fr}}
@media print{body{background:#fff}.scroll{overflow:visible}th,td{padding:4px 6px}.card,figure{break-inside:avoid}}
""".strip()
