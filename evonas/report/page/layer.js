"use strict";
// The panel of one layer: formula, response, facts, text form, graph, and where it comes from.
const LayerPanel = (() => {
  const MOST = 40; // children of a layer that are listed

  function gain(run, row) {
    const parent = run.byId.get(String(row.parent));
    return parent && row.score !== null && parent.score !== null ? row.score - parent.score : null;
  }

  function found(row) {
    if (row.score !== null) return Format.score(row.score);
    return row.rejection ? row.rejection.slice(0, 2).join(": ") : "";
  }

  function rejection(row) {
    if (!row.rejection) return null;
    const [stage, reason, task, measured, limit, detail] = row.rejection;
    const number = (value) => (typeof value === "string" ? value : Format.short(value)); // what is not finite is a text
    const held = measured === null ? "" : `measured ${number(measured)}${limit === null ? "" : `, limit ${number(limit)}`}`;
    return [`${stage}: ${reason}`, task && `on ${task}`, held, detail].filter(Boolean).join("; ");
  }

  function factsOf(run, row) {
    const pairs = (found, show) => found && Object.entries(found).map(([name, value]) => `${name} ${show(value)}`).join(", ");
    const belief = row.posterior && (row.posterior[3]
      ? "could not be trained to the end again"
      : `${row.posterior[0].toFixed(4)} \u00b1 ${row.posterior[1].toFixed(4)} (mean and standard deviation), measured ${row.posterior[2]} times`);
    if (row.facts) return Dom.facts([["mean score", Format.score(row.score)], ["nodes", String(row.nodes)], ...row.facts]);
    return Dom.facts([
      ["mean score", Format.score(row.score)],
      ["scores", pairs(row.scores, Format.score)],
      ["posterior", belief],
      ["other objectives", pairs(row.extras, Format.short)],
      ["learning rates", pairs(row.rates, Format.short)],
      ["rejected", rejection(row)],
      ["operator", row.operator],
      ["proposed by", row.origin && row.origin.filter(Boolean).join(": ")],
      ["parent", row.parent === null || row.parent === undefined ? null : `#${row.parent}`],
      ["nodes", String(row.nodes)],
      ["steps, time", `${Format.count(row.steps)} steps, ${row.seconds === 0 ? "taken over or not trained" : Format.duration(row.seconds)}`],
      ["seed", String(row.seed)],
      ["key", row.key],
    ]);
  }

  function member(run, row, own, open) {
    const change = row.change ?? row.operator;
    const step = gain(run, row);
    const line = [
      Dom.element("button", { type: "button", class: "link", "data-open": row.id, click: () => open(run.place, row.id) }, `#${row.id}`),
      Dom.element("span", { class: row.score === null ? "faint" : "" }, found(row)),
      step === null ? null : Dom.element("span", { class: step >= 0 ? "up" : "down" }, Format.signed(step)),
      Dom.element("code", {}, row.formula),
      Dom.element("span", { class: "change" }, change),
    ];
    return Dom.element("div", { class: own ? "member own" : "member", "data-member": row.id }, line);
  }

  // Ancestors, the oldest first, each within the one before; then the layer with its children and theirs.
  function lineage(run, row, open) {
    const line = [row];
    const seen = new Set([row.id]);
    for (let next = run.byId.get(String(row.parent)); next && !seen.has(next.id); next = run.byId.get(String(next.parent))) {
      line.unshift(next);
      seen.add(next.id);
    }
    const children = (parent) => [...(run.children.get(parent.id) || [])].sort((a, b) => (b.score ?? -Infinity) - (a.score ?? -Infinity));
    const below = (parent, depth) => {
      const all = children(parent);
      if (!all.length) return null;
      const items = all.slice(0, MOST).map((child) => Dom.element("li", {}, member(run, child, false, open), depth > 1 ? below(child, depth - 1) : null));
      if (all.length > MOST) items.push(Dom.element("li", {}, Dom.note(`and ${all.length - MOST} more`)));
      return Dom.element("ul", {}, items);
    };
    let tree = Dom.element("li", {}, member(run, row, true, open), below(row, 2));
    for (const ancestor of line.slice(0, -1).reverse()) {
      const others = (run.children.get(ancestor.id) || []).length - 1;
      const aside = others > 0 ? Dom.note(`and ${others} other ${others === 1 ? "child" : "children"}`) : null;
      tree = Dom.element("li", {}, member(run, ancestor, false, open), Dom.element("ul", {}, tree, aside ? Dom.element("li", {}, aside) : null));
    }
    return Dom.element("ul", { class: "tree" }, tree);
  }

  function formula(row) {
    try {
      const [whole, ...definitions] = row.math.map(Dom.math);
      const where = definitions.map((line, place) => Dom.element("div", { class: "where" }, Dom.element("span", {}, place ? "" : "where"), line));
      return Dom.element("div", { class: "formula" }, whole, where);
    } catch {
      return Dom.element("div", { class: "formula" }, Dom.element("code", {}, row.formula));
    }
  }

  function graph(row) {
    try {
      return Dom.element("div", { class: "wide graph" }, Graph.draw(Interpreter.parse(row.text)));
    } catch (error) {
      return Dom.note(`The graph cannot be drawn: ${error.message}.`);
    }
  }

  // Fill the panel; returns what draws its chart, which needs to be on the page.
  function show(panel, run, row, quantiles, setting, { open, close, changed, several }) {
    const response = Response.make(row, run, quantiles, setting, changed);
    const bred = row.parent !== undefined; // a candidate of a search, which others may come from
    const name = bred ? `#${row.id}` : row.id;
    const title = [name, several ? run.title : null].filter(Boolean).join(" of ");
    panel.replaceChildren(
      Dom.element("header", {}, Dom.element("h2", {}, title), Dom.element("span", { class: "headline" }, found(row)),
        Dom.element("button", { type: "button", class: "close", "aria-label": "close", click: close }, "\u00d7")),
      formula(row),
      Dom.code(row.formula),
      Dom.element("h3", {}, "Response"), response.node || response,
      Dom.element("h3", {}, "Facts"), factsOf(run, row),
      Dom.element("h3", {}, "Graph"), graph(row),
      Dom.element("h3", {}, "Text form"), Dom.code(row.text),
      ...(bred ? [Dom.element("h3", {}, "Where it comes from"), lineage(run, row, open)] : []));
    panel.scrollTop = 0;
    return response.update || (() => {});
  }

  return { show, formula, graph };
})();
