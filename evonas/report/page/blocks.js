"use strict";
// A report as blocks of text and tables, and the tables of runs. Names of layers open them.
const Blocks = (() => {
  const SHORT = 12; // rows; a longer table can be filtered and sorted
  const MISSING = new Set(["", "-", "\u2013"]);
  const NUMBER = /^([+\u2212-]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?)(?=$|\s|x$|%$|\*)/i;

  // The number that a text begins with, such as that of `0.3067 \u00b10.0081` or `12.5 %`; null where there is none.
  function numberOf(text) {
    const found = NUMBER.exec(text);
    return found ? Number(found[1].replace(/,/g, "").replace("\u2212", "-")) : null;
  }

  const lettersOf = (text) => text.map((part) => (Array.isArray(part) ? part[1] : part)).join("");
  const inline = (text) => text.map((part) => (Array.isArray(part) ? Dom.element("code", {}, part[1]) : part));

  // byName: names and formulas to what is called when one is clicked
  function cellOf(text, byName) {
    const letters = lettersOf(text);
    const open = byName.get(letters);
    const shown = text.length === 1 && Array.isArray(text[0]) ? Dom.element("code", { class: "clip", title: letters }, letters) : inline(text);
    return open ? Dom.element("button", { type: "button", class: "link", "data-open": letters, click: open }, shown) : shown;
  }

  const width = (cells, head) => {
    const longest = Math.max(head.length + 2, ...cells.map((cell) => cell.length));
    return `minmax(${Math.min(Math.max(longest * 9 + 8, 54), 300)}px, ${Math.min(longest, 60)}fr)`;
  };

  function table(heads, rows, byName) {
    const titles = heads.map(lettersOf);
    const letters = rows.map((row) => row.map(lettersOf));
    const isNumber = titles.map((_, place) => {
      const said = letters.map((row) => row[place]).filter((cell) => !MISSING.has(cell));
      return said.length > 0 && 2 * said.filter((cell) => numberOf(cell) !== null).length > said.length;
    });
    if (rows.length <= SHORT) return Dom.table(titles, rows.map((row) => row.map((cell) => cellOf(cell, byName))), titles.filter((_, place) => isNumber[place]));
    const columns = titles.map((name, place) => ({
      name, width: width(letters.map((row) => row[place]), name), number: isNumber[place],
      value: ({ at }) => (isNumber[place] ? numberOf(letters[at][place]) : letters[at][place]), show: ({ at }) => cellOf(rows[at][place], byName),
    }));
    return long(columns, rows.map((_, at) => ({ id: String(at), at })), ({ at }) => letters[at].join(" "), "rows");
  }

  // All runs of a table of values by column: numbers are shown with four digits, and sorted with all of them.
  function runs(columns, byName) {
    const names = Object.keys(columns);
    const size = names.length ? columns[names[0]].length : 0;
    const shown = (value) => (value === null ? "" : typeof value === "number" ? Format.short(value) : value);
    const heads = names.map((name) => ({
      name, width: width(columns[name].map(shown), name), number: columns[name].some((value) => typeof value === "number"),
      value: ({ at }) => (columns[name][at] === "" ? null : columns[name][at]), show: ({ at }) => cellOf([shown(columns[name][at])], byName),
    }));
    const rows = Array.from({ length: size }, (_, at) => ({ id: String(at), at }));
    return long(heads, rows, ({ at }) => names.map((name) => columns[name][at] ?? "").join(" "), "runs", choicesOf(names, columns));
  }

  // Columns of a few texts each are chosen from.
  function choicesOf(names, columns) {
    const few = names.filter((name) => columns[name].every((value) => typeof value === "string" && value.length < 60));
    return few.filter((name) => [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12].includes(new Set(columns[name]).size)).slice(0, 4)
      .map((name) => ({ name, value: ({ at }) => columns[name][at] }));
  }

  const later = [];
  function long(columns, rows, words, label, choices = []) {
    const made = LongTable.make({ rows, columns, choices, words, label, first: null });
    later.push(made.refresh);
    return made.node;
  }

  function block([kind, ...content], byName) {
    switch (kind) {
      case "heading": return Dom.element(content[0] < 3 ? "h3" : "h4", {}, inline(content[1]));
      case "list": return Dom.element("ul", {}, content[0].map((item) => Dom.element("li", {}, inline(item))));
      case "code": return Dom.element("pre", {}, content[0]);
      case "table": return table(content[0], content[1], byName);
      default: return Dom.element("p", {}, inline(content[0]));
    }
  }

  return { block, runs, later, lettersOf, numberOf };
})();
