"use strict";
// The page of cards: each layer from all sides, with what is missing.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const page = document.getElementById("page");
  const later = [];

  function measured(section) {
    if (section.missing) {
      const how = section.command ? [Dom.note("The command that measures it:"), Dom.code(section.command)] : [];
      return [Dom.element("p", { class: "missing" }, section.missing), ...how];
    }
    const shown = section.blocks.map((block) => Blocks.block(block, new Map()));
    return [...shown, Dom.element("details", {}, Dom.element("summary", {}, section.took), Dom.code(section.made_by))];
  }

  function card(found, place) {
    const { layer } = found;
    const response = Response.make(layer, found, data.quantiles, Response.start(), () => {});
    if (response.update) later.push(response.update);
    const id = (name) => `card-${place + 1}-${name}`;
    const missing = found.sections.filter((section) => section.missing && section.command).length;
    const note = missing ? `${missing} of ${found.sections.length} sections are not measured yet.` : "";
    return Dom.element("article", { class: "card", id: id("top"), "data-card": found.name },
      Dom.element("h2", { class: "one" }, found.name, Dom.element("span", { class: "note" }, ` ${note}`)),
      LayerPanel.formula(layer), Dom.code(layer.text),
      Dom.section(id("response"), "Response to one element", response.node || response),
      Dom.section(id("facts"), "What it is like", Dom.facts(found.facts)),
      Dom.section(id("graph"), "Graph", LayerPanel.graph(layer)),
      found.sections.map((section) => Dom.section(id(section.name), section.title, measured(section))));
  }

  const links = data.cards.map((found, place) => Dom.element("a", { href: `#card-${place + 1}-top` }, found.name));
  Blocks.later.length = 0;
  page.replaceChildren(
    Dom.element("header", { class: "top" }, Dom.element("h1", {}, data.cards.length > 1 ? `${data.cards.length} layers` : "Layer card"),
      Dom.note(`written ${data.written} by evonas ${data.version}`)),
    data.cards.length > 1 ? Dom.element("nav", { class: "cards" }, links) : "",
    ...data.cards.map(card));
  later.push(...Blocks.later);
  later.forEach((draw) => draw());
})();
