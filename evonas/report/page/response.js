"use strict";
// The response of a layer: its output and slope over x, for values that the reader sets.
const Response = (() => {
  const KNOBS = [ // name, what it is, lowest, highest, at the start
    ["v0", "v\u2080", -3, 3, 0],
    ["v1", "v\u2081", -3, 3, 1],
    ["mu", "group mean", -3, 3, 0],
    ["sigma", "group std", 0, 4, 1],
  ];
  const [FROM, TO, STEPS] = [-5, 5, 200];
  const READ = [-3, -2, -1, -0.5, 0, 0.5, 1, 2, 3]; // inputs whose outputs are listed

  const start = () => Object.fromEntries(KNOBS.map(([name, , , , value]) => [name, value]));

  // A node with sliders, chart and values. `setting` is changed in place; `changed` is called after the reader changed it.
  function make(row, run, quantiles, setting, changed) {
    let nodes;
    try {
      nodes = Interpreter.parse(row.text);
    } catch (error) {
      return Dom.note(`This layer cannot be read: ${error.message}.`);
    }
    const unknown = Interpreter.missing(nodes);
    if (unknown.length) return Dom.note(`This page does not compute ${unknown.join(", ")}, which an extension adds.`);
    const uses = (op) => nodes.some((node) => node.inputs.some((input) => nodes[input].op === op));
    const needed = (name) => (name === "v0" || name === "v1" ? uses(name) : nodes.some((node) => node.axes));
    const chart = Dom.element("div", { class: "chart" });
    const values = Dom.element("div");
    let frame = 0;
    const knobs = KNOBS.filter(([name]) => needed(name)).map(([name, title, min, max]) => {
      const shared = { step: 0.05, "aria-label": title, "data-knob": name };
      const slide = Dom.element("input", { ...shared, type: "range", min, max });
      const box = Dom.element("input", { ...shared, type: "number", min: name === "sigma" ? 0 : null });
      const set = (from) => {
        const value = Number(from.value);
        if (from.value === "" || !Number.isFinite(value) || (name === "sigma" && value < 0)) return;
        setting[name] = value;
        update();
        changed();
      };
      slide.addEventListener("input", () => set(slide));
      box.addEventListener("input", () => set(box));
      const show = (except) => [slide, box].forEach((input) => {
        if (input !== except) input.value = String(setting[name]);
      });
      return { node: Dom.element("label", { class: "knob" }, Dom.element("span", {}, title), slide, box), show };
    });

    function update() {
      const all = { ...setting, eps: run.eps, quantiles };
      const fixed = Interpreter.moments(nodes, all);
      const xs = Array.from({ length: STEPS + 1 }, (_, place) => FROM + ((TO - FROM) * place) / STEPS);
      knobs.forEach(({ show }) => show(document.activeElement));
      cancelAnimationFrame(frame); // of many moves of a slider between two frames only the last is drawn
      frame = requestAnimationFrame(() => {
        if (chart.isConnected) Charts.response(chart, xs, xs.map((x) => Interpreter.respond(nodes, fixed, all, x)), Object.keys(fixed).length ? setting : null);
      });
      const listed = READ.map((x) => [x, Interpreter.respond(nodes, fixed, all, x)]);
      const cell = (name, x, value) => Dom.element("span", { "data-value": name, "data-x": x, "data-exact": value }, Format.short(value) || "\u2013");
      const line = (name, place) => [name, ...listed.map(([x, point]) => cell(place === 0 ? "y" : "slope", x, point[place]))];
      values.replaceChildren(Dom.table(["x", ...READ.map(Format.short)], [line("y", 0), line("dy/dx", 1)], READ.map(Format.short)));
    }

    const reset = Dom.element("button", { type: "button", click: () => {
      Object.assign(setting, start());
      update();
      changed();
    } }, "reset");
    const tools = knobs.length ? Dom.element("div", { class: "knobs" }, knobs.map(({ node }) => node), reset) : null;
    const eps = `eps ${Format.short(run.eps)}`;
    const text = nodes.some((node) => node.axes)
      ? `Every moment is that of a group of ${quantiles.length} normal inputs, and stays so along the curve (${eps}); green: the group's mean \u00b1 2 standard deviations. The trailing weight and bias are left out.`
      : `The layer has no moments (${eps}). The trailing weight and bias are left out.`;
    return { node: Dom.element("div", { class: "response" }, tools, chart, values, Dom.note(text)), update };
  }

  return { make, start, names: KNOBS.map(([name]) => name) };
})();
