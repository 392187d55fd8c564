"use strict";
// Elements of the page. Whatever comes from data becomes a text node: no markup is ever read from it.
const Dom = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const MATH = "http://www.w3.org/1998/Math/MathML";
  const MATH_TAGS = new Set(["row", "i", "n", "o", "frac", "sup", "sub"]);

  function filled(node, properties, children) {
    for (const [name, value] of Object.entries(properties || {})) {
      if (typeof value === "function") node.addEventListener(name, value);
      else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, String(value));
    }
    node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
    return node;
  }

  // An element with its attributes, listeners (functions, by the name of their event) and children.
  const element = (tag, properties, ...children) => filled(document.createElement(tag), properties, children);
  const svg = (tag, properties, ...children) => filled(document.createElementNS(SVG, tag), properties, children);

  // A line of a formula from [tag, text or children...], as mathml.py writes it.
  function math(tree) {
    const part = ([tag, ...content]) => {
      if (!MATH_TAGS.has(tag)) throw new Error("not an element of a formula");
      const node = document.createElementNS(MATH, `m${tag}`);
      node.append(...content.map((child) => (Array.isArray(child) ? part(child) : String(child))));
      return node;
    };
    const whole = document.createElementNS(MATH, "math");
    whole.setAttribute("display", "block");
    whole.append(part(tree));
    return whole;
  }

  // A table of texts and nodes; columns that hold numbers are named in `right`.
  function table(heads, rows, right = []) {
    const side = (place) => (right.includes(heads[place]) ? "number" : null);
    const line = (tag, cells) => element("tr", {}, cells.map((cell, place) => element(tag, { class: side(place) }, cell)));
    return element("div", { class: "wide" }, element("table", {},
      element("thead", {}, line("th", heads)), element("tbody", {}, rows.map((row) => line("td", row)))));
  }

  // Names beside their values.
  const facts = (pairs) => element("dl", { class: "facts" },
    pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));

  function copyButton(text) {
    const button = element("button", { type: "button", class: "copy", click: async () => {
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "copied";
      } catch {
        button.textContent = "select it by hand";
      }
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    } }, "copy");
    return button;
  }

  const badge = (text) => element("span", { class: `badge ${["running", "finished"].includes(text) ? text : "other"}` }, text || "?");
  const code = (text) => element("div", { class: "code" }, element("code", {}, text), copyButton(text));
  const note = (text) => element("p", { class: "note" }, text);
  const section = (id, title, ...children) => element("section", { id }, element("h2", {}, title), children);

  return { element, svg, math, table, facts, badge, code, note, section };
})();

const Format = (() => {
  const known = (value) => value !== null && value !== undefined && Number.isFinite(value);
  const score = (value) => (known(value) ? value.toFixed(4) : "");
  const signed = (value) => (known(value) ? (value < 0 ? "\u2212" : "+") + Math.abs(value).toFixed(4) : "");
  const count = (value) => (known(value) ? value.toLocaleString("en-US") : "");
  const short = (value) => (known(value) ? String(Number(value.toPrecision(4))).replace("-", "\u2212") : "");
  const duration = (seconds) => {
    if (!known(seconds)) return "";
    if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
    return seconds < 7200 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
  };
  return { score, signed, count, short, duration };
})();
