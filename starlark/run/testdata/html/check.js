// What a reader of the page does, and what is wrong with what is there then. It is
// put at the page's end by a test, which reads the list of what is wrong.
"use strict";
(async () => {
  const wrong = [], say = text => wrong.push(text);
  const check = (ok, text) => { if (!ok) say(text); };
  const all = (where, what) => [...where.querySelectorAll(what)];
  const visible = what => all(document, what).filter(e => e.checkVisibility());
  const turn = () => new Promise(done => setTimeout(done));
  const key = async k => { (document.activeElement || document.body).dispatchEvent(new KeyboardEvent("keydown", {key: k, bubbles: true, cancelable: true})); await turn(); };

  // The buttons and the field choose tests.
  const tests = () => visible("main details.test").length;
  const before = tests();
  byId("pass").click();
  check(tests() < before && visible(".status.pass").length == 0, "the button of tests that pass leaves some");
  byId("pass").click();
  check(tests() == before, "the button, pressed again, does not show all tests");
  byId("find").value = "nd_pmem namespace";
  byId("find").dispatchEvent(new Event("input"));
  check(tests() == 2, `the field finds ${tests()} tests by what a console says, want 1 and the same among those that failed`);
  byId("find").value = "";
  byId("find").dispatchEvent(new Event("input"));

  // Keys go from test to test.
  await key("j");
  check(document.activeElement.tagName == "SUMMARY", "the key j goes to no test");
  const first = document.activeElement;
  await key("j"); await key("k");
  check(document.activeElement == first, "the keys j and k do not lead back");
  await key("/");
  check(document.activeElement == byId("find"), "the key / does not go to the field");
  byId("find").blur();

  // All that can be opened is, step by step, as a reader would.
  for (let round = 0; round < 8; round++) {
    for (const s of all(document, "details:not([open]) > summary")) if (s.checkVisibility()) s.click();
    await turn();
  }
  check(all(document, "details:not([open])").filter(e => e.checkVisibility()).length == 0, "some parts of the page do not open");
  const bars = visible(".time");
  check(bars.length >= 2, `there are ${bars.length} timelines, want those of two VMs`);
  for (const bar of bars) {
    bar.lastElementChild.click();
    check(bar.parentElement.querySelector("tr.marked"), "a click on a timeline marks no call");
  }
  for (const text of ["It is enough", "finding: ", "By when the power failed", "if all had survived", "--state 1.n2", "index[0]", "before a fence", "labels of nvdimm1: 1 before, 2 after", "pfn.info at 0x1000", "nvdimm1, 64 MiB, given out at the end:"])
    check(document.body.innerText.includes(text), `the page does not show ${JSON.stringify(text)}`);
  for (const text of ["0.003000 firmware ars_status, 4 times until 0.005000", "4 events more", "label nvdimm1: label[9]",
    "   0.000000  power on: boot 1\n   0.000000  [    0.1] nd_pmem namespace0.0\n   0.003000  firmware ars_status, 4 times until 0.005000\n   0.001000  [    0.1]"])
    check(document.body.innerText.includes(text), `the page does not show ${JSON.stringify(text)}`);
  check(document.querySelectorAll(".time button span").length == 2 * 12, "the timelines do not mark 12 events, in the test that is there twice");
  const marks = where => all(document, where + " mark").filter(e => e.checkVisibility()).length; // tests that failed are there twice
  check(marks(".hex") == 2 * 4, `${marks(".hex")} bytes are marked as other, want 2 on each side`);
  check(marks(".labels") == 2 * (5 + 1 + 5), `${marks(".labels")} parts of labels are marked as other, want 5 of the new ones each, and a name`);
  const map = visible(".map")[0];
  check(map.getAttribute("aria-label") == "slot 0: 16 MiB at 0x0, 16 MiB free, slot 3: 8 MiB at 0x2000000, 24 MiB free", `the map says ${map.getAttribute("aria-label")}`);
  const widths = [...map.children].map(e => e.getBoundingClientRect().width);
  check(Math.abs(widths[0] - 2 * widths[2]) < 6 && Math.abs(widths[3] - 3 * widths[2]) < 6, `the parts of the map are ${widths} px wide, which are 16, 16, 8 and 24 MiB`);

  // Names, headings and tables.
  const name = e => (e.getAttribute("aria-label") || e.innerText || e.getAttribute("title") || "").trim();
  for (const e of visible("button, summary, input, a")) check(name(e), `${e.outerHTML.slice(0, 100)} has no name`);
  for (const e of visible("[tabindex]")) check(e.tabIndex <= 0, `${e.outerHTML.slice(0, 100)} is out of the order of the page`);
  let level = 0;
  for (const e of visible("h1, h2, h3, h4")) {
    const n = +e.tagName[1];
    check(n <= level + 1, `the heading ${e.innerText} is of level ${n} after one of ${level}`);
    level = n;
  }
  for (const e of visible("table")) check(e.querySelector("th"), "a table has no headings");
  const ids = all(document, "[id]").map(e => e.id);
  check(new Set(ids).size == ids.length, "an id is there twice");
  check(document.documentElement.lang, "the page has no language");
  check(all(document, "header").length == 1 && all(document, "main").length == 1, "the page has not one header and one main part");
  for (const e of visible("pre, .scroll")) if (e.scrollWidth > e.clientWidth + 1 && e.tagName == "PRE") check(e.tabIndex == 0, `a text that scrolls cannot be reached by key: ${e.innerText.slice(0, 60)}`);
  for (const e of visible("summary, button")) if (!e.closest(".time")) check(e.getBoundingClientRect().height >= 20, `${name(e).slice(0, 60)} is ${e.getBoundingClientRect().height} px high, want 20`);
  check(document.documentElement.scrollWidth <= innerWidth, `the page is ${document.documentElement.scrollWidth} px wide, in a window of ${innerWidth}`);

  // Contrast of all text (WCAG 2.2, 1.4.3: 4.5 to 1).
  const rgb = c => (c.match(/[\d.]+/g) || []).map(Number);
  const light = c => { const [r, g, b] = rgb(c).map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
  const back = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (rgb(c)[3] !== 0) return c; } return "rgb(255, 255, 255)"; };
  const seen = new Set();
  for (const e of visible("body *")) {
    if (![...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()) || ["SCRIPT", "STYLE"].includes(e.tagName)) continue;
    const style = getComputedStyle(e), a = light(style.color), b = light(back(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05), id = `${e.tagName}.${e.className}`;
    if (ratio < 4.5 && !seen.has(id)) { seen.add(id); say(`the contrast of ${id}, ${style.color} on ${back(e)}, is ${ratio.toFixed(2)}, want 4.5`); }
  }
  if (window.axe) for (const v of (await axe.run()).violations) if (["serious", "critical"].includes(v.impact)) say(`axe: ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 100)).join(" ")}`);
  wrong.push("looked at in " + (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  document.body.append(make("pre", {id: "wrong"}, wrong.join("\n")));
})().catch(e => document.body.append(make("pre", {id: "wrong"}, "an error: " + e.stack)));
