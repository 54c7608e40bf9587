"""How the statement looks: one A4 page in print, the same page on a screen."""

from __future__ import annotations

from typing import Final

__all__ = ["STYLE"]

STYLE: Final = """
:root{color-scheme:light;--ink:#14171b;--soft:#4b5159;--line:#c9c5bb;--warn:#8c1d18;
--serif:Charter,"Bitstream Charter",Cambria,Georgia,"Times New Roman",serif;
--sans:"Helvetica Neue",Arial,"Liberation Sans",system-ui,sans-serif}
*{box-sizing:border-box}
body{margin:0;background:#e9e6df;color:var(--ink);font:9pt/1.25 var(--serif)}
article{width:210mm;max-width:100%;min-height:297mm;margin:6mm auto;padding:12mm 17mm;
background:#fff;display:flex;flex-direction:column}
h1,h2{font-weight:700;line-height:1.2;text-wrap:balance}
h1{font-size:17pt;margin:0 0 .6mm;overflow-wrap:anywhere}
h2{font:700 8.4pt/1.2 var(--sans);margin:2mm 0 .5mm}
p{margin:0 0 1mm;text-wrap:pretty}
.sub{color:var(--soft);margin:0}
.warn{border:1.5pt solid var(--warn);color:var(--warn);padding:1.4mm 2.2mm;margin:1.4mm 0 0;
font-weight:600}
table{border-collapse:collapse;width:100%;margin:.6mm 0 1.4mm;font:8pt/1.25 var(--sans);
font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);padding-bottom:.8mm;font:8.4pt/1.3 var(--serif)}
th,td{text-align:right;vertical-align:top;padding:.55mm 0 .55mm 3mm;white-space:nowrap;
border-bottom:.5pt solid var(--line)}
th:first-child,td:first-child{text-align:left;padding-left:0;white-space:normal}
thead th{font-weight:600;border-bottom:1pt solid var(--ink);vertical-align:bottom}
tbody th{font-weight:400}
tr.cap th,tr.cap td{font-weight:700}
ul{margin:0 0 .6mm;padding-left:4mm}
li{margin:0 0 .2mm}
code{font:7.4pt ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.sign{display:grid;grid-template-columns:1fr 1fr 1.5fr;gap:7mm;margin-top:auto;padding-top:8mm}
.sign p{border-top:.75pt solid var(--ink);padding-top:.8mm;margin:0;color:var(--soft);
font-size:8.4pt}
@media screen and (max-width:60rem){article{padding:6mm 5mm;margin:0 auto;min-height:0}
body{font-size:11pt}h2,table{font-size:10pt}.scroll{overflow-x:auto}}
@media print{body{background:#fff}article{margin:0;padding:0;width:auto;min-height:0;
height:274mm;break-after:page}article:last-child{break-after:auto}}
@page{size:A4;margin:11mm 16mm}
"""
"""One style sheet; no network, no fonts to fetch, no script."""
