"""Checks the files of --trace and --report with parsers that are not ours.

usage: check_profile.py trace FILE           prints runs, morsels' records of each run, tracks
       check_profile.py report FILE [TEXT]   fails unless the page is whole and needs nothing else; TEXT must stand in it as text
       check_profile.py pixel FILE.png       prints the colour of the first pixel
"""
import html.parser
import json
import struct
import sys
import xml.etree.ElementTree as xml
import zlib


def check_trace(path):
    events = json.load(open(path, encoding="utf-8"))["traceEvents"]
    runs, tracks = {}, {}
    for event in events:
        run = runs.setdefault(event["pid"], {"records": 0, "stages": 0, "spills": 0, "pieces": 0})
        if event["ph"] != "X":
            assert event["ph"] == "M", event
            continue
        assert event["ts"] >= 0 and event["dur"] >= 0, event
        tracks.setdefault((event["pid"], event["tid"]), []).append(event)
        if event["cat"] == "stage":
            assert event["tid"] == 0, event
            run["stages"] += 1
        elif event["cat"] == "morsel":
            assert 0 < event["tid"] < 1000, event
            if event["args"]["stage"] == 1:
                run["records"] += event["args"]["records"]
            run["pieces"] += event["args"]["pieces"]
        else:
            assert event["cat"] == "spill" and event["tid"] > 1000, event
            run["spills"] += event["args"]["bytes"]
    for of_track in tracks.values():
        of_track.sort(key=lambda event: event["ts"])
        for one, next_one in zip(of_track, of_track[1:]):
            assert one["ts"] + one["dur"] <= next_one["ts"] + 0.01, (one, next_one)
    for pid in sorted(runs):
        run = runs[pid]
        print(pid, run["stages"], run["records"], run["pieces"], run["spills"])


class Page(html.parser.HTMLParser):
    VOID = {"meta", "br"}

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.text, self.count = [], [], {}

    def handle_starttag(self, tag, attributes):
        self.count[tag] = self.count.get(tag, 0) + 1
        assert tag not in ("script", "link", "img", "iframe", "object"), tag
        for name, value in attributes:
            assert name not in ("src", "href", "onload", "onclick"), (tag, name, value)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data):
        self.text.append(data)


def check_report(path, *texts):
    source = open(path, encoding="utf-8").read()
    page = Page()
    page.feed(source)
    page.close()
    assert page.open == [], page.open
    assert "prefers-color-scheme" in source and "url(" not in source and "@import" not in source
    for drawing in source.split("<svg")[1:]:
        xml.fromstring("<svg" + drawing[: drawing.index("</svg>")] + "</svg>")
    text = "".join(page.text)
    for wanted in texts:
        assert wanted in text, wanted
    print(page.count.get("section", 0), page.count["svg"] > 0)


def first_pixel(path):
    data = open(path, "rb").read()
    at, packed = 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind == b"IDAT":
            packed += data[at + 8 : at + 8 + size]
        at += size + 12
    # Whatever its filter, the first pixel of the first row stands for itself.
    print(zlib.decompress(packed)[1:4].hex())


{"trace": check_trace, "report": check_report, "pixel": first_pixel}[sys.argv[1]](*sys.argv[2:])
