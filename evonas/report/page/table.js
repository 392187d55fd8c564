"use strict";
// A table of thousands of rows of which only those in view are elements; filtered by words and choices, sorted by a head.
const LongTable = (() => {
  const ROW = 30; // pixels
  const TALLEST = 512; // pixels, of what is in view
  const SPARE = 8; // rows above and below the view
  const NARROW = 980; // pixels that every table has at least, as in the style sheet

  // columns: [{name, width, value: row => number or text or null, show: row => text or node, number: whether}]
  // choices: [{name, value: row => text}]; words: row => the text in which words are looked for; open: called with a row, if it can be opened;
  // first: the column that they are sorted by at first, downwards if it holds numbers or if that is asked for; null leaves them in order
  function make({ rows, columns, choices, words, open, label, first, downwards }) {
    const state = { text: "", chosen: {}, sort: first, down: Boolean(first !== null && (columns[first].number || downwards)), found: rows };
    const texts = new Map(rows.map((row) => [row, words(row).toLowerCase()]));
    const template = columns.map((column) => column.width).join(" ");
    const count = Dom.element("output", { class: "count" });
    const body = Dom.element("div", { class: "long-body" });
    const scroll = Dom.element("div", { class: "long-scroll", tabindex: 0, scroll: () => draw() });
    const heads = columns.map((column, place) => Dom.element("button", {
      type: "button", class: column.number ? "number" : "", click: () => sortBy(place),
    }, column.name));
    const head = Dom.element("div", { class: "long-head", role: "row" }, heads);
    head.style.gridTemplateColumns = template;
    const least = columns.reduce((sum, { width }) => sum + Number(/(\d+)px/.exec(width)[1]) + 14, 24); // pixels
    if (least > NARROW) [head, body].forEach((part) => { part.style.minWidth = `${least}px`; });
    scroll.append(head, body);

    const search = Dom.element("input", { type: "search", placeholder: "find words", "aria-label": "filter", input: () => {
      state.text = search.value.toLowerCase();
      refresh();
    } });
    const selects = choices.map(({ name, value }) => {
      const names = [...new Set(rows.map(value))].filter(Boolean).sort();
      const select = Dom.element("select", { "aria-label": name, change: () => {
        state.chosen[name] = select.value;
        refresh();
      } }, Dom.element("option", { value: "" }, `any ${name}`), names.map((one) => Dom.element("option", { value: one }, one)));
      return select;
    });

    function sortBy(place) {
      state.down = state.sort === place ? !state.down : Boolean(columns[place].number);
      state.sort = place;
      refresh();
    }

    function compared(a, b) {
      if (a === b) return 0;
      if (a === null || a === undefined) return 1; // what has no value comes last, whichever way
      if (b === null || b === undefined) return -1;
      return (a < b ? -1 : 1) * (state.down ? -1 : 1);
    }

    function refresh() {
      const parts = state.text.split(/\s+/).filter(Boolean);
      const wanted = choices.filter(({ name }) => state.chosen[name]);
      state.found = rows.filter((row) => parts.every((part) => texts.get(row).includes(part))
        && wanted.every(({ name, value }) => value(row) === state.chosen[name]));
      const value = state.sort === null ? () => 0 : columns[state.sort].value;
      const keyed = state.found.map((row, place) => [value(row), place, row]);
      keyed.sort((a, b) => compared(a[0], b[0]) || a[1] - b[1]);
      state.found = keyed.map(([, , row]) => row);
      heads.forEach((button, place) => {
        button.setAttribute("aria-sort", place === state.sort ? (state.down ? "descending" : "ascending") : "none");
      });
      count.textContent = `${Format.count(state.found.length)} of ${Format.count(rows.length)} ${label}`;
      body.style.height = `${Math.max(state.found.length, 1) * ROW}px`;
      scroll.style.height = `${Math.min(state.found.length * ROW + 50, TALLEST)}px`;
      scroll.scrollTop = 0;
      draw();
    }

    function draw() {
      const first = Math.max(0, Math.floor(scroll.scrollTop / ROW) - SPARE);
      const last = Math.min(state.found.length, Math.ceil((scroll.scrollTop + (scroll.clientHeight || 480)) / ROW) + SPARE);
      const shown = state.found.slice(first, last).map((row, place) => {
        const line = Dom.element("div", { class: open ? "long-row opens" : "long-row", role: "row", "data-id": row.id, click: () => open && open(row) },
          columns.map((column) => Dom.element("div", { class: column.number ? "number" : "" }, column.show(row))));
        line.style.gridTemplateColumns = template;
        line.style.top = `${(first + place) * ROW}px`;
        return line;
      });
      body.replaceChildren(...shown.length ? shown : [Dom.element("p", { class: "note" }, rows.length ? `no ${label} with these words and choices` : `no ${label} yet`)]);
    }

    const node = Dom.element("div", { class: "long" }, Dom.element("div", { class: "long-tools" }, search, selects, count), scroll);
    refresh();
    return { node, refresh };
  }

  return { make };
})();
