"use strict";
// The graph of a layer as a picture, drawn from the nodes of its text form: columns from the inputs to the output.
const Graph = (() => {
  const [WIDTH, HEIGHT, ACROSS, DOWN] = [72, 34, 112, 52];
  const STYLES = { // as in evonas/graph/drawing.py
    input: ["#d6e6f8", "#2f6db3"],
    parameter: ["#fdecc4", "#b9820a"],
    constant: ["#ffffff", "#8a94a0"],
    elementwise: ["#eceff3", "#5a6675"],
    moment: ["#d5efdd", "#2a8a50"],
    output: ["#fbdcd9", "#c13b2e"],
  };

  function kindOf(node, isOutput) {
    if (isOutput) return "output";
    if (node.op === "x") return "input";
    if (node.op === "v0" || node.op === "v1") return "parameter";
    if (node.op === "zero" || Number.isFinite(Number(node.op))) return "constant";
    return node.axes ? "moment" : "elementwise";
  }

  // Boxes and edges; an edge over several columns runs through places of its own in those between.
  function placed(nodes) {
    const used = new Set([nodes.length - 1]);
    for (let position = nodes.length - 1; position >= 0; position -= 1) {
      if (used.has(position)) nodes[position].inputs.forEach((input) => used.add(input));
    }
    const depth = new Map();
    for (const position of [...used].sort((a, b) => a - b)) {
      const inputs = nodes[position].inputs;
      depth.set(position, inputs.length ? 1 + Math.max(...inputs.map((input) => depth.get(input))) : 0);
    }
    for (const position of used) { // what has no input stands just before it is used first
      if (nodes[position].inputs.length || nodes[position].op === "x") continue;
      const users = [...used].filter((other) => nodes[other].inputs.includes(position));
      if (users.length) depth.set(position, Math.min(...users.map((user) => depth.get(user))) - 1);
    }
    const columns = [];
    const put = (item) => {
      (columns[item.column] ||= []).push(item);
      return item;
    };
    const boxes = new Map();
    for (const position of [...used].sort((a, b) => a - b)) {
      boxes.set(position, put({ position, column: depth.get(position), before: [], after: [] }));
    }
    const edges = [];
    for (const [position, box] of boxes) {
      nodes[position].inputs.forEach((input, slot) => {
        const path = [boxes.get(input)];
        for (let column = path[0].column + 1; column < box.column; column += 1) {
          path.push(put({ column, before: [], after: [] }));
        }
        path.push(box);
        path.slice(1).forEach((item, place) => {
          item.before.push(path[place]);
          path[place].after.push(item);
        });
        edges.push({ path, slot, target: position, source: input });
      });
    }
    order(columns);
    return { boxes, edges, columns };
  }

  // Rows within columns: sweeps that put each item at the mean of its neighbours.
  function order(columns) {
    const settle = (column) => {
      column.forEach((item, row) => { item.row = row - (column.length - 1) / 2; });
    };
    columns.forEach(settle);
    const mean = (items, fallback) => (items.length ? items.reduce((sum, item) => sum + item.row, 0) / items.length : fallback);
    for (let sweep = 0; sweep < 8; sweep += 1) {
      const forth = sweep % 2 === 0;
      for (const column of forth ? columns : [...columns].reverse()) {
        column.forEach((item) => { item.wish = mean(forth ? item.before : item.after, item.row); });
        column.sort((a, b) => a.wish - b.wish);
        settle(column);
      }
    }
  }

  function draw(nodes) {
    const { boxes, edges, columns } = placed(nodes);
    const rows = Math.max(...columns.map((column) => column.length));
    const [width, height] = [(columns.length - 1) * ACROSS + WIDTH + 20, (rows - 1) * DOWN + HEIGHT + 20];
    const x = (item) => item.column * ACROSS + WIDTH / 2 + 10;
    const y = (item) => item.row * DOWN + height / 2;
    const output = nodes.length - 1;
    const picture = Dom.svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "graph of the layer" });
    picture.style.minWidth = `${0.7 * width}px`; // a wide one shrinks a little, then scrolls
    for (const { path, slot, target, source } of edges) {
      const [fill, line] = STYLES[kindOf(nodes[source], source === output)];
      const inputs = nodes[target].inputs;
      const shift = (slot - (inputs.length - 1) / 2) * 11;
      let [fromX, fromY] = [x(path[0]) + WIDTH / 2, y(path[0])];
      let route = `M${fromX},${fromY}`;
      path.slice(1).forEach((item, place) => {
        const last = place === path.length - 2;
        const toX = x(item) - WIDTH / 2 - (last ? 5 : 0);
        const toY = y(item) + (last ? shift : 0);
        const middle = (fromX + toX) / 2;
        route += `C${middle},${fromY} ${middle},${toY} ${toX},${toY}`;
        if (!last) route += `H${x(item) + WIDTH / 2}`;
        [fromX, fromY] = [x(item) + WIDTH / 2, toY];
      });
      const [endX, endY] = [x(path[path.length - 1]) - WIDTH / 2, y(path[path.length - 1]) + shift];
      picture.append(Dom.svg("path", { d: route, fill: "none", stroke: line, "stroke-width": 1.5 }));
      picture.append(Dom.svg("path", { d: `M${endX},${endY}l-7,-3.5v7z`, fill: line }));
      if (inputs.length > 1 && !["add", "mul", "max", "min"].includes(nodes[target].op)) {
        picture.append(Dom.svg("text", { x: endX + 5, y: endY + 3, "font-size": 9, fill: "#5a6675" }, String(slot + 1)));
      }
    }
    for (const [position, box] of boxes) {
      const node = nodes[position];
      const [fill, line] = STYLES[kindOf(node, position === output)];
      picture.append(Dom.svg("rect", { x: x(box) - WIDTH / 2, y: y(box) - HEIGHT / 2, width: WIDTH, height: HEIGHT, rx: 7, fill, stroke: line, "stroke-width": 1.5 }));
      const write = (text, down, size, colour) => picture.append(
        Dom.svg("text", { x: x(box), y: y(box) + down, "font-size": size, fill: colour, "text-anchor": "middle" }, text));
      write(node.op === "zero" ? "0" : node.op, node.axes ? -2 : 4.5, 13, "#1c2530");
      if (node.axes) write(node.axes, 12, 11, line);
    }
    return picture;
  }

  return { draw };
})();
