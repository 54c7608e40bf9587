"""How the report looks: paper and ink, on a phone, on a desk, at night and in print."""

from __future__ import annotations

from typing import Final

__all__ = ["STYLE"]

STYLE: Final = """
:root{color-scheme:light dark;--paper:#fcfbf8;--card:#fff;--ink:#1c1f24;--soft:#555b64;
--line:#dedbd3;--grid:#e6e3db;--joint:#00707a;--shop:#a8540a;--alone:#54489c;
--popularity:#6a6f78;--noised:#6a6f78;--random:#6a6f78;--warn:#8c1d18;--warn-paper:#fdf0ee;
--serif:"Iowan Old Style","Palatino Linotype",Palatino,"Book Antiqua",Georgia,serif;
--sans:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
@media (prefers-color-scheme:dark){:root{--paper:#15171a;--card:#1c1f23;--ink:#e9e6df;
--soft:#a9adb5;--line:#363a40;--grid:#2c3035;--joint:#4fc3c7;--shop:#eda35a;--alone:#aea4f2;
--popularity:#9ba1ab;--noised:#9ba1ab;--random:#9ba1ab;--warn:#ffb4a8;--warn-paper:#3a1f1c}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.6 var(--sans)}
main,header,footer,nav{max-width:70rem;margin:0 auto;padding:0 1rem}
header{padding-top:2.5rem}
h1,h2,h3{font-family:var(--serif);font-weight:600;line-height:1.2;text-wrap:balance}
h1{font-size:clamp(1.7rem,1.2rem + 2.2vw,2.6rem);margin:.2rem 0 .8rem;overflow-wrap:anywhere}
h2{font-size:1.55rem;margin:0 0 .7rem}
h3{font-size:1.1rem;margin:1.8rem 0 .4rem}
p{max-width:42rem;margin:.5rem 0 .9rem}
.lead{font:1.17rem/1.55 var(--serif)}
.over{color:var(--soft);font-size:.82rem;letter-spacing:.08em;text-transform:uppercase;margin:0}
.soft{color:var(--soft)}
section{border-top:1px solid var(--line);padding:2rem 0 .4rem;margin-top:1.4rem}
a{color:var(--joint);text-underline-offset:.15em}
a:focus-visible,[tabindex]:focus-visible,summary:focus-visible{outline:3px solid var(--joint);
outline-offset:2px}
.skip{position:absolute;left:-999rem}
.skip:focus{left:1rem;top:.5rem;background:var(--card);padding:.4rem .8rem}
nav ul{display:flex;flex-wrap:wrap;gap:.2rem 1.3rem;list-style:none;padding:0;margin:1.2rem 0 0}
nav a{display:inline-block;padding:.25rem 0}
.key{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.8rem,1fr));gap:1.1rem 1.4rem;
margin:1.6rem 0 .6rem}
.key div{border-top:2px solid var(--ink);padding-top:.5rem}
.key dt{font-size:.86rem;color:var(--soft)}
.key dd{margin:0;font-variant-numeric:tabular-nums}
.key .n{font:600 1.75rem/1.25 var(--serif);font-variant-numeric:lining-nums tabular-nums}
.key .s{display:block;font-size:.82rem;line-height:1.4;color:var(--soft)}
.warn{border-left:4px solid var(--warn);background:var(--warn-paper);padding:.7rem 1rem;
margin:1rem 0;max-width:46rem}
.warn p{margin:0}
.warn strong{color:var(--warn)}
.pair{display:grid;gap:1.2rem 2.6rem;align-items:start;margin:1rem 0 1.9rem}
.key div{display:flex;flex-direction:column}
@media (min-width:56rem){.pair{grid-template-columns:minmax(0,29rem) minmax(0,1fr)}
.pair.even{grid-template-columns:minmax(0,1fr) minmax(0,1fr)}.key dt{min-height:2.9em}}
figure{margin:0;max-width:31rem}
figcaption,caption{font-size:.88rem;line-height:1.45;color:var(--soft);text-align:left}
figcaption{margin-top:.5rem}
caption{padding-bottom:.5rem}
.scroll caption span{display:block;position:sticky;left:0;width:fit-content;
max-width:min(46rem,calc(100vw - 2rem))}
figcaption b,caption b{color:var(--ink);font-weight:600}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font:11.5px var(--sans);fill:var(--ink);font-variant-numeric:tabular-nums}
svg .t{fill:var(--soft);font-size:11px}
svg .v{font-weight:600}
.grid{stroke:var(--grid);stroke-width:1}
.tick{stroke:var(--soft);stroke-width:1}
.whisker{stroke-width:2.5;stroke-linecap:round;opacity:.55}
.line{fill:none;stroke-width:2;stroke-linejoin:round}
.line.faint{stroke:var(--soft);stroke-width:.8;opacity:.45}
.mark{stroke:var(--paper);stroke-width:.8}
.mark.faint{opacity:.38;stroke:none}
.thin .line{stroke-width:1.2;opacity:.6}.thin .whisker{opacity:1;stroke-width:1.6}
.c-joint,.b-0{fill:var(--joint)}.c-shop,.b-1{fill:var(--shop)}.c-alone{fill:var(--alone)}
.c-popularity,.c-random{fill:var(--popularity)}
.c-noised-popularity{fill:var(--paper);stroke:var(--noised);stroke-width:1.6}
.k-joint{stroke:var(--joint)}.k-shop{stroke:var(--shop)}.k-alone{stroke:var(--alone)}
.k-popularity,.k-noised-popularity,.k-random{stroke:var(--popularity)}
.scroll{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;width:100%;font-size:.92rem;line-height:1.35;
font-variant-numeric:lining-nums tabular-nums}
th,td{padding:.42rem .9rem .42rem 0;text-align:right;vertical-align:top;
border-bottom:1px solid var(--line)}
th:last-child,td:last-child{padding-right:.2rem}
th:first-child,td:first-child,td.w{text-align:left}
table.words th{text-align:left;width:40%}
thead th{font-weight:600;vertical-align:bottom;border-bottom:1.5px solid var(--ink)}
tbody th{font-weight:400}
tr.chosen th,tr.chosen td{font-weight:600}
td .ci{display:block;font-size:.78rem;font-weight:400;color:var(--soft);white-space:nowrap}
td.w{overflow-wrap:anywhere;font-variant-numeric:normal}
.gain{color:var(--joint)}.lose{color:var(--warn)}
.not-private{display:inline-block;border:1px solid var(--warn);color:var(--warn);
border-radius:3px;font-size:.74rem;padding:.05rem .45rem;margin-bottom:.3rem}
details{margin:1rem 0}
summary{cursor:pointer;padding:.3rem 0}
ul.plain{padding-left:1.1rem;max-width:42rem}
li{margin:.25rem 0}
code{font:.88em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
footer{padding-top:1.4rem;padding-bottom:3rem;font-size:.88rem;color:var(--soft)}
@media (max-width:30rem){th,td{padding-right:.5rem}table{font-size:.83rem}td .ci{font-size:.7rem}
.not-private{font-size:.7rem}}
@media print{:root{color-scheme:light;--paper:#fff;--card:#fff;--ink:#000;--soft:#444;
--line:#bbb;--grid:#ddd;--joint:#00606a;--shop:#94480a;--alone:#463b8c;--popularity:#555;
--noised:#555;--random:#555;--warn:#8c1d18;--warn-paper:#fff}
body{font-size:10pt}nav,.skip{display:none}.scroll{overflow:visible}
.pair{grid-template-columns:1fr 1fr;gap:.8rem 1.4rem}
figure,tr,.warn,.key{break-inside:avoid}
details::details-content{content-visibility:visible;block-size:auto}summary{display:none}h2,h3{break-after:avoid}
section{padding-top:1.2rem;margin-top:.6rem}table{font-size:8pt}
th,td{padding:.25rem .5rem .25rem 0}td .ci{font-size:7pt}main,header,footer{max-width:none}}
@page{margin:16mm}
"""
"""One style sheet; no network, no fonts to fetch, no script."""
